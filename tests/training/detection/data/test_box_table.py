"""Tables of boxes in every column convention, their splits, kinds and faults."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from engines.pixels import Box
from schemas.errors import ConfigError
from training.detection.data.box_table import read_box_table
from training.detection.recipe import BoxSet
from training.detection.records import IGNORED

# one box, left .25, top .5, right .75 and bottom 1 of a photo of 80 x 40 pixels
CONVENTIONS = {
    "left,top,right,bottom": "0.25,0.5,0.75,1",
    "x0,y0,x1,y1,W,H": "20,20,60,40,80,40",
    "x0,y0,x1,y1": "20,20,60,40",
    "xmin,ymin,xmax,ymax": "20,20,60,40",
    "xmin,ymin,xmax,ymax,width,height": "200,100,600,200,800,200",
    "x,y,w,h": "20,20,40,20",
}


def table(folder: Path, text: str, name: str = "boxes.csv") -> Path:
    (folder / name).write_text(text)
    return folder


def spec(**fields: object) -> BoxSet:
    return BoxSet(**{"name": "a", "share": 1, "validation": 0.0} | fields)  # type: ignore[arg-type]


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    Image.new("RGB", (80, 40)).save(tmp_path / "p.jpg")
    return tmp_path


@pytest.mark.parametrize(("columns", "cells"), CONVENTIONS.items())
def test_every_convention_gives_the_same_box(photo: Path, columns: str, cells: str) -> None:
    table(photo, f"path,label,{columns}\np.jpg,mug,{cells}\n")
    (found,) = read_box_table(spec(), photo).photos["train"]
    assert found.path == photo / "p.jpg"
    assert found.boxes == (Box(0.25, 0.5, 0.75, 1.0),)
    assert found.kinds == ("mug",)


def test_the_sides_of_a_turned_photo_are_those_of_the_upright_one(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # lies on its side: 40 x 80 when upright
    Image.new("RGB", (80, 40)).save(tmp_path / "p.jpg", exif=exif)
    table(tmp_path, "path,x0,y0,x1,y1\np.jpg,10,20,30,80\n")
    (found,) = read_box_table(spec(), tmp_path).photos["train"]
    assert found.boxes == (Box(0.25, 0.25, 0.75, 1.0),)


def test_labels_become_kinds_products_ignored_ones_or_background(photo: Path) -> None:
    rows = [f"p.jpg,{label},0.1,0.1,0.{number},0.5" for number, label in enumerate(("mug", "person", "cat"), 3)]
    table(photo, "path,label,left,top,right,bottom\n" + "\n".join(rows) + "\n")
    (found,) = read_box_table(spec(keep=["mug"], ignore=["person"]), photo).photos["train"]
    assert found.kinds == ("mug", IGNORED)
    (found,) = read_box_table(spec(kind="product"), photo).photos["train"]
    assert found.kinds == ("product",) * 3


def test_splits_come_from_the_table_or_from_another_one(photo: Path) -> None:
    table(photo, "path,left,top,right,bottom,split\na.jpg,0,0,1,1,test\nb.jpg,0,0,1,1,train\n")
    assert {split: len(photos) for split, photos in read_box_table(spec(), photo).photos.items()} == {
        "test": 1,
        "train": 1,
    }
    table(photo, "path,left,top,right,bottom\na.jpg,0,0,1,1\n")
    table(photo, "path,split\na.jpg,test\nempty.jpg,train\n", "labels.csv")
    found = read_box_table(spec(splits="labels.csv"), photo).photos
    assert [len(one.boxes) for one in found["test"] + found["train"]] == [1, 0]


def test_photos_are_set_aside_by_name_and_every_time_the_same(tmp_path: Path) -> None:
    rows = "".join(f"{number}.jpg,0,0,1,1\n" for number in range(400))
    table(tmp_path, "path,left,top,right,bottom\n" + rows)
    found = read_box_table(spec(validation=0.1, test=0.25), tmp_path).photos
    counts = {split: len(photos) for split, photos in found.items()}
    assert sum(counts.values()) == 400
    assert counts["val"] == pytest.approx(40, abs=15)  # two and a half standard deviations
    assert counts["test"] == pytest.approx(100, abs=22)
    again = read_box_table(spec(validation=0.1, test=0.25), tmp_path).photos
    assert again == found


def test_a_box_that_is_none_is_left_out_and_named(photo: Path) -> None:
    table(photo, "path,left,top,right,bottom\np.jpg,0,0,1,1\np.jpg,0.5,0,0.5,1\ngone.jpg,x,0,1,1\n")
    found = read_box_table(spec(), photo)
    assert [len(one.boxes) for one in found.photos["train"]] == [1, 0]
    assert sorted(found.skipped) == ["boxes.csv:3", "boxes.csv:4"]


@pytest.mark.parametrize(
    ("text", "message"), [("path,label\np.jpg,mug\n", r"boxes.csv:2.*a row has path"), ("label,x\nmug,1\n", "path")]
)
def test_a_table_without_boxes_is_refused_with_its_line(photo: Path, text: str, message: str) -> None:
    table(photo, text)
    with pytest.raises(ConfigError, match=message):
        read_box_table(spec(), photo)


def test_a_missing_table_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"boxes\.csv"):
        read_box_table(spec(), tmp_path)
