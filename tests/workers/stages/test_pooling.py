"""The summary against a naive mean over photos, label by label."""

from __future__ import annotations

import random

import msgspec
import numpy as np
import pytest

from engines.recognition import HeadPredictions, Predictions
from engines.recognition.outputs.hash_layer import HashLayer
from schemas.manifest import Head, Label, Manifest, Preprocess, Training
from schemas.predictions import ImageRow, Prediction
from workers.stages.pooling import image_rows, pool, pool_applies

LABELS = ["a", "b", "c", "d", "e", "f", "g"]


def manifest(top_k: int = 3, threshold: float = 0.5) -> Manifest:
    labels = [Label(id=name, index=i, value=name) for i, name in enumerate(LABELS)]
    head = Head(id="h", kind="softmax", column="h", datasets=["d"], output="h", labels=labels, threshold=threshold)
    return Manifest(
        name="m",
        model_version="m-1",
        epoch="0" * 12,
        created="2026-01-01",
        preprocess=Preprocess(width=16, height=16),
        heads=[head],
        top_k=top_k,
        training=Training(recipe="none", command="none"),
        files={},
    )


def row(image_id: str, probabilities: dict[str, float]) -> ImageRow:
    best = sorted(probabilities.items(), key=lambda item: -item[1])
    predictions = {"h": [Prediction(label=name, probability=p) for name, p in best]}
    return ImageRow(image_id=image_id, predictions=predictions, hash="0" * 64)


@pytest.mark.parametrize("count", [0, 1, 50])
def test_rows_of_a_batch_are_those_of_each_photo(count: int) -> None:
    rng = np.random.default_rng(1)
    probabilities = np.sort(rng.random((count, 3), np.float32))[:, ::-1].copy()
    probabilities[::7] = np.float32([0.96875, 0.03125, 0.00005])  # ties of the fifth digit
    head = HeadPredictions(
        np.argsort(rng.random((count, len(LABELS))))[:, :3].astype(np.int32), probabilities, probabilities >= 0.5
    )
    output = Predictions({"h": head}, np.zeros((count, 4), np.float32), rng.integers(0, 256, (count, 32), np.uint8))
    rows = output.rows(manifest())
    assert rows == [output.row(i, manifest()) for i in range(count)]
    assert [repr(p.probability) for row in rows for p in row["h"]] == [
        repr(p.probability) for i in range(count) for p in output.row(i, manifest())["h"]
    ]


def test_a_row_has_its_embedding_if_it_is_kept() -> None:
    rng = np.random.default_rng(2)
    layer = HashLayer(rng.normal(size=(256, 4)).astype(np.float32), np.zeros(256, np.float32))
    embedding = rng.normal(size=(3, 4)).astype(np.float32)
    codes = np.packbits(layer.margins(embedding) > 0, axis=1)
    head = HeadPredictions(np.zeros((3, 1), np.int32), np.ones((3, 1), np.float32), np.ones((3, 1), bool))
    output, ids = Predictions({"h": head}, embedding, codes, layer), ["1", "2", "3"]
    for row, one in zip(image_rows(manifest(), ids, output, keep_embedding=True), embedding, strict=True):
        assert row.embedding is not None
        assert row.margins is None
        scaled = one * (127 / np.abs(one).max())
        assert np.frombuffer(row.embedding, np.int8) == pytest.approx(scaled, abs=0.5001)
    assert [row.embedding for row in image_rows(manifest(), ids, output)] == [None] * 3
    unknown = Predictions({"h": head}, embedding, codes)
    assert [row.embedding for row in image_rows(manifest(), ids, unknown, keep_embedding=True)] == [None] * 3


def test_one_photo_is_its_own_summary() -> None:
    pooled = pool(manifest(), [row("1", {"a": 0.7, "b": 0.2, "c": 0.1})])
    assert [(p.label, p.probability, p.offered) for p in pooled["h"]] == [
        ("a", 0.7, True),
        ("b", 0.2, False),
        ("c", 0.1, False),
    ]


def test_a_label_that_a_photo_lacks_counts_nought_there() -> None:
    pooled = pool(manifest(), [row("1", {"a": 0.9, "b": 0.1}), row("2", {"b": 0.8, "c": 0.2})])
    assert [(p.label, p.probability) for p in pooled["h"]] == [("a", 0.45), ("b", 0.45), ("c", 0.1)]


@pytest.mark.parametrize("seed", range(20))
def test_any_order_of_photos_gives_the_naive_mean(seed: int) -> None:
    rng = random.Random(seed)
    rows = [row(str(i), {name: round(rng.random() / 3, 4) for name in rng.sample(LABELS, 3)}) for i in range(5)]
    expected = {}
    for name in LABELS:
        values = [p.probability for r in rows for p in r.predictions["h"] if p.label == name]
        expected[name] = sum(values) / 5
    found = pool(manifest(top_k=7), rows)["h"]
    assert {p.label: p.probability for p in found} == pytest.approx(
        {name: value for name, value in expected.items() if value}, abs=5.1e-5
    )
    rng.shuffle(rows)
    assert pool(manifest(top_k=7), rows)["h"] == found


def applying(image_id: str, probability: float, *applies: str) -> ImageRow:
    predictions = {"h": [Prediction(label="a", probability=probability, offered="h" in applies and probability >= 0.5)]}
    return ImageRow(image_id=image_id, predictions=predictions, hash="0" * 64, applies=list(applies))


def test_a_head_applies_to_a_listing_if_it_applies_to_half_of_its_photos() -> None:
    yes, no = applying("1", 0.9, "h"), applying("2", 0.9)
    for rows, said in [([yes], ["h"]), ([no], []), ([yes, no], ["h"]), ([yes, no, no], []), ([yes, yes, no], ["h"])]:
        assert pool_applies(manifest(), rows) == said
        assert pool(manifest(), rows)["h"] == [Prediction(label="a", probability=0.9, offered=bool(said))]
    assert pool_applies(manifest(), []) is None
    assert pool_applies(manifest(), [yes, row("2", {"a": 0.9})]) is None, "a row of before does not know"


def test_one_photo_with_applicability_is_its_own_summary() -> None:
    for one in (applying("1", 0.9, "h"), applying("1", 0.9), applying("1", 0.2, "h")):
        assert pool(manifest(), [one]) is one.predictions
        assert pool_applies(manifest(), [one]) is one.applies


def test_the_summary_keeps_the_threshold_of_a_label() -> None:
    strict = manifest()
    strict = msgspec.structs.replace(
        strict, heads=[msgspec.structs.replace(strict.heads[0], label_thresholds={"a": 0.95})]
    )
    pooled = pool(strict, [row("1", {"a": 0.9, "b": 0.6}), row("2", {"a": 0.9, "b": 0.6})])
    assert [(p.label, p.offered) for p in pooled["h"]] == [("a", False), ("b", True)]


def test_no_photo_no_predictions() -> None:
    assert pool(manifest(), []) == {}


@pytest.mark.parametrize("seed", range(5))
def test_one_photo_pools_as_if_it_were_there_twice(seed: int) -> None:
    rng = random.Random(seed)
    one = row("1", {name: round(rng.random(), 4) for name in rng.sample(LABELS, 5)})
    again = ImageRow(image_id="2", predictions=one.predictions, hash=one.hash)
    assert pool(manifest(), [one]) == pool(manifest(), [one, again])
