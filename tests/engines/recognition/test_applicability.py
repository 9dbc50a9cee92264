"""A bundle that knows to which photos its heads apply: what the engine decides, against arithmetic by hand."""

from __future__ import annotations

import shutil
from pathlib import Path

import msgspec
import numpy as np
import pytest

from engines.recognition import Predictions, build_engine, load_bundle
from engines.recognition.outputs.calibration import Calibrator
from engines.recognition.precision import write_bundle
from schemas.errors import BundleRefused
from schemas.manifest import Applicability, Domain, Head, decode_manifest, encode_manifest
from tests.engines.tiny_bundle import DOMAINS, HEADS, SIZE, raw_outputs, seal, write_applying_bundle


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("applying")
    write_applying_bundle(path)
    return path


def photos(count: int) -> np.ndarray:
    """From dark to bright, so that some photos are of the domain and some are not."""
    rng = np.random.default_rng(5)
    noise = rng.integers(0, 256, (count, SIZE, SIZE, 3))
    return (noise * np.linspace(0.1, 1, count)[:, None, None, None]).astype(np.uint8)


def test_a_label_is_offered_only_where_the_head_applies(folder: Path) -> None:
    engine, batch = build_engine(folder, threads=1), photos(24)
    got, raw = engine.infer(batch), raw_outputs(folder, batch)
    applies = raw["applicability"][:, 0] >= DOMAINS[0].threshold
    assert 0 < applies.sum() < len(batch), "the case needs photos of both kinds"
    colour, words = (got.heads[name] for name in ("colour", "words"))
    reached = np.round(colour.probabilities.astype(np.float64), 4) >= 0.1
    assert (reached & ~applies[:, None]).any(), "the case needs a probability that only applicability stops"
    np.testing.assert_array_equal(colour.offered, reached & applies[:, None])
    np.testing.assert_array_equal(words.offered, np.round(words.probabilities.astype(np.float64), 4) >= 0.6)
    assert got.applies(engine.manifest) == [["colour", "words"] if yes else ["words"] for yes in applies]
    assert got.applicability is not None
    np.testing.assert_allclose(got.applicability["street"], raw["applicability"][:, 1], atol=1e-6)


def test_labels_of_a_head_sum_to_its_applicability(folder: Path) -> None:
    raw = raw_outputs(folder, photos(24))
    np.testing.assert_allclose(raw["colour"].sum(1), raw["applicability"][:, 0], atol=1e-5)


def test_joined_batches_keep_applicability(folder: Path) -> None:
    engine, batch = build_engine(folder, threads=1), photos(9)
    whole = engine.infer(batch)
    joined = Predictions.concat([engine.infer(batch[:4]), engine.infer(batch[4:])])
    assert joined.applies(engine.manifest) == whole.applies(engine.manifest)


def test_a_bundle_without_applicability_does_not_know(tiny: Path) -> None:
    engine = build_engine(tiny, threads=1)
    got = engine.infer(photos(3))
    assert got.applicability is None
    assert got.applies(engine.manifest) == [None] * 3


def test_the_parity_file_must_have_it(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "b")
    arrays = dict(np.load(tmp_path / "b" / "parity.npz"))
    np.savez(tmp_path / "b" / "parity.npz", **{n: a for n, a in arrays.items() if n != "applicability"})
    heads = load_bundle(folder).manifest.heads
    seal(tmp_path / "b", heads=heads, applicability=Applicability(domains=DOMAINS))
    with pytest.raises(BundleRefused, match="applicability"):
        load_bundle(tmp_path / "b")


def test_int8_keeps_it_and_its_gate_watches_it(folder: Path, tmp_path: Path) -> None:
    made = write_bundle(folder, tmp_path / "int8", "int8", photos(16))
    assert made.applicability == Applicability(domains=DOMAINS)
    loaded = load_bundle(tmp_path / "int8")
    swapped = dict(loaded.expected) | {"applicability": 1 - loaded.expected["applicability"]}
    from engines.recognition.parity_gate import compare

    apart = np.abs(1 - 2 * loaded.expected["applicability"].astype(np.float64)).max()
    assert compare(made, loaded.expected, swapped).probability_worst == pytest.approx(apart)


def test_a_label_may_have_a_threshold_of_its_own() -> None:
    words = msgspec.structs.replace(HEADS[1], class_calibration={}, label_thresholds={"old": 0.2, "new": 0.95})
    raw = np.array([[0.7, 0.9, 0.3, 0.5]], np.float32)  # cosy, new, old, soft
    got = Calibrator(words, 4).predict(raw)
    said = {words.labels[i].id: bool(o) for i, o in zip(got.labels[0], got.offered[0], strict=True)}
    assert said == {"cosy": True, "new": False, "old": True, "soft": False}


@pytest.mark.parametrize(
    ("heads", "domains", "says"),
    [
        ([msgspec.structs.replace(HEADS[0], domain="attic"), HEADS[1]], DOMAINS, r"heads\[colour\].domain: 'attic'"),
        (HEADS, [DOMAINS[0], DOMAINS[0]], "two domains share one id"),
    ],
)
def test_manifests_that_do_not_fit(folder: Path, heads: list[Head], domains: list[Domain], says: str) -> None:
    manifest = msgspec.to_builtins(load_bundle(folder).manifest)
    manifest["heads"] = msgspec.to_builtins(heads)
    manifest["applicability"] = {"domains": msgspec.to_builtins(domains)}
    with pytest.raises(BundleRefused, match=says):
        decode_manifest(msgspec.json.encode(manifest))


def test_a_threshold_for_a_label_that_is_not_there_is_refused(folder: Path) -> None:
    plain = msgspec.to_builtins(load_bundle(folder).manifest)
    plain["heads"][0]["label_thresholds"] = {"mauve": 0.5}
    with pytest.raises(BundleRefused, match=r"heads\[colour\].label_thresholds: no such label 'mauve'"):
        decode_manifest(msgspec.json.encode(plain))


def test_a_manifest_of_before_reads_as_before(tiny: Path) -> None:
    plain = msgspec.to_builtins(load_bundle(tiny).manifest)
    del plain["applicability"]
    for head in plain["heads"]:
        del head["domain"], head["label_thresholds"]
    found = decode_manifest(msgspec.json.encode(plain))
    assert found == load_bundle(tiny).manifest
    assert decode_manifest(encode_manifest(found)) == found
