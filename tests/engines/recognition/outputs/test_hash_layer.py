"""The layer behind the hash: margins whose signs are the bits, and distances from packed hashes by them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import training
from engines.recognition import asymmetric, build_engine, cosines, in_eight_bits, load_bundle
from engines.recognition.outputs.hash_layer import BIAS, WEIGHT, read_hash_layer
from schemas.errors import BundleRefused

BUNDLE = Path(training.__file__).parent / "bundles" / "demo"


def test_margins_are_of_the_bits_that_the_engine_gives() -> None:
    engine = build_engine(BUNDLE, threads=1)
    said = engine.infer(load_bundle(BUNDLE).photos)
    margins = np.stack([one.margins for i in range(len(said)) if (one := said.unrounded(i)) is not None])
    assert margins.shape == (len(said), 256)
    assert np.array_equal(np.packbits(margins > 0, axis=1), said.hash)
    for kept, row in zip(said.kept_embeddings(), said.embedding, strict=True):
        assert kept is not None
        scaled = row * 127 / np.abs(row).max()
        assert np.abs(np.frombuffer(kept, np.int8) - scaled).max() <= 0.5 + 1e-4
    unknown = replace(said, layer=None)
    assert unknown.kept_embeddings() == [None] * len(said)
    assert unknown.unrounded(0) is None
    engine.close()


def test_a_bundle_may_have_none() -> None:
    bundle = load_bundle(BUNDLE)
    without = {name: array for name, array in bundle.expected.items() if name not in {WEIGHT, BIAS}}
    assert read_hash_layer(replace(bundle, expected=without)) is None


@pytest.mark.parametrize("name", [WEIGHT, BIAS])
def test_half_of_one_is_refused(name: str) -> None:
    bundle = load_bundle(BUNDLE)
    half = {key: array for key, array in bundle.expected.items() if key != name}
    with pytest.raises(BundleRefused, match=r"hash\.weight and hash\.bias come together"):
        read_hash_layer(replace(bundle, expected=half))


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        (WEIGHT, lambda x: np.roll(x, 1, axis=0), "not the layer that made its hashes"),
        (BIAS, lambda x: x + 1, "not the layer that made its hashes"),
        (WEIGHT, lambda x: x[:, 1:], r"are \[256, 399\]"),
        (BIAS, lambda x: x[1:], r"and \[255\]"),
    ],
)
def test_another_layer_is_refused(name: str, change, message: str) -> None:
    bundle = load_bundle(BUNDLE)
    with pytest.raises(BundleRefused, match=message):
        read_hash_layer(replace(bundle, expected={**bundle.expected, name: change(bundle.expected[name])}))


def test_asymmetric_distance_adds_up_the_margins_that_differ() -> None:
    rng = np.random.default_rng(2)
    margins = rng.normal(size=(4, 16)).astype(np.float32)
    codes = rng.integers(0, 256, (5, 2), np.uint8)
    for query, row in zip(margins, asymmetric(margins, codes), strict=True):
        for code, distance in zip(codes, row, strict=True):
            bits = np.unpackbits(code)
            expected = sum(abs(float(v)) for v, bit in zip(query, bits, strict=True) if (v > 0) != bool(bit))
            assert distance == pytest.approx(expected, abs=1e-5)


def test_eight_bits_keep_the_sign_and_scale_each_row_for_itself() -> None:
    margins = np.float32([[0.5, -1.0, 0.0, 0.003], [20, -10, 5, 0.2], [0, 0, 0, 0], [1e-30, -2e-30, 0, 0]])
    assert in_eight_bits(margins).tolist() == [[64, -127, 0, 0], [127, -64, 32, 1], [0, 0, 0, 0], [64, -127, 0, 0]]


def test_cosines_of_rows_in_eight_bits_are_those_of_the_rows() -> None:
    rng = np.random.default_rng(3)
    ours, theirs = rng.normal(size=(2, 8, 256)).astype(np.float32)
    theirs[:4] = ours[:4] + 0.4 * theirs[:4]
    found = cosines(ours, in_eight_bits(1000 * theirs))
    for i, one in enumerate(ours.astype(np.float64)):
        for j, other in enumerate(theirs.astype(np.float64)):
            exact = sum(a * b for a, b in zip(one, other, strict=True)) / np.sqrt((one @ one) * (other @ other))
            assert found[i, j] == pytest.approx(exact, abs=0.005)
    assert cosines(ours[:1], np.zeros((1, 256), np.int8)).tolist() == [[0.0]]
