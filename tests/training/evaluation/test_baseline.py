"""The baseline of photos in a folder equals that of the engine's answers, and splits are kept apart."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from engines.pixels import decode
from engines.recognition import build_engine
from engines.recognition.drift import baseline_of
from schemas.errors import ConfigError
from tests.deploy.operations.load import jpeg
from tests.engines.tiny_bundle import write_applying_bundle
from training.evaluation.baseline import measure_baseline


def write_set(folder: Path, splits: list[str], first: int) -> Path:
    folder.mkdir()
    lines = ["path,split,colour"]
    for number, split in enumerate(splits):
        (folder / f"{number}.jpg").write_bytes(jpeg(first + number))
        lines.append(f"{number}.jpg,{split},red")
    (folder / "labels.csv").write_text("\n".join(lines) + "\n")
    return folder


def test_only_photos_of_the_split_count(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    bundle = tmp_path / "bundle"
    manifest = write_applying_bundle(bundle)
    one = write_set(tmp_path / "one", ["train"] * 3 + ["val"] * 4 + ["test"], 0)
    two = write_set(tmp_path / "two", ["val"] * 6, 20)
    seen: list[tuple[int, int]] = []
    found = measure_baseline(bundle, {"one": one, "two": two}, progress=lambda *at: seen.append(at))
    engine = build_engine(bundle)
    of_one, of_two = (
        engine.infer(np.stack([decode(jpeg(i), manifest.preprocess) for i in some]))
        for some in (range(3, 7), range(20, 26))
    )
    engine.close()
    assert found == baseline_of(manifest, {"one": of_one, "two": of_two})
    assert seen[-1] == (10, 10)
    assert "only 10 photos" in caplog.text
    assert measure_baseline(bundle, {"two": two}, most=4).photos == {"two": 4}
    assert measure_baseline(bundle, {"one": one}, split="all").photos == {"one": 8}
    with pytest.raises(ConfigError, match=r"no photo of .* has 'gallery'"):
        measure_baseline(bundle, {"one": one}, split="gallery")
