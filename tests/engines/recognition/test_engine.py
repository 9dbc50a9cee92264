"""The engine on a real, tiny graph: what it computes, and every bundle that it must refuse."""

from __future__ import annotations

import sys
import threading
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

import engines.recognition
from engines.recognition import Calibrator, Predictions, build_engine
from schemas.errors import ConfigError, Invalid
from schemas.manifest import MODEL_FILE, Embedding, Label, Preprocess
from tests.engines.recognition.broken import refused
from tests.engines.tiny_bundle import HEADS, SIZE, raw_outputs, seal, tiny_graph


def photos(n: int, seed: int = 7) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (n, SIZE, SIZE, 3), dtype=np.uint8)


def test_infers_what_the_graph_says(tiny: Path) -> None:
    engine = build_engine(tiny, threads=1, max_batch=8)
    engine.warm_up()
    batch = photos(8)
    got, raw = engine.infer(batch), raw_outputs(tiny, batch)
    np.testing.assert_allclose(got.embedding, raw["embedding"], atol=1e-5)
    np.testing.assert_array_equal(got.hash, raw["hash"])
    assert (len(got), got.hash.dtype, got.embedding.dtype) == (8, np.uint8, np.float32)
    for head in HEADS:
        expected = Calibrator(head, 3).predict(raw[head.output])
        np.testing.assert_array_equal(got.heads[head.id].labels, expected.labels)
        np.testing.assert_allclose(got.heads[head.id].probabilities, expected.probabilities, atol=1e-5)


def test_hash_bits_are_signs_most_significant_first(tiny: Path) -> None:
    weights = {t.name: numpy_helper.to_array(t) for t in tiny_graph().graph.initializer}
    got = build_engine(tiny, threads=1).infer(photos(4))
    signs = got.embedding @ weights["to_bits"] > 0
    np.testing.assert_array_equal(np.packbits(signs, axis=1, bitorder="big"), got.hash)
    assert int(got.hash_hex(0)[0], 16) == signs[0, :4] @ [8, 4, 2, 1]


def test_batches_and_joined_batches_agree(tiny: Path) -> None:
    engine = build_engine(tiny, threads=1)
    batch = photos(7)
    whole = engine.infer(batch)
    joined = Predictions.concat([engine.infer(batch[:3]), engine.infer(batch[3:4]), engine.infer(batch[4:])])
    np.testing.assert_array_equal(whole.hash, joined.hash)
    np.testing.assert_allclose(whole.embedding, joined.embedding, atol=1e-6)
    assert [whole.row(i, engine.manifest) for i in range(7)] == [joined.row(i, engine.manifest) for i in range(7)]
    with pytest.raises(ValueError, match="nothing to join"):
        Predictions.concat([])


def test_rows_are_what_the_store_keeps(tiny: Path) -> None:
    engine = build_engine(tiny, threads=1)
    got = engine.infer(photos(2))
    row = got.row(1, engine.manifest)
    assert list(row) == ["colour", "words"]
    for head in HEADS:
        mine = got.heads[head.id]
        assert [p.label for p in row[head.id]] == [head.labels[i].id for i in mine.labels[1]]
        assert [p.probability for p in row[head.id]] == [round(float(v), 4) for v in mine.probabilities[1]]
        assert all(p.offered == (p.probability >= head.threshold) for p in row[head.id])


