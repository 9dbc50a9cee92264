"""COCO files: round trips against another reader, and odd but valid files."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from faster_coco_eval import COCO
from PIL import Image, ImageOps

from engines.pixels import Box
from schemas.errors import ConfigError
from training.boxes.formats import read_coco, write_coco
from training.boxes.formats.found import box_in, sides_of, turned_upright
from training.detection.records import IGNORED, BoxedPhoto

SIZE = (200, 100)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    for name in ("a.jpg", "shelf/b.png"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", SIZE).save(folder / name)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", SIZE).save(folder / "lying.jpg", exif=exif)  # upright it is 100 wide and 200 high
    return folder


def edges(box: Box) -> list[float]:
    return [box.left, box.top, box.right, box.bottom]


def coco(folder: Path, images: list[dict], annotations: list[dict], **more) -> Path:
    file = folder.parent / "boxes.json"
    categories = [{"id": 7, "name": "mug"}, {"id": 3, "name": "vase"}]
    file.write_text(json.dumps({"images": images, "annotations": annotations, "categories": categories} | more))
    return file


def test_what_is_written_is_read_again_and_by_another_reader(root: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    photos = []
    for name, count in (("a.jpg", 3), ("shelf/b.png", 0), ("lying.jpg", 2)):
        corners = rng.uniform(0, 0.6, (count, 2))
        boxes = tuple(Box(x, y, x + 0.3, y + 0.2) for x, y in corners.tolist())
        photos.append(BoxedPhoto(root / name, boxes, ("mug", "vase", IGNORED)[:count]))
    out = tmp_path / "out.json"
    write_coco(out, photos, root, {(root / "a.jpg", 1): {"source": "detector", "score": 0.75}})
    again = read_coco(out, root)
    assert again.skipped == {}
    assert [(p.path, p.kinds) for p in again.photos] == [(p.path, p.kinds) for p in photos]
    for mine, theirs in zip(photos, again.photos, strict=True):
        for one, other in zip(mine.boxes, theirs.boxes, strict=True):
            assert edges(other) == pytest.approx(edges(one), abs=1e-5)
    told = json.loads(out.read_text())
    assert told["annotations"][1]["source"] == "detector"

    api = COCO(str(out))
    for number, photo in enumerate(photos, start=1):
        with Image.open(photo.path) as opened:
            width, height = ImageOps.exif_transpose(opened).size
        found = api.loadAnns(api.getAnnIds(imgIds=[number]))
        assert api.loadImgs(number)[0]["file_name"] == photo.path.relative_to(root).as_posix()
        assert [api.loadCats(one["category_id"])[0]["name"] for one in found] == list(photo.kinds)
        assert [one["iscrowd"] for one in found] == [int(kind == IGNORED) for kind in photo.kinds]
        for one, box in zip(found, photo.boxes, strict=True):
            x, y, wide, high = one["bbox"]
            assert [x / width, y / height, (x + wide) / width, (y + high) / height] == pytest.approx(
                edges(box), abs=1e-5
            )


def test_odd_but_valid_files(root: Path) -> None:
    images = [
        {"id": "one", "file_name": "a.jpg", "width": 200, "height": 100, "licence": 4},
        {"id": 9, "file_name": "b.png", "width": 200, "height": 100},  # in a folder below, the only one of this name
        {"id": 10, "file_name": "gone.jpg", "width": 200, "height": 100},
        {"id": 11, "file_name": "../outside.jpg", "width": 200, "height": 100},
    ]
    box = {"image_id": "one", "category_id": 7}
    annotations = [
        box | {"bbox": [10.5, 20.25, 50, 30.5], "segmentation": {"counts": "x", "size": [1, 1]}, "area": 1},
        box | {"bbox": [-1, 0, 50, 100.9]},  # beyond the photo by rounding
        box | {"bbox": [0, 0, 300, 100]},  # of another size of the photo
        box | {"bbox": [5, 5, 1, 50]},  # half a hundredth of the width
        box | {"bbox": [5, 5, 100, 50], "iscrowd": 1},
        box | {"bbox": [1, 2, 3]},
        {"image_id": "two", "category_id": 7, "bbox": [0, 0, 9, 9]},
        {"image_id": "one", "category_id": 99, "bbox": [0, 0, 9, 9]},
    ]
    found = read_coco(coco(root, images, annotations, info={"year": 2026}), root)
    first, second = found.photos
    assert first.kinds == ("mug", "mug", IGNORED)
    assert edges(first.boxes[0]) == [0.0525, 0.2025, 0.3025, 0.5075]
    assert edges(first.boxes[1]) == [0.0, 0.0, 0.245, 1.0]
    assert (second.path, second.boxes) == (root / "shelf/b.png", ())
    assert set(found.skipped) == {
        *(f"annotations[{place}]" for place in (2, 3, 5, 6, 7)),
        "images[2] gone.jpg",
        "images[3] ../outside.jpg",
    }


@pytest.mark.parametrize("text", ["", "[]", '{"images": [{"id": 1}]}', '{"annotations": []}'])
def test_what_is_no_coco_file_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(ConfigError, match=r"x\.json.*images"):
        read_coco(tmp_path / "x.json", tmp_path)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_box_turns_with_its_photo(tmp_path: Path, orientation: int) -> None:
    """The twin is Pillow: a white rectangle in the photo as stored, found in the upright photo."""
    image = Image.new("L", SIZE)
    image.paste(255, (20, 10, 80, 90))
    exif = Image.Exif()
    exif[0x0112] = orientation
    image.save(tmp_path / "x.png", exif=exif)
    with Image.open(tmp_path / "x.png") as opened:
        upright = ImageOps.exif_transpose(opened)
    left, top, right, bottom = upright.getbbox()
    width, height = upright.size
    sides = sides_of(tmp_path / "x.png")
    assert sides.upright == (width, height)
    turned = turned_upright(Box(0.1, 0.1, 0.4, 0.9), orientation)
    assert edges(turned) == pytest.approx([left / width, top / height, right / width, bottom / height])
    if orientation >= 5:  # the sides tell which of the two a file means
        assert edges(box_in((20, 10, 80, 90), *SIZE, sides)) == pytest.approx(edges(turned))
        assert edges(box_in((left, top, right, bottom), width, height, sides)) == pytest.approx(edges(turned))
