"""VOC files: round trips against ElementTree by hand, both ways to count pixels, and odd but valid files."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree as Tree

import pytest
from PIL import Image

from engines.pixels import Box
from schemas.errors import ConfigError
from training.boxes.formats import read_voc, write_voc
from training.detection.records import IGNORED, BoxedPhoto

SIZE = (200, 100)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    for name in ("a.jpg", "a.png", "shelf/b.jpg"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", SIZE).save(folder / name)
    exif = Image.Exif()
    exif[0x0112] = 8
    Image.new("RGB", SIZE).save(folder / "lying.jpg", exif=exif)
    return folder


def voc(name: str, objects: str, size: tuple[int, int] | None = SIZE) -> str:
    sides = f"<size><width>{size[0]}</width><height>{size[1]}</height><depth>3</depth></size>" if size else ""
    return f"<annotation><folder>VOC2012</folder><filename>{name}</filename>{sides}{objects}</annotation>"


def one(kind: str, *edges: float, more: str = "") -> str:
    tags = zip(("xmin", "ymin", "xmax", "ymax"), edges, strict=True)
    bounds = "".join(f"<{tag}> {value} </{tag}>" for tag, value in tags)
    return f"<object><name>{kind}</name>{more}<bndbox>{bounds}</bndbox></object>"


def edges(box: Box) -> list[float]:
    return [box.left, box.top, box.right, box.bottom]


def test_what_is_written_is_read_again_and_by_hand(root: Path, tmp_path: Path) -> None:
    photos = [
        BoxedPhoto(root / "a.jpg", (Box(0.0, 0.1, 0.5, 1.0), Box(0.123, 0.2, 0.456, 0.5)), ("mug & cup", IGNORED)),
        BoxedPhoto(root / "a.png", (), ()),
        BoxedPhoto(root / "shelf/b.jpg", (Box(0.25, 0.25, 0.75, 0.75),), ("vase",)),
        BoxedPhoto(root / "lying.jpg", (Box(0.1, 0.1, 0.5, 0.4),), ("mug",)),
    ]
    out = tmp_path / "xml"
    write_voc(out, photos, root)
    assert {path.relative_to(out).as_posix() for path in out.rglob("*.xml")} == {
        "a.jpg.xml",
        "a.png.xml",
        "shelf/b.xml",
        "lying.xml",
    }
    tree = Tree.parse(out / "a.jpg.xml").getroot()
    assert tree.findtext("filename") == "a.jpg"
    bounds = [[float(edge.text or "") for edge in box] for box in tree.iter("bndbox")]
    assert bounds == [[1, 11, 100, 100], [25.6, 21, 91.2, 50]]  # counted from 1, both edges inside
    assert [box.findtext("difficult") for box in tree.iter("object")] == ["0", "1"]
    lying = Tree.parse(out / "lying.xml").getroot()
    assert (lying.findtext("size/width"), lying.findtext("size/height")) == ("100", "200")
    again = read_voc(out, root)
    assert again.skipped == {}
    by_path = {photo.path: photo for photo in again.photos}
    for photo in photos:
        assert by_path[photo.path].kinds == photo.kinds
        for mine, theirs in zip(photo.boxes, by_path[photo.path].boxes, strict=True):
            assert edges(theirs) == pytest.approx(edges(mine), abs=1e-4)


@pytest.mark.parametrize(
    ("boxes", "read"),
    [
        ([(1, 1, 200, 100), (21, 11, 60, 50)], [[0, 0, 1, 1], [0.1, 0.1, 0.3, 0.5]]),  # counted from 1
        ([(0, 0, 200, 100), (20, 10, 60, 50)], [[0, 0, 1, 1], [0.1, 0.1, 0.3, 0.5]]),  # counted from 0
    ],
)
def test_both_ways_to_count_pixels(root: Path, tmp_path: Path, boxes, read) -> None:
    (tmp_path / "xml").mkdir()
    (tmp_path / "xml" / "b.xml").write_text(voc("b.jpg", "".join(one("mug", *box) for box in boxes)))
    (photo,) = read_voc(tmp_path / "xml", root).photos
    assert photo.path == root / "shelf/b.jpg"
    assert [edges(box) for box in photo.boxes] == [pytest.approx(box) for box in read]


def test_odd_but_valid_files(root: Path, tmp_path: Path) -> None:
    folder = tmp_path / "xml"
    (folder / "shelf").mkdir(parents=True)
    part = "<part><name>handle</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>9</xmax><ymax>9</ymax></bndbox></part>"
    objects = one("mug", 1, 1, 100.5, 50.25, more=part) + one("mug", 21, 11, 60, 50, more="<difficult>1</difficult>")
    (folder / "shelf" / "b.xml").write_text(voc("", objects, None))  # no size, and no name but the file's
    (folder / "a.xml").write_text(voc("a.png", ""))
    (folder / "beyond.xml").write_text(voc("a.jpg", one("mug", 1, 1, 203, 100) + one("mug", 1, 1, 300, 100)))
    (folder / "no.xml").write_text(voc("no.jpg", ""))
    (folder / "cut.xml").write_text("<annotation><object>")
    (folder / "other.xml").write_text("<svg/>")
    (folder / "bomb.xml").write_text('<!DOCTYPE a [<!ENTITY x "xx">]><annotation>&x;</annotation>')
    (folder / "words.xml").write_text(voc("lying.jpg", one("mug", "left", 1, 2, 3) + one("", 1, 1, 90, 90)))
    found = read_voc(folder, root)
    by_path = {photo.path.relative_to(root).as_posix(): photo for photo in found.photos}
    assert by_path["shelf/b.jpg"].kinds == ("mug", IGNORED)
    assert edges(by_path["shelf/b.jpg"].boxes[0]) == [0, 0, 0.5025, 0.5025]
    assert by_path["a.png"].boxes == ()
    assert edges(by_path["a.jpg"].boxes[0]) == [0, 0, 1, 1]
    assert set(found.skipped) == {
        "beyond.xml object 2",
        "no.xml",
        "cut.xml",
        "other.xml",
        "bomb.xml",
        "words.xml object 1",
        "words.xml object 2",
    }


def test_a_folder_without_xml_is_refused(root: Path) -> None:
    with pytest.raises(ConfigError, match="no XML file"):
        read_voc(root, root)
