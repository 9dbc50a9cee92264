"""How validation photos and products are set aside, and which files below a folder are photos."""

from __future__ import annotations

from pathlib import Path

import pytest

from schemas.errors import ConfigError
from training.readers.found_rows import Found, chance, nested, photos_below, set_aside_photos, set_aside_products
from training.readers.label_table import Row


def rows(products: int, photos: int) -> list[Row]:
    return [
        {"path": f"{p}/{i}.jpg", "product": str(p), "split": "train"} for p in range(products) for i in range(photos)
    ]


def test_a_name_alone_decides_and_names_are_spread_evenly() -> None:
    found = [chance(str(i)) for i in range(4000)]
    assert found == [chance(str(i)) for i in range(4000)]
    assert 0 <= min(found) < max(found) < 1
    for tenth in range(10):
        assert 300 < sum(tenth <= 10 * x < tenth + 1 for x in found) < 500


def test_photos_are_set_aside_by_their_own_name_whatever_else_there_is() -> None:
    all_rows = rows(100, 10)
    set_aside_photos(all_rows, 0.2)
    aside = {row["path"] for row in all_rows if row["split"] == "val"}
    assert 140 < len(aside) < 260
    fewer = rows(50, 10)
    set_aside_photos(fewer, 0.2)
    assert {row["path"] for row in fewer if row["split"] == "val"} == {p for p in aside if int(p.split("/")[0]) < 50}
    tests: list[Row] = [{**row, "split": "test"} for row in rows(10, 10)]
    set_aside_photos(tests, 1.0)
    assert {row["split"] for row in tests} == {"test"}


def test_products_are_set_aside_whole_with_one_gallery_photo_each() -> None:
    all_rows = [*rows(200, 3), {"path": "single.jpg", "product": "single", "split": "train"}]
    set_aside_products(all_rows, 0.25)
    splits: dict[str, set[str]] = {}
    for row in all_rows:
        splits.setdefault(row["product"], set()).add(row["split"])
    assert all(len(found) == 1 for found in splits.values()), "no product is on both sides"
    aside = {product for product, found in splits.items() if found == {"val"}}
    assert 30 < len(aside) < 70
    gallery = [row["path"] for row in all_rows if row.get("domain") == "gallery"]
    assert sorted(gallery) == sorted(f"{product}/0.jpg" for product in aside)
    alone = rows(50, 1)
    set_aside_products(alone, 1.0)
    assert {row["split"] for row in alone} == {"train"}, "nothing could find the only photo of a product"


def test_photos_below_a_folder_come_in_order_and_other_files_are_named(tmp_path: Path) -> None:
    for name in ("b/2.JPG", "a/1.webp", "b/notes.txt", ".git/x.jpg", "b/.hidden.png", "10.png", "9.jpeg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    found = Found()
    assert list(photos_below(tmp_path, found, "set/")) == ["10.png", "9.jpeg", "a/1.webp", "b/2.JPG"]
    assert found.skipped == {"set/b/notes.txt": "not a JPEG, PNG or WebP file"}


def test_a_data_set_is_found_at_the_depth_to_which_it_was_unpacked(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=rf"there is no {tmp_path}/labels\.csv; unpack"):
        nested(tmp_path, "labels.csv", "data")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "labels.csv").touch()
    assert nested(tmp_path, "labels.csv", "other", "data") == "data/"
    (tmp_path / "labels.csv").touch()
    assert nested(tmp_path, "labels.csv", "other", "data") == ""
