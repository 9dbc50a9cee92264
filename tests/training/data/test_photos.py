"""Photos of a run: splits, what is left out, what is skipped, and the cache."""

from __future__ import annotations

import csv
import io
import logging
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from schemas.errors import ConfigError
from training.data.photos import PhotoSet, load, squash
from training.recipe import DataSet, HeadSpec, Recipe, Schedule

torch.set_num_threads(1)


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


def jpeg(seed: int, side: int = 24) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (side, side + 8, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG")
    return file.getvalue()


def put(root: Path, *paths: str) -> None:
    for number, path in enumerate(paths):
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(jpeg(number))


def shard(path: Path, *members: tuple[str, bytes]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))


def one(folder: str, reader: str) -> Recipe:
    spec = DataSet(name="d", folder=folder, reader=reader, share=1)
    return Recipe(name="r", size=32, cache_size=32, datasets=[spec], heads=[], schedule=Schedule(steps=1))


def test_corrupt_photos_of_any_layout_are_counted_named_and_skipped(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shard(tmp_path / "d/train.tar", ("1.jpg", jpeg(1)), ("2.jpg", b"<html>"), ("3.jpg", jpeg(3)), ("4.json", b"{}"))
    with caplog.at_level(logging.INFO):
        (photos,) = load(one("d", "webdataset"), tmp_path, tmp_path / "cache")
    assert [row["path"] for row in photos.rows] == ["train.tar/1.jpg", "train.tar/3.jpg"]
    assert photos.skipped.keys() == {"train.tar/2.jpg", "train.tar/4"}
    assert "train.tar/2.jpg: cannot be decoded: not_an_image" in caplog.text
    assert "d: 2 photos, 2 skipped" in caplog.text
    (again,) = load(one("d", "webdataset"), tmp_path, tmp_path / "cache")
    assert (again.rows, again.skipped) == (photos.rows, photos.skipped)
    shard(tmp_path / "e/train.tar", ("2.jpg", b"<html>"))
    with pytest.raises(ConfigError, match="no photo could be decoded"):
        load(one("e", "webdataset"), tmp_path, tmp_path / "cache2")


def test_the_cache_is_what_numpy_would_have_saved(tmp_path: Path) -> None:
    put(tmp_path, *(f"d/train/mug/{n:02d}.jpg" for n in range(11)))
    (photos,) = load(one("d", "folder"), tmp_path, tmp_path / "cache")
    from engines.pixels import decode

    whole = np.stack([decode(jpeg(n), squash(32)) for n in range(11)])
    np.save(tmp_path / "whole.npy", whole)
    assert (tmp_path / "cache/d.npy").read_bytes() == (tmp_path / "whole.npy").read_bytes()
    assert np.array_equal(photos.pixels, whole)


def test_a_box_is_what_training_sees(tmp_path: Path) -> None:
    left, right = np.zeros((40, 20, 3), np.uint8), np.full((40, 20, 3), 255, np.uint8)
    (tmp_path / "d").mkdir()
    Image.fromarray(np.hstack([left, right])).save(tmp_path / "d/a.png")
    (tmp_path / "d/labels.csv").write_text("path,split,box\na.png,train,0 0 .5 1\na.png,train,.5 0 1 1\na.png,train,\n")
    (photos,) = load(one("d", "csv"), tmp_path, tmp_path / "cache")
    assert [float(p.mean()) for p in photos.pixels[:2]] == [0.0, 255.0]
    assert 100 < float(photos.pixels[2].mean()) < 155
    assert photos.skipped == {}
