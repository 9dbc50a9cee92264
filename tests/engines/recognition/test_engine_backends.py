"""Every back end that needs no GPU: the same answers, the same refusals."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnx
import pytest

from engines.recognition import build_engine
from schemas.errors import BundleRefused, ConfigError
from schemas.manifest import MODEL_FILE, PARITY_FILE
from tests.engines.tiny_bundle import HEADS, SIZE, seal, tiny_graph

OTHERS = ("openvino", "torch")
PHOTOS = np.random.default_rng(7).integers(0, 256, (9, SIZE, SIZE, 3), dtype=np.uint8)


@pytest.mark.parametrize("backend", OTHERS)
def test_answers_are_those_of_onnx_runtime(tiny: Path, backend: str) -> None:
    expected = build_engine(tiny, threads=1).infer(PHOTOS)
    engine = build_engine(tiny, backend, threads=1, max_batch=9)
    engine.warm_up()
    got = engine.infer(PHOTOS)
    np.testing.assert_allclose(got.embedding, expected.embedding, atol=1e-5)
    np.testing.assert_array_equal(got.hash, expected.hash)
    for head in HEADS:
        np.testing.assert_array_equal(got.heads[head.id].labels, expected.heads[head.id].labels)
        np.testing.assert_allclose(got.heads[head.id].probabilities, expected.heads[head.id].probabilities, atol=1e-5)
    engine.close()
    with pytest.raises(RuntimeError, match="closed"):
        engine.infer(PHOTOS)


@pytest.mark.parametrize("backend", OTHERS)
def test_threads_share_an_engine_and_each_gets_its_own_answers(tiny: Path, backend: str) -> None:
    engine = build_engine(tiny, backend, threads=1)
    batches = [np.roll(PHOTOS, i, axis=0)[: 1 + i % 5] for i in range(24)]
    alone = [engine.infer(batch) for batch in batches]
    with ThreadPoolExecutor(6) as pool:
        together = list(pool.map(engine.infer, batches))
    for a, b in zip(alone, together, strict=True):
        np.testing.assert_array_equal(a.hash, b.hash)
        np.testing.assert_allclose(a.embedding, b.embedding, atol=1e-6)


@pytest.mark.parametrize("backend", OTHERS)
def test_refuses_what_onnx_runtime_refuses(tiny: Path, backend: str) -> None:
    with np.load(tiny / PARITY_FILE) as file:
        arrays = dict(file)
    np.savez(tiny / PARITY_FILE, **(arrays | {"embedding": -arrays["embedding"]}))
    seal(tiny)
    with pytest.raises(BundleRefused, match=r"parity\.embedding: differs"):
        build_engine(tiny, backend)
    np.savez(tiny / PARITY_FILE, **arrays)
    model = tiny_graph()
    model.graph.output.remove(next(value for value in model.graph.output if value.name == "words"))
    onnx.save(model, tiny / MODEL_FILE)
    seal(tiny)
    with pytest.raises(BundleRefused, match="words: no such output"):
        build_engine(tiny, backend)


@pytest.mark.parametrize(("backend", "extra"), [("openvino", "openvino"), ("torch", "train")])
def test_a_package_that_is_not_there_is_named_with_the_remedy(
    tiny: Path, backend: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in [name for name in sys.modules if name.startswith(f"engines.recognition.{backend}")]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, backend, None)
    with pytest.raises(ConfigError, match=rf"{backend} is not installed; pip install 'groknet\[{extra}\]'"):
        build_engine(tiny, backend)
