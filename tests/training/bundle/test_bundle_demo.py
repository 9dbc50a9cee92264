"""The committed bundle: whole, small enough to be in a repository, and as good as its card says."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from msgspec import structs

from engines.recognition import build_engine
from schemas.manifest import load_manifest, sha256_file
from schemas.taxonomy import MARKET, load_taxonomy
from training.bundle.raw_bundle import version_of
from training.evaluation import evaluate

pytestmark = pytest.mark.slow

BUNDLE = Path(__file__).parents[3] / "training" / "bundles" / "demo"
DATA = os.environ.get("GROKNET_DATA", "")


def test_it_opens_and_passes_its_parity_photos() -> None:
    engine = build_engine(BUNDLE, threads=1)
    assert engine.manifest.hash.bits == 256
    engine.close()


def test_it_fits_a_repository() -> None:
    assert sum(file.stat().st_size for file in BUNDLE.iterdir()) < 25e6
    assert {file.name for file in BUNDLE.iterdir()} == {
        "baseline.json",
        "manifest.json",
        "model.onnx",
        "card.md",
        "parity.npz",
    }


def test_its_ids_are_the_taxonomys() -> None:
    known = {head.id: {label.id: label.value for label in head.labels} for head in load_taxonomy(MARKET).heads}
    for head in load_manifest(BUNDLE).heads:
        for label in head.labels:
            assert known[head.id][label.id] == label.value


def test_its_version_tells_its_graph_and_its_calibration() -> None:
    manifest = load_manifest(BUNDLE)
    graph = sha256_file(BUNDLE / "model.onnx")
    assert manifest.model_version == version_of("demo", graph, manifest.heads, manifest.applicability)
    first, *rest = manifest.heads
    other = [structs.replace(first, threshold=first.threshold / 2), *rest]
    known = manifest.applicability
    assert known is not None
    assert version_of("demo", graph, other, known) != manifest.model_version
    assert version_of("demo", graph[::-1], manifest.heads, known) != manifest.model_version
    assert version_of("demo", graph, manifest.heads) != manifest.model_version


def test_every_head_of_a_data_set_knows_to_which_photos_it_applies() -> None:
    manifest = load_manifest(BUNDLE)
    assert manifest.applicability is not None
    assert {head.id: head.domain for head in manifest.heads if len(head.datasets) == 1} == {
        head.id: head.datasets[0] for head in manifest.heads if len(head.datasets) == 1
    }
    assert manifest.epoch == "9e9ef007be8c", "the trunk, the embedding and the hash are those of before"


def test_every_head_is_calibrated() -> None:
    assert [head.id for head in load_manifest(BUNDLE).heads if head.calibration is None] == []


# The frozen trunk's figures on the same test photos: linear probe or cosine neighbour, no fine-tuning.
FROZEN = {"product": 0.687, "coarse": 0.823}


@pytest.mark.data
@pytest.mark.skipif(not DATA, reason="GROKNET_DATA names no folder of real photos")
def test_it_beats_the_frozen_trunk_on_real_photos() -> None:
    found = evaluate(BUNDLE, Path(DATA) / "grocery")
    for column, least in FROZEN.items():
        assert found["heads"][column]["top1"] > least
    assert found["retrieval"]["hash"]["recall_at_1"] > 0.275
    assert found["retrieval"]["hash"]["recall_at_5"] > 0.667