def test_threads_share_one_engine(tiny: Path) -> None:
    engine = build_engine(tiny, threads=1)
    batches = [photos(4, seed) for seed in range(6)]
    expected = [engine.infer(batch).hash for batch in batches]
    got: dict[int, list[np.ndarray]] = {}

    def work(i: int) -> None:
        got[i] = [engine.infer(batches[i]).hash for _ in range(20)]

    threads = [threading.Thread(target=work, args=(i,)) for i in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all((found == expected[i]).all() for i in range(6) for found in got[i])


@pytest.mark.parametrize(
    ("batch", "says"),
    [
        (np.zeros((1, SIZE, SIZE, 3), np.float32), "float32"),
        (np.zeros((SIZE, SIZE, 3), np.uint8), r"\[16, 16, 3\]"),
        (np.zeros((1, 3, SIZE, SIZE), np.uint8), r"\[1, 3, 16, 16\]"),
        (np.zeros((0, SIZE, SIZE, 3), np.uint8), "0 in a batch"),
        (np.zeros((5, SIZE, SIZE, 3), np.uint8), "split"),
    ],
)
def test_a_batch_that_does_not_fit(tiny: Path, batch: np.ndarray, says: str) -> None:
    engine = build_engine(tiny, threads=1, max_batch=4)
    with pytest.raises(ValueError, match=says):
        engine.infer(batch)


def test_closed_engines_say_so(tiny: Path) -> None:
    engine = build_engine(tiny, threads=1)
    engine.close()
    engine.close()
    with pytest.raises(RuntimeError, match="closed"):
        engine.infer(photos(1))


def test_not_a_number_blames_the_photo(tiny: Path) -> None:
    """The tiny graph divides by the length of the embedding, which is 0 for a black photo."""
    engine = build_engine(tiny, threads=1)
    with pytest.raises(Invalid) as caught:
        engine.infer(np.concatenate([photos(1), np.zeros((1, SIZE, SIZE, 3), np.uint8)]))
    assert (caught.value.stage, caught.value.error) == ("engine", "non_finite")


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"embedding": Embedding(dim=8)}, "embedding"),
        ({"embedding": Embedding(output="vector", dim=16)}, "vector"),
        ({"preprocess": Preprocess(width=32, height=32)}, "photos"),
        ({"input": "images"}, "input"),
    ],
)
def test_a_manifest_that_describes_another_graph(tiny: Path, fields: dict[str, object], says: str) -> None:
    seal(tiny, **fields)
    assert says in refused(tiny)


def test_a_head_with_a_label_too_many(tiny: Path) -> None:
    import msgspec

    more = [*HEADS[0].labels, Label(id="pink", index=3, value="pink")]
    seal(tiny, heads=[msgspec.structs.replace(HEADS[0], labels=more), HEADS[1]])
    assert "colour" in refused(tiny)


@pytest.mark.parametrize(
    ("data", "said"),
    [(b"not a graph", "model.onnx: not a graph"), (b"", "model.onnx: ONNX Runtime cannot load it")],
)
def test_a_model_that_is_no_graph(tiny: Path, data: bytes, said: str) -> None:
    (tiny / MODEL_FILE).write_bytes(data)
    seal(tiny)
    assert said in refused(tiny)


def test_a_graph_without_an_output_of_the_manifest(tiny: Path) -> None:
    graph = tiny_graph()
    del graph.graph.output[1]
    onnx.save(graph, str(tiny / MODEL_FILE))
    seal(tiny)
    assert "words: no such output" in refused(tiny)


def test_configuration_errors_name_the_key(tiny: Path) -> None:
    with pytest.raises(ConfigError, match="backend: 'tpu' is not one of onnxruntime"):
        build_engine(tiny, backend="tpu")
    with pytest.raises(ConfigError, match="max_batch"):
        build_engine(tiny, max_batch=0)
    with pytest.raises(ConfigError, match="threads"):
        build_engine(tiny, threads=0)


def test_a_back_end_that_is_not_installed(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    monkeypatch.delitem(sys.modules, "engines.recognition.onnx_runtime", raising=False)
    with pytest.raises(ConfigError, match="onnxruntime is not installed; pip install"):
        build_engine(tiny)


def test_public_names() -> None:
    assert engines.__all__ == []
    assert engines.recognition.__all__ == [
        "BACKENDS",
        "Bundle",
        "Calibrator",
        "HashLayer",
        "HeadPredictions",
        "Predictions",
        "RecognitionEngine",
        "Unrounded",
        "asymmetric",
        "build_engine",
        "cosines",
        "in_eight_bits",
        "load_bundle",
        "mean_of",
        "read_hash_layer",
    ]
