"""Every layout, on a tiny tree of the same form."""

from __future__ import annotations

import io
import json
import tarfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from schemas.errors import ConfigError
from training.data.photos import load
from training.readers import read, read_photo
from training.readers.label_table import Row
from training.recipe import DataSet, Recipe, Schedule


def jpeg(seed: int, side: int = 24) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (side, side + 8, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG")
    return file.getvalue()


def put(root: Path, *paths: str) -> None:
    for number, path in enumerate(paths):
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(jpeg(number))


def by_path(rows: list[Row]) -> dict[str, Row]:
    return {row["path"]: row for row in rows}


def check_photos_are_there(folder: Path, rows: list[Row]) -> None:
    assert rows
    for row in rows:
        assert read_photo(folder, row["path"])[:3] == b"\xff\xd8\xff", row["path"]


def test_csv_is_the_table_as_it_stands(tmp_path: Path) -> None:
    put(tmp_path, "a.jpg")
    (tmp_path / "labels.csv").write_text("path,split,kind\na.jpg,train,mug\nb.jpg,test,hat\n")
    assert read("csv", tmp_path, validation=0.4).rows == [
        {"path": "a.jpg", "split": "train", "kind": "mug"},
        {"path": "b.jpg", "split": "test", "kind": "hat"},
    ]


def test_folder_with_splits(tmp_path: Path) -> None:
    put(tmp_path, "train/mug/a.jpg", "train/hat/deep/b.PNG", "valid/mug/c.webp", "test/hat/d.jpeg", "train/stray.jpg")
    (tmp_path / "train/mug/notes.txt").write_text("x")
    (tmp_path / "train/mug/.thumb.jpg").write_text("x")
    found = read("folder", tmp_path)
    assert {p: (r["split"], r["label"]) for p, r in by_path(found.rows).items()} == {
        "train/hat/deep/b.PNG": ("train", "hat"),
        "train/mug/a.jpg": ("train", "mug"),
        "valid/mug/c.webp": ("val", "mug"),
        "test/hat/d.jpeg": ("test", "hat"),
    }
    assert found.skipped == {
        "train/stray.jpg": "lies in no class folder",
        "train/mug/notes.txt": "not a JPEG, PNG or WebP file",
    }


def test_folder_without_splits_is_split_by_name_alone(tmp_path: Path) -> None:
    names = [f"{kind}/{n}.jpg" for kind in ("mug", "hat") for n in range(150)]
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    rows = read("folder", tmp_path, validation=0.2).rows
    counts = Counter(row["split"] for row in rows)
    assert [row["path"] for row in rows] == sorted(names)
    assert 40 < counts["val"] < 80  # 60 expected of 300, standard deviation 7
    assert 4 < counts["test"] < 28  # 15 expected, standard deviation 4
    (tmp_path / "mug/0.jpg").unlink()
    assert read("folder", tmp_path, validation=0.2).rows == [r for r in rows if r["path"] != "mug/0.jpg"]
    none = read("folder", tmp_path, validation=0.0).rows
    assert {row["split"] for row in none} == {"train", "test"}
    tests = [row["path"] for row in rows if row["split"] == "test"]
    assert [row["path"] for row in none if row["split"] == "test"] == tests  # whatever is set aside to validate


def shard(path: Path, *members: tuple[str, bytes]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))


def test_webdataset(tmp_path: Path) -> None:
    labels = {"product": "p7", "price": 12.5, "tags": ["red", "round"], "nested": {"a": 1}, "path": "elsewhere"}
    shard(
        tmp_path / "shop-train-000.tar",
        ("./a/0001.jpg", jpeg(1)),
        ("./a/0001.json", json.dumps(labels).encode()),
        ("./a/0001.txt", "Röd mugg\n".encode()),
        ("__meta__.json", b"{}"),
        ("a/0002.seg.png", b"mask"),
        ("a/0002.png", jpeg(2)),
        ("a/0002.cls", b"7\n"),
    )
    shard(
        tmp_path / "val/000.tar", ("1.jpg", jpeg(3)), ("2.jpg", jpeg(4)), ("2.json", b'{"split": "test", "kind": "b"}')
    )
    found = read("webdataset", tmp_path)
    assert found.rows == [
        {
            "path": "shop-train-000.tar/a/0001.jpg",
            "split": "train",
            "title": "Röd mugg",
            "product": "p7",
            "price": "12.5",
            "tags": "red|round",
        },
        {"path": "shop-train-000.tar/a/0002.png", "split": "train", "cls": "7"},
        {"path": "val/000.tar/1.jpg", "split": "val"},
        {"path": "val/000.tar/2.jpg", "split": "test", "kind": "b"},
    ]
    assert found.skipped == {}
    assert [read_photo(tmp_path, row["path"]) for row in found.rows] == [jpeg(1), jpeg(2), jpeg(3), jpeg(4)]
    with pytest.raises(FileNotFoundError, match=r"no member 9\.jpg"):
        read_photo(tmp_path, "val/000.tar/9.jpg")


