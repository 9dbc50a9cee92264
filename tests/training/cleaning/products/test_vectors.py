"""Embeddings on disk: taken once, and whole after a run that was killed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from engines.pixels import decode
from engines.recognition import RecognitionEngine, build_engine
from schemas.errors import ConfigError
from tests.engines.tiny_bundle import write_tiny_bundle
from tests.training.cleaning.pictures import jpeg, picture
from training.cleaning.products.vectors import Embedder, Vectors, in_this_process

PATHS = [f"{i}.jpg" for i in range(6)]


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RecognitionEngine]:
    folder = tmp_path_factory.mktemp("bundle")
    write_tiny_bundle(folder)
    engine = build_engine(folder)
    yield engine
    engine.close()


def test_each_photo_is_embedded_once_even_after_a_kill(tmp_path: Path, engine: RecognitionEngine) -> None:
    for i, path in enumerate(PATHS):
        (tmp_path / path).write_bytes(jpeg(picture(i)) if i != 3 else b"no photo")
    alone = [
        engine.infer(decode((tmp_path / path).read_bytes(), engine.manifest.preprocess)[None]).embedding[0]
        for path in PATHS
        if path != "3.jpg"
    ]
    length = len(alone[0])
    expected = np.insert(np.stack(alone), 3, 0, axis=0)
    counted: list[int] = []
    for file, size in (("", 0), ("vectors.bin", 2 * 4 * length + 5), ("vectors.jsonl", 20)):
        work = tmp_path / "work"
        if file:
            (work / file).write_bytes((work / file).read_bytes()[:size])
        counted.clear()
        vectors = Vectors(work, in_this_process(engine))
        vectors.add(tmp_path, PATHS[:4])
        vectors.add(tmp_path, PATHS, progress=lambda done, total: counted.append(done))
        assert counted == [5, 6]
        assert vectors.of(PATHS) == pytest.approx(expected, abs=1e-5)
        assert list(vectors.errors) == ["3.jpg"]
    vectors.add(tmp_path, PATHS, progress=lambda done, total: counted.append(done))
    assert counted == [5, 6]
    assert vectors.of([]).shape == (0, length)
    with pytest.raises(KeyError):
        vectors.of(["never.jpg"])


def test_embeddings_of_another_model_are_refused(tmp_path: Path) -> None:
    Vectors(tmp_path, Embedder("one", 3, lambda folder, rows: iter(())))
    with pytest.raises(ConfigError, match="another folder"):
        Vectors(tmp_path, Embedder("two", 3, lambda folder, rows: iter(())))
