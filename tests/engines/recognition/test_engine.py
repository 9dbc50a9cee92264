"""The engine on a real, tiny graph: what it computes, and every bundle that it must refuse."""

from __future__ import annotations

import json
import sys
import threading
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

import engines.recognition
from engines.recognition import Calibrator, Predictions, build_engine, load_bundle
from schemas.errors import BundleRefused, ConfigError, Invalid
from schemas.manifest import MODEL_FILE, PARITY_FILE, Embedding, Label, Parity, Preprocess
from tests.engines.tiny_bundle import HEADS, SIZE, raw_outputs, seal, tiny_graph


def photos(n: int, seed: int = 7) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (n, SIZE, SIZE, 3), dtype=np.uint8)


def edit_manifest(folder: Path, **fields: object) -> None:
    path = folder / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


def edit_parity(folder: Path, **arrays: np.ndarray | None) -> None:
    with np.load(folder / PARITY_FILE) as file:
        whole = dict(file) | arrays
    np.savez(folder / PARITY_FILE, **{name: array for name, array in whole.items() if array is not None})
    seal(folder)


def parity(folder: Path, name: str) -> np.ndarray:
    with np.load(folder / PARITY_FILE) as file:
        return file[name]


def refused(folder: Path) -> str:
    with pytest.raises(BundleRefused) as caught:
        build_engine(folder, threads=1)
    return str(caught.value)


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


@pytest.mark.parametrize("name", [MODEL_FILE, PARITY_FILE, "card.md"])
def test_one_flipped_bit_in_any_file(tiny: Path, name: str) -> None:
    data = bytearray((tiny / name).read_bytes())
    data[len(data) // 2] ^= 1
    (tiny / name).write_bytes(data)
    text = refused(tiny)
    assert f"files.{name}" in text
    assert "export" in text


@pytest.mark.parametrize("name", [MODEL_FILE, PARITY_FILE, "card.md", "manifest.json"])
def test_a_missing_file(tiny: Path, name: str) -> None:
    (tiny / name).unlink()
    assert name in refused(tiny)


def test_a_file_without_a_checksum(tiny: Path) -> None:
    files = json.loads((tiny / "manifest.json").read_text())["files"]
    for name in (MODEL_FILE, PARITY_FILE):
        edit_manifest(tiny, files={other: value for other, value in files.items() if other != name})
        assert name in refused(tiny)


def test_extra_files_are_ignored(tiny: Path) -> None:
    (tiny / "notes.txt").write_text("mine")
    build_engine(tiny, threads=1)


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"format_version": 2}, "format_version: 2"),
        ({"format_version": None}, "format_version"),
        ({"epoch": "xyz"}, "epoch"),
        ({"surprise": 1}, "surprise"),
        ({"top_k": 0}, "top_k"),
        ({"heads": 3}, "heads"),
    ],
)
def test_a_manifest_that_was_tampered_with(tiny: Path, fields: dict[str, object], says: str) -> None:
    edit_manifest(tiny, **fields)
    assert says in refused(tiny)


def test_a_manifest_that_is_not_json(tiny: Path) -> None:
    (tiny / "manifest.json").write_bytes(b"{\xff")
    assert "manifest.json" in refused(tiny)


def test_other_weights_under_fresh_checksums_fail_parity(tiny: Path) -> None:
    """Checksums prove only that the files belong together; parity proves that they compute what was exported."""
    onnx.save(tiny_graph(seed=1), str(tiny / MODEL_FILE))
    seal(tiny)
    assert "parity." in refused(tiny)


def test_the_smallest_change_of_one_output_fails_parity(tiny: Path) -> None:
    for name in ("colour", "words", "embedding"):
        expected = parity(tiny, name)
        changed = expected.copy()
        changed[-1, -1] += 2e-4  # twice the tolerance
        edit_parity(tiny, **{name: changed})
        assert f"parity.{name}" in refused(tiny)
        edit_parity(tiny, **{name: np.full_like(changed, np.nan)})
        assert f"parity.{name}" in refused(tiny)
        edit_parity(tiny, **{name: expected})
    build_engine(tiny, threads=1)


def test_hash_bits_within_the_tolerance_pass_and_one_more_does_not(tiny: Path) -> None:
    flipped = parity(tiny, "hash").copy()
    flipped[2, 0] ^= 0b1010_0000
    edit_parity(tiny, hash=flipped)
    assert "parity.hash: 2 bits" in refused(tiny)
    seal(tiny, parity=Parity(probabilities=1e-4, embedding=1e-4, hash_bits=2))
    build_engine(tiny, threads=1)
    flipped[2, 31] ^= 1
    edit_parity(tiny, hash=flipped)
    seal(tiny, parity=Parity(probabilities=1e-4, embedding=1e-4, hash_bits=2))
    assert "parity.hash: 3 bits" in refused(tiny)


def test_parity_arrays_that_do_not_fit(tiny: Path) -> None:
    whole = {name: parity(tiny, name) for name in ("photos", "colour", "hash")}
    for name, array in (
        ("photos", whole["photos"].astype(np.float32)),
        ("photos", whole["photos"][:0]),
        ("photos", whole["photos"][:, :8]),
        ("photos", None),
        ("colour", whole["colour"][:, :2]),
        ("colour", whole["colour"][:3]),
        ("colour", None),
        ("hash", whole["hash"].astype(np.int32)),
    ):
        edit_parity(tiny, **{name: array})
        assert name in refused(tiny)
        edit_parity(tiny, **whole)


def test_parity_file_that_holds_objects_is_not_unpickled(tiny: Path) -> None:
    np.savez(tiny / PARITY_FILE, photos=np.array([{"a": 1}], dtype=object))
    seal(tiny)
    assert "parity.npz: cannot be read" in refused(tiny)


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


def test_bundle_knows_its_outputs(tiny: Path) -> None:
    assert load_bundle(tiny).outputs == {
        "colour": (3, "float32"),
        "words": (4, "float32"),
        "embedding": (16, "float32"),
        "hash": (32, "uint8"),
    }


def test_public_names() -> None:
    assert engines.__all__ == []
    assert engines.recognition.__all__ == [
        "BACKENDS",
        "Bundle",
        "Calibrator",
        "HeadPredictions",
        "Predictions",
        "RecognitionEngine",
        "asymmetric",
        "build_engine",
        "load_bundle",
    ]