def test_webdataset_names_what_it_cannot_use(tmp_path: Path) -> None:
    shard(tmp_path / "a.tar", ("1.json", b"{}"), ("2.jpg", jpeg(1)), ("2.json", b"{"), ("3.jpg", jpeg(2)))
    shard(tmp_path / "b.tar", ("4.jpg", jpeg(3)), ("5.jpg", jpeg(4)), ("5.json", b"[1]"), ("4.jpg", jpeg(5)))
    (tmp_path / "c.tar.gz").write_bytes(b"x")
    (tmp_path / "d.tar").write_bytes(b"no tar at all" * 100)
    shard(tmp_path / "e.tar", ("6.jpg", jpeg(6)), ("7.jpg", jpeg(7)))
    whole = (tmp_path / "e.tar").read_bytes()
    (tmp_path / "e.tar").write_bytes(whole[: 512 + 512 * (len(jpeg(6)) // 512 + 1) + 512 + 100])  # within 7.jpg
    found = read("webdataset", tmp_path, validation=0.0)
    assert [row["path"] for row in found.rows] == ["a.tar/3.jpg", "b.tar/4.jpg", "e.tar/6.jpg"]
    check_photos_are_there(tmp_path, found.rows)
    assert found.skipped.keys() == {"a.tar/1", "a.tar/2", "b.tar/4", "b.tar/5", "c.tar.gz", "d.tar", "e.tar", "e.tar/7"}
    assert "no photo among its members (json)" in found.skipped["a.tar/1"]
    assert "labels cannot be read" in found.skipped["a.tar/2"]
    assert "plain tar" in found.skipped["c.tar.gz"]
    assert "damaged" in found.skipped["d.tar"]
    assert read_photo(tmp_path, "b.tar/4.jpg") == jpeg(3)


def test_stanford_online_products(tmp_path: Path) -> None:
    root = tmp_path / "Stanford_Online_Products"
    train = [f"bicycle_final/{p}_{i}.JPG" for p in range(40) for i in range(3)]
    test = ["mug_final/111_0.JPG", "mug_final/111_1.JPG"]
    put(root, *train, *test)
    header = "image_id class_id super_class_id path\n"
    lines = [f"{n + 1} {n // 3 + 1} 1 {path}\n" for n, path in enumerate(train)]
    (root / "Ebay_train.txt").write_text(header + "".join(lines) + "broken line\n")
    (root / "Ebay_test.txt").write_text(header + "".join(f"{n} 900 8 {path}\n" for n, path in enumerate(test)))
    found = read("sop", tmp_path, validation=0.25)
    rows = by_path(found.rows)
    check_photos_are_there(tmp_path, found.rows)
    assert rows["Stanford_Online_Products/mug_final/111_1.JPG"] == {
        "path": "Stanford_Online_Products/mug_final/111_1.JPG",
        "split": "test",
        "domain": "natural",
        "product": "900",
        "category": "mug",
    }
    assert found.skipped == {"Stanford_Online_Products/Ebay_train.txt:122": "2 fields, not 4"}
    val = [row for row in found.rows if row["split"] == "val"]
    held = {row["product"] for row in val}
    assert 3 <= len(held) <= 18  # 10 expected of 40
    assert held.isdisjoint(row["product"] for row in found.rows if row["split"] == "train")
    assert Counter(row["domain"] for row in val) == {"gallery": len(held), "natural": 2 * len(held)}
    assert read("sop", root, validation=0.25).rows[-1]["path"] == "mug_final/111_1.JPG"


@pytest.mark.parametrize(("listed", "photos"), [("Eval/", "Img/"), ("", "")])
def test_in_shop(tmp_path: Path, listed: str, photos: str) -> None:
    train, query, gallery = (
        "img/WOMEN/Dresses/id_00000002/02_1_front.jpg",
        "img/MEN/Denim/id_00000080/01_7_additional.jpg",
        "img/MEN/Denim/id_00000080/01_2_side.jpg",
    )
    put(tmp_path, *(photos + name for name in (train, query, gallery)))
    (tmp_path / listed).mkdir(exist_ok=True)
    (tmp_path / listed / "list_eval_partition.txt").write_text(
        "3\nimage_name item_id evaluation_status\n"
        f"{train}     id_00000002 train\n{query} id_00000080 query\n"
        f"{gallery} id_00000080 gallery\n{gallery} id_1 other\n"
    )
    found = read("inshop", tmp_path)
    rows = by_path(found.rows)
    check_photos_are_there(tmp_path, found.rows)
    assert rows[photos + train] == {
        "path": photos + train,
        "split": "train",
        "domain": "natural",
        "product": "id_00000002",
        "department": "WOMEN",
        "category": "Dresses",
        "view": "front",
    }
    assert [(rows[photos + p]["split"], rows[photos + p]["domain"]) for p in (query, gallery)] == [
        ("test", "natural"),
        ("test", "gallery"),
    ]
    assert list(found.skipped) == [f"{listed}list_eval_partition.txt:6"]


def test_the_gallery_of_test_items_is_never_trained_on(tmp_path: Path) -> None:
    put(tmp_path, "img/a/b/id_1/1.jpg", "img/a/b/id_2/1.jpg", "img/a/b/id_2/2.jpg")
    (tmp_path / "list_eval_partition.txt").write_text(
        "3\nx\nimg/a/b/id_1/1.jpg id_1 train\nimg/a/b/id_2/1.jpg id_2 query\nimg/a/b/id_2/2.jpg id_2 gallery\n"
    )
    (photos,) = load(one(tmp_path.name, "inshop"), tmp_path.parent, tmp_path / "cache")
    assert photos.index("train", False).tolist() == [0]
    assert photos.index("train", True).tolist() == []
    assert (photos.index("test", False).tolist(), photos.index("test", True).tolist()) == ([1], [2])


def test_products_10k(tmp_path: Path) -> None:
    put(tmp_path, *(f"train/{n}.jpg" for n in range(30)), "test/0.jpg", "test/1.jpg")
    lines = [f"{n}.jpg,{n // 10},{n // 20}\n" for n in range(30)]
    (tmp_path / "train.csv").write_text("name,class,group\n" + "".join(lines) + ",5,1\n")
    (tmp_path / "test_kaggletest.csv").write_text("name,class,Usage\n0.jpg,2,Public\n1.jpg,77,Private\n")
    found = read("products10k", tmp_path, validation=0.3)
    check_photos_are_there(tmp_path, found.rows)
    assert found.rows[-2:] == [
        {"path": "test/0.jpg", "split": "test", "product": "2", "group": "1"},
        {"path": "test/1.jpg", "split": "test", "product": "77"},
    ]
    assert found.rows[25] | {"split": ""} == {"path": "train/25.jpg", "split": "", "product": "2", "group": "1"}
    assert found.skipped == {"train.csv:32": "no name or no class"}
    assert 2 <= sum(row["split"] == "val" for row in found.rows) <= 17  # 9 expected of 30
    (tmp_path / "test_kaggletest.csv").unlink()
    assert read("products10k", tmp_path).skipped["test_kaggletest.csv"] == "does not exist, so there is no test split"


@pytest.mark.parametrize("prefix", ["", "all/", "rp2k_dataset/all/"])
def test_rp2k(tmp_path: Path, prefix: str) -> None:
    put(tmp_path, *(prefix + p for p in ("train/可口可乐/1.jpg", "train/雪碧/1.jpg", "test/可口可乐/2.jpg")))
    put(tmp_path, f"{prefix}test/stray.jpg")
    found = read("rp2k", tmp_path, validation=0.0)
    check_photos_are_there(tmp_path, found.rows)
    assert [(row["split"], row["product"]) for row in found.rows] == [
        ("train", "可口可乐"),
        ("train", "雪碧"),
        ("test", "可口可乐"),
    ]
    assert found.skipped == {f"{prefix}test/stray.jpg": "lies in no product's folder"}


@pytest.mark.parametrize("nest", ["", "dataset/"])
@pytest.mark.parametrize(("image", "product"), [("image_id", "class_id"), ("id", "category_id")])
def test_aliproducts(tmp_path: Path, nest: str, image: str, product: str) -> None:
    put(tmp_path, f"{nest}train/00000/1.jpg", f"{nest}train/00001/2.jpg", f"{nest}val/00000/3.jpg")
    for name, photos in {"train": [("1.jpg", "00000"), ("2.jpg", "00001")], "val": [("3.jpg", "00000")]}.items():
        entries = [{image: photo, product: label} for photo, label in photos]
        (tmp_path / f"{name}.json").write_text(json.dumps({"images": [*entries, {"url": "x"}]}))
    found = read("aliproducts", tmp_path, validation=0.0)
    check_photos_are_there(tmp_path, found.rows)
    assert found.rows == [
        {"path": f"{nest}train/00000/1.jpg", "split": "train", "product": "00000"},
        {"path": f"{nest}train/00001/2.jpg", "split": "train", "product": "00001"},
        {"path": f"{nest}val/00000/3.jpg", "split": "test", "product": "00000"},
    ]
    assert found.skipped.keys() == {"train.json:images[2]", "val.json:images[1]"}
    (tmp_path / "train.json").write_text("{}")
    with pytest.raises(ConfigError, match="download it again"):
        read("aliproducts", tmp_path)


def one(folder: str, reader: str) -> Recipe:
    spec = DataSet(name="d", folder=folder, reader=reader, share=1)
    return Recipe(name="r", size=32, cache_size=32, datasets=[spec], heads=[], schedule=Schedule(steps=1))
