"""A recipe for a folder of labelled photos: what is found, what is written, and that the recipe is one."""

from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path

import pytest
from PIL import Image

from schemas.errors import ConfigError
from training.data.check_recipe import load_checked
from training.data.draft_recipe import Draft, draft


def photos(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), "red").save(folder / name)


def written(made: Draft, folder: Path, tmp_path: Path) -> Path:
    if made.table:
        (folder / "labels.csv").write_text(made.table)
    (tmp_path / "recipe.toml").write_text(made.recipe)
    return tmp_path / "recipe.toml"


def test_class_folders_get_a_split_of_each_label(tmp_path: Path) -> None:
    shop = tmp_path / "My Shop"
    photos(shop, *(f"{label}/{i}.png" for label in ("mug", "cup") for i in range(20)), "rare/1.png", "rare/2.png")
    made = draft(shop)
    rows = list(csv.DictReader(made.table.splitlines()))
    assert {row["path"] for row in rows} == {path.relative_to(shop).as_posix() for path in shop.rglob("*.png")}
    counts = Counter((row["label"], row["split"]) for row in rows)
    for label in ("mug", "cup"):  # 15 % of 20 each are 3; of few photos, none is set aside to choose
        assert [counts[label, split] for split in ("test", "val", "train")] == [3, 0, 17]
    assert counts["rare", "train"] == 2  # too few to measure
    assert draft(shop).table == made.table  # the split is fixed
    assert made.found[:2] == ["42 photos: 6 test, 36 train", "label: 3 labels"]
    recipe = load_checked(written(made, shop, tmp_path), tmp_path)
    assert (recipe.name, [d.folder for d in recipe.datasets]) == ("my-shop", ["My Shop"])
    assert [(head.id, head.column) for head in recipe.heads] == [("my-shop.label", "label")]
    assert (recipe.schedule.learns, recipe.has_steps, recipe.judges_all_photos) == ("heads", False, True)


def test_many_photos_train_the_whole_network_and_set_some_aside(tmp_path: Path) -> None:
    shop = tmp_path / "shop"
    for label in ("mug", "cup"):
        (shop / label).mkdir(parents=True)
        for i in range(500):
            (shop / label / f"{i}.png").touch()  # no photo is opened
    made = draft(shop)
    assert made.found[0] == "1,000 photos: 150 test, 700 train, 150 val"
    recipe = load_checked(written(made, shop, tmp_path), tmp_path)
    assert (recipe.schedule.learns, recipe.schedule.steps, recipe.cache_size) == ("network", 500, 256)
    assert {loss.id for loss in recipe.all_losses} == {"relational"}


def test_a_table_keeps_its_splits_and_gives_a_head_for_each_column(tmp_path: Path) -> None:
    shop = tmp_path / "shop"
    lines = ["path,split,product,kind,Main Colour,brand,serial"]
    for i in range(12):
        photos(shop, f"{i}.png")
        split = ("train", "train", "val", "test")[i % 4]
        lines.append(f"{i}.png,{split},p{i // 2},{'cup' if i % 2 else 'mug'},{'red' if i < 6 else 'blue'},acme,s{i}")
    (shop / "labels.csv").write_text("\n".join(lines))
    made = draft(shop)
    assert made.table == ""
    assert made.found == [
        "12 photos: 3 test, 6 train, 3 val",
        "kind: 2 labels",
        "Main Colour: 2 labels",
        "brand: left out, because it has one label, and a head needs two",
        "serial: left out, because nearly every photo has a value of its own, so it is an id or a text",
    ]
    recipe = load_checked(written(made, shop, tmp_path), tmp_path)
    assert [head.id for head in recipe.heads] == ["shop.kind", "shop.main-colour"]
    assert recipe.datasets[0].product == "product"
    assert recipe.all_losses == [], "the search keeps what the network knows about likeness"


def test_a_folder_without_labels_is_refused(tmp_path: Path) -> None:
    photos(tmp_path / "shop", "one/1.png", "one/2.png")
    with pytest.raises(ConfigError, match="label: it has one label"):
        draft(tmp_path / "shop")
    photos(tmp_path / "loose", "1.png")
    with pytest.raises(ConfigError):
        draft(tmp_path / "loose")


def test_odd_columns_give_ids_of_their_own_and_a_readable_file(tmp_path: Path) -> None:
    shop = tmp_path / "shop"
    rows = ["path,split,цвет,форма,a\x7fb"]
    for i in range(8):
        photos(shop, f"{i}.png")
        rows.append(f"{i}.png,train,{'rg'[i % 2]},{'xy'[i // 4]},{'pq'[i % 2]}")
    (shop / "labels.csv").write_text("\n".join(rows))
    recipe = load_checked(written(draft(shop), shop, tmp_path), tmp_path)
    assert [(head.id, head.column) for head in recipe.heads] == [
        ("shop.label", "цвет"),
        ("shop.label-2", "форма"),
        ("shop.a-b", "a\x7fb"),
    ]
