"""A finished bundle gets another hash layer: only the hash changes, and it is the layer's."""

from __future__ import annotations

import csv
import hashlib
import shutil
from pathlib import Path

import msgspec
import numpy as np
import pytest
from PIL import Image

from engines.recognition import build_engine, load_bundle
from engines.recognition.outputs.hash_layer import BIAS, WEIGHT, HashLayer
from schemas.baseline import OTHER, Baseline, HeadBaseline, load_baseline, write_baseline
from schemas.errors import ConfigError
from schemas.manifest import load_manifest, write_manifest
from tests.training import tiny
from training.bundle.rehash import epoch_with, fit_photos, rehash_bundle
from training.recipe import DataSet, HeadSpec, Recipe

PRODUCTS = 6
TRAIN = 516  # a few more than the 512 that do not suffice
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder, manifest = tiny.tiny_bundle(tmp_path_factory.mktemp("tiny"))
    heads = {head.id: HeadBaseline(labels={OTHER: 0.0, "(none)": 1.0}, scores=[1.0]) for head in manifest.heads}
    write_baseline(folder, Baseline(model_version=manifest.model_version, photos={"shop": 6}, heads=heads))
    return folder


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Coloured noise, a colour for each product."""
    folder = tmp_path_factory.mktemp("data") / "shop"
    folder.mkdir()
    rng = np.random.default_rng(0)
    rows = [["path", "split", "domain", "product"]]
    for split, count in (("train", TRAIN), ("val", PRODUCTS), ("test", PRODUCTS), ("gallery", PRODUCTS)):
        for i in range(count):
            colour = np.random.default_rng(i % PRODUCTS).integers(0, 200, 3)
            pixels = (colour + rng.integers(0, 56, (32, 32, 3))).astype(np.uint8)
            Image.fromarray(pixels).save(folder / f"{split}{i}.png")
            domain = "iconic" if split == "gallery" else "natural"
            rows.append([f"{split}{i}.png", split, domain, f"p{i % PRODUCTS}"])
    with (folder / "labels.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    return folder.parent


@pytest.fixture(scope="module")
def recipe() -> Recipe:
    shop = DataSet(name="shop", folder="shop", product="product", share=4)
    head = HeadSpec(id="studio.category", column="product", datasets=["shop"])
    return msgspec.structs.replace(tiny.tiny_recipe(), datasets=[shop], heads=[head])


def test_only_the_hash_changes_and_it_is_that_of_the_layer(
    bundle: Path, data: Path, recipe: Recipe, tmp_path: Path
) -> None:
    out = tmp_path / "new"
    made = rehash_bundle(
        bundle, recipe, data, layer="half_whitened", out=out, cache=tmp_path / "cache", command="rehash it"
    )
    old, new = build_engine(bundle, threads=1), build_engine(out, threads=1)
    photos = np.random.default_rng(1).integers(0, 256, (4, 48, 48, 3), np.uint8)
    before, after = old.infer(photos), new.infer(photos)
    assert np.array_equal(before.embedding, after.embedding)
    assert before.rows(old.manifest) == after.rows(old.manifest)
    assert made.heads == old.manifest.heads
    arrays = load_bundle(out).expected
    weight, bias = arrays[WEIGHT].astype(np.float64), arrays[BIAS].astype(np.float64)
    by_hand = after.embedding.astype(np.float64) @ weight.T + bias
    sure = np.abs(by_hand) > 1e-5
    assert sure.mean() > 0.99
    assert np.array_equal((by_hand > 0)[sure], np.unpackbits(after.hash, axis=1).astype(bool)[sure])
    assert (np.bitwise_count(before.hash ^ after.hash).sum(1) > 40).all(), "another layer gives other bits"
    assert np.linalg.matrix_rank(weight, tol=1e-2 * np.linalg.norm(weight, 2)) <= 128
    old.close()
    new.close()


def test_the_manifest_and_the_card_say_what_is_new(bundle: Path, data: Path, recipe: Recipe, tmp_path: Path) -> None:
    out = Path(shutil.copytree(bundle, tmp_path / "bundle"))
    before, text = load_manifest(bundle), (bundle / "card.md").read_text()
    made = rehash_bundle(out, recipe, data, layer="rotation", out=out, cache=tmp_path / "cache", command="rehash it")
    assert load_manifest(out) == made
    layer = load_bundle(out).expected
    content = before.epoch.encode() + layer[WEIGHT].astype("<f2").tobytes() + layer[BIAS].astype("<f2").tobytes()
    assert made.epoch == hashlib.sha256(content).hexdigest()[:12] != before.epoch
    assert made.model_version != before.model_version
    assert made.hash.codec == "linear-sign (rotation)"
    assert made.training.command == f"{before.training.command} && rehash it"
    notes = made.training.notes
    assert notes["hash"] == "rotation"
    assert {"validation_recall_at_1_before", "validation_recall_at_1_rotation"} <= notes.keys()
    assert all(0 <= float(v) <= 1 for k, v in notes.items() if k.startswith("validation_recall_at_1"))
    baseline = load_baseline(out)
    assert baseline is not None
    assert baseline.model_version == made.model_version
    card = (out / "card.md").read_text()
    assert card.startswith(f"# tiny ({made.model_version})")
    for new in (made.epoch, "rehash it", "| shop | rescored | 6 |", "- hash: rotation"):
        assert new in card
    assert before.epoch not in card
    same = [[part for part in one.split("\n\n## ") if part.startswith(("Accuracy", "Limits"))] for one in (text, card)]
    assert same[0] == same[1] != []


def test_what_cannot_be_given_another_layer_is_named(bundle: Path, data: Path, recipe: Recipe, tmp_path: Path) -> None:
    small = Path(shutil.copytree(data, tmp_path / "data"))
    lines = (small / "shop" / "labels.csv").read_text().splitlines()
    (small / "shop" / "labels.csv").write_text("\n".join([lines[0], *lines[5:]]) + "\n")
    with pytest.raises(ConfigError, match="512 training photos; a hash layer is fitted to more than 512"):
        rehash_bundle(bundle, recipe, small, layer="itq", out=tmp_path / "new", cache=tmp_path / "cache")
    assert not (tmp_path / "new").exists()
    other = Path(shutil.copytree(bundle, tmp_path / "other"))
    write_manifest(other, msgspec.structs.replace(load_manifest(other), precision="int8"))
    with pytest.raises(ConfigError, match="is int8; give the float bundle"):
        rehash_bundle(other, recipe, data, layer="itq", out=tmp_path / "new", cache=tmp_path / "cache")


def test_the_photos_of_a_fit_are_drawn_from_all_data_sets() -> None:
    parts = [np.full((4000, 2), i, np.float32) for i in range(3)]
    chosen = fit_photos(parts)
    assert len(chosen) == 6000
    assert np.array_equal(chosen, fit_photos(parts))
    counts = np.bincount(chosen[:, 0].astype(int))
    assert (np.abs(counts - 2000) < 200).all()


def test_an_epoch_names_its_layer() -> None:
    rng = np.random.default_rng(0)
    layer = HashLayer(rng.normal(size=(256, 4)).astype(np.float32), np.zeros(256, np.float32))
    turned = HashLayer(layer.weight[::-1], layer.bias)
    found = {epoch_with(epoch, one) for epoch in ("0" * 12, "1" * 12) for one in (layer, turned)}
    assert len(found) == 4
    assert all(len(epoch) == 12 for epoch in found)
