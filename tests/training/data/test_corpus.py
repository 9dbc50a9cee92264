"""Photos, labels, queries, recipes, views: what a run is fed."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from schemas.errors import ConfigError
from training.data.augment import augment
from training.data.corpus import batches, load_corpus
from training.data.labels import build_labels, imagenet_names, product_ids
from training.data.photos import PhotoSet, load
from training.readers.query_words import query_words
from training.recipe import Augment, DataSet, HeadSpec, Recipe, Schedule, View, load_recipe

torch.set_num_threads(1)
RECIPES = Path(__file__).parents[3] / "training" / "recipes"


def photo_set(name: str, rows: list[dict[str, str]], product: str = "") -> PhotoSet:
    spec = DataSet(name=name, folder=name, share=2, catalogue=1, product=product)
    pixels = np.arange(len(rows), dtype=np.uint8)[:, None, None, None] * np.ones((1, 32, 32, 3), np.uint8)
    return PhotoSet(spec, pixels, rows)


SHOP = [
    {"split": "train", "domain": "natural", "kind": "mug", "product": "a", "title": "Red mugs, the best"},
    {"split": "train", "domain": "natural", "kind": "mug", "product": "b", "title": "NEW blue_mug 2011"},
    {"split": "train", "domain": "natural", "kind": "hat", "product": "b", "title": ""},
    {"split": "gallery", "domain": "iconic", "kind": "hat", "product": "a", "title": "mugs"},
    {"split": "test", "domain": "natural", "kind": "rug", "product": "c", "title": "rug"},
    {"split": "val", "domain": "natural", "kind": "NA", "product": "a", "title": ""},
]
STREET = [{"split": "train", "kind": "mug"}, {"split": "test", "kind": "mug"}]


def recipe(*heads: HeadSpec, sets: tuple[str, ...] = ("shop", "street")) -> Recipe:
    datasets = [DataSet(name=name, folder=name, share=2, catalogue=1) for name in sets]
    return Recipe(name="r", size=32, cache_size=32, datasets=datasets, heads=list(heads), schedule=Schedule(steps=1))


def test_splits_and_catalogue() -> None:
    shop = photo_set("shop", SHOP)
    assert shop.index("train", False).tolist() == [0, 1, 2]
    assert shop.index("train", True).tolist() == [3]
    assert shop.index("test", False).tolist() == [4]


def test_a_left_out_product_is_in_no_split_but_test(tmp_path: Path) -> None:
    rows = [("train", 0), ("train", 1), ("val", 5), ("gallery", 10), ("test", 5), ("test", 2), ("gallery", 4)]
    folder = tmp_path / "shop"
    (folder / "images").mkdir(parents=True)
    with (folder / "labels.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "split", "number", "domain"])
        for i, (split, number) in enumerate(rows):
            Image.new("RGB", (40, 40), (i, 0, 0)).save(folder / "images" / f"{i}.png")
            writer.writerow([f"images/{i}.png", split, number, "iconic" if split == "gallery" else "natural"])
    spec = DataSet(name="shop", folder="shop", share=1, leave_out="number", leave_out_every=5)
    whole = Recipe(name="r", size=32, cache_size=32, datasets=[spec], heads=[], schedule=Schedule(steps=1))
    (shop,) = load(whole, tmp_path, tmp_path / "cache")
    found = {split: shop.index(split, False).tolist() for split in ("train", "val", "test")}
    assert found == {"train": [1], "val": [], "test": [4, 5]}
    assert shop.index("train", True).tolist() == [6]


def test_a_product_number_that_is_none_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "shop"
    folder.mkdir()
    Image.new("RGB", (40, 40)).save(folder / "a.png")
    (folder / "labels.csv").write_text("path,split,number\na.png,train,seven\n")
    spec = DataSet(name="shop", folder="shop", share=1, leave_out="number")
    whole = Recipe(name="r", size=32, cache_size=32, datasets=[spec], heads=[], schedule=Schedule(steps=1))
    with pytest.raises(ConfigError, match=r"datasets\[shop\]\.leave_out: 'seven' of photo a\.png"):
        load(whole, tmp_path, tmp_path / "cache")


def test_labels_come_from_training_photos_of_their_own_data_sets() -> None:
    sets = [photo_set("shop", SHOP), photo_set("street", STREET)]
    head = HeadSpec(id="kind", column="kind", datasets=["shop"], min_photos=2)
    (target,) = build_labels(recipe(head), sets)
    assert target.values == ["hat", "mug"]  # a rug was only ever tested
    assert target.targets.tolist() == [1, 1, 0, 0, -1, -1, -1, -1]


def test_one_label_is_no_head() -> None:
    with pytest.raises(ConfigError, match="lower min_photos"):
        build_labels(
            recipe(HeadSpec(id="kind", column="kind", datasets=["street"])),
            [photo_set("shop", SHOP), photo_set("street", STREET)],
        )


def test_query_labels() -> None:
    head = HeadSpec(id="query", column="query", source="queries", kind="multi_label", datasets=["shop"], min_photos=2)
    (target,) = build_labels(recipe(head, sets=("shop",)), [photo_set("shop", [*SHOP, dict(SHOP[1])])])
    assert target.values == ["best", "blue", "mug", "mugs"][1:]
    assert target.targets[1].tolist() == [True, True, False]
    assert target.targets[4].tolist() == [False, False, False]


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"title": "The NEW red-and-blue Mug (2 pcs), free delivery"}, {"red", "blue", "mug", "pcs"}),
        ({"productDisplayName": "Nike Men's T-shirt", "baseColour": "Navy Blue"}, {"nike", "shirt", "navy", "blue"}),
        ({"title": "Äpple", "year": "2011"}, {"äpple"}),
        ({}, set()),
    ],
)
def test_query_words(row: dict[str, str], words: set[str]) -> None:
    assert query_words(row) == words


def test_products_are_those_of_training_and_sets_do_not_mix() -> None:
    sets = [photo_set("shop", SHOP, "product"), photo_set("other", SHOP[:1], "product"), photo_set("street", STREET)]
    assert product_ids(sets).tolist() == [1, 2, 2, 1, -1, -1, 0, -1, -1]


def test_products_of_another_set_are_that_sets_products() -> None:
    photo = {"split": "train", "product": "b"}
    spec = DataSet(name="weak", share=1, product="product", products_of="shop")
    weak = PhotoSet(spec, np.zeros((2, 32, 32, 3), np.uint8), [photo, photo | {"product": ""}])
    assert product_ids([photo_set("shop", SHOP, "product"), weak]).tolist() == [0, 1, 1, 0, -1, -1, 1, -1]


def test_several_labels_in_a_column() -> None:
    rows = [{"split": "train", "tags": "red|round"}, {"split": "train", "tags": "red"}, {"split": "val", "tags": ""}]
    head = HeadSpec(id="tags", column="tags", kind="multi_label", datasets=["shop"])
    (target,) = build_labels(recipe(head, sets=("shop",)), [photo_set("shop", rows)])
    assert target.values == ["red", "round"]
    assert target.targets.tolist() == [[True, True], [True, False], [False, False]]


def test_a_thousand_classes_with_names_of_their_own() -> None:
    assert len(set(imagenet_names())) == 1000


def folder_of_photos(root: Path) -> Path:
    folder = root / "shop"
    folder.mkdir()
    rng = np.random.default_rng(0)
    with (folder / "labels.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, ["path", "split", "kind"])
        writer.writeheader()
        for i in range(6):
            Image.fromarray(rng.integers(0, 255, (40, 50, 3), np.uint8)).save(folder / f"{i}.png")
            writer.writerow({"path": f"{i}.png", "split": "train", "kind": "ab"[i % 2]})
    return folder


def test_corrupt_files_are_skipped_and_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = folder_of_photos(tmp_path)
    (folder / "2.png").write_bytes(b"<html>not a photo</html>")
    (folder / "4.png").unlink()
    (photos,) = load(recipe(sets=("shop",)), tmp_path, tmp_path / "cache")
    assert [row["path"] for row in photos.rows] == ["0.png", "1.png", "3.png", "5.png"]
    assert photos.pixels.shape == (4, 32, 32, 3)
    assert "2.png" in caplog.text
    assert "4.png" in caplog.text


def test_a_cache_of_another_size_is_refused(tmp_path: Path) -> None:
    folder_of_photos(tmp_path)
    load(recipe(sets=("shop",)), tmp_path, tmp_path / "cache")
    other = Recipe(
        name="r",
        size=48,
        cache_size=48,
        datasets=[DataSet(name="shop", folder="shop", share=1)],
        heads=[],
        schedule=Schedule(steps=1),
    )
    with pytest.raises(ConfigError, match="made for another recipe"):
        load(other, tmp_path, tmp_path / "cache")


def test_batches_hold_fixed_shares_and_visit_every_photo(tmp_path: Path) -> None:
    folder_of_photos(tmp_path)
    plan = recipe(HeadSpec(id="kind", column="kind", datasets=["shop"]), sets=("shop",))
    corpus = load_corpus(plan, tmp_path, tmp_path / "cache")
    stream = batches(plan, corpus, 0)
    drawn = [next(stream).tolist() for _ in range(6)]
    assert all(len(batch) == 2 for batch in drawn)
    for epoch in (drawn[:3], drawn[3:]):
        assert sorted(n for batch in epoch for n in batch) == [0, 1, 2, 3, 4, 5]
    assert next(batches(plan, corpus, 4)).tolist() == drawn[4]


@pytest.mark.parametrize("view", [Augment().weak, Augment().strong, View(erase=1.0)])
def test_views_have_their_form_and_come_again_from_their_seed(view: View) -> None:
    photos = torch.randint(0, 256, (3, 40, 40, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    first = augment(photos, view, 24, torch.Generator().manual_seed(5))
    again = augment(photos, view, 24, torch.Generator().manual_seed(5))
    assert first.shape == (3, 3, 24, 24)
    assert torch.equal(first, again)
    assert 0 <= float(first.min()) <= float(first.max()) <= 255


def test_erasing_puts_one_box_of_the_mean_colour_into_the_photos_it_chooses() -> None:
    generator = torch.Generator().manual_seed(2)
    photos = torch.randint(0, 256, (40, 48, 48, 3), dtype=torch.uint8, generator=generator)
    still = {"least_area": 1.0, "degrees": 0.0, "light": 0.0, "flip": 0.0}
    seen = {
        share: augment(photos, View(**still, erase=share), 48, torch.Generator().manual_seed(7)) for share in (0, 0.5)
    }
    changed = (seen[0] != seen[0.5]).any(1)  # [n, h, w]
    chosen = changed.flatten(1).any(1)
    assert 10 <= int(chosen.sum()) <= 30
    for photo, erased, box in zip(seen[0][chosen], seen[0.5][chosen], changed[chosen], strict=True):
        rows, columns = box.any(1).nonzero().flatten(), box.any(0).nonzero().flatten()
        top, bottom, left, right = int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1
        assert 0.01 < (bottom - top) * (right - left) / 48**2 < 0.25
        inside = erased[:, top:bottom, left:right]
        assert torch.allclose(inside, photo.mean().expand_as(inside), atol=1e-3)


def test_a_grey_photo_stays_grey_in_every_view() -> None:
    photos = torch.full((4, 40, 40, 3), 90, dtype=torch.uint8)
    views = augment(photos, Augment().strong, 32, torch.Generator().manual_seed(1))
    assert float((views.amax(1) - views.amin(1)).max()) < 1e-3  # hue is a label, and is left alone


def test_the_committed_recipe_loads() -> None:
    demo = load_recipe(RECIPES / "demo.toml")
    assert {head.id for head in demo.heads} >= {"object", "grocery.product", "clothing.type", "query"}


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (r"^steps = ", "stepps = ", "stepps"),
        (r'datasets = \["clothing"\]', 'datasets = ["cloths"]', "no data set 'cloths'"),
        (r"^cache_size = \d+", "cache_size = 64", "cache_size"),
        (r"^share = \d+", "share = 0", "share"),
        (r'^folder = "fashion"', 'reader = "imagenet"', "imagenet"),
        (r'^folder = "fashion"', 'products_of = "shoes"', "no data set 'shoes'"),
    ],
)
def test_a_bad_recipe_is_refused_by_name(tmp_path: Path, old: str, new: str, message: str) -> None:
    text = (RECIPES / "demo.toml").read_text()
    bad = re.sub(old, new, text, flags=re.MULTILINE)
    assert bad != text
    (tmp_path / "bad.toml").write_text(bad)
    with pytest.raises(ConfigError, match=message):
        load_recipe(tmp_path / "bad.toml")
