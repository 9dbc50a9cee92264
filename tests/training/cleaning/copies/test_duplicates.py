"""Which photos of a group are marked, and which one stays."""

from __future__ import annotations

from pathlib import Path

from PIL import ImageFilter

from tests.training.cleaning.pictures import jpeg, picture
from training.cleaning.copies.duplicates import DuplicateSettings, duplicate_marks
from training.cleaning.copies.fingerprints import take_fingerprints
from training.cleaning.marks import Mark


def marks_of(folder: Path, files: dict[str, bytes], splits: dict[str, str] | None = None) -> dict[str, Mark]:
    folder.mkdir()
    for name, data in files.items():
        (folder / name).write_bytes(data)
    prints = take_fingerprints(folder, list(files), folder / "work", workers=1)
    rows = [{"path": name, "split": (splits or {}).get(name, "train"), "product": name[0]} for name in files]
    return {mark.photo: mark for mark in duplicate_marks(rows, prints, DuplicateSettings())}


def test_the_largest_sharpest_least_compressed_photo_stays(tmp_path: Path) -> None:
    image, other = picture(1, (240, 200)), picture(2, (240, 200))
    marks = marks_of(
        tmp_path / "photos",
        {
            "small.jpg": jpeg(image.resize((120, 100))),
            "blurred.jpg": jpeg(image.filter(ImageFilter.GaussianBlur(3))),
            "best.jpg": jpeg(image),
            "poor.jpg": jpeg(image, 12),
            "same.jpg": jpeg(image),
            "other.jpg": jpeg(other),
            "broken.jpg": b"",
        },
    )
    assert {mark.kept for mark in marks.values()} == {"best.jpg"}
    assert {photo: mark.what for photo, mark in marks.items()} == {
        "small.jpg": "near_duplicate",
        "blurred.jpg": "near_duplicate",
        "poor.jpg": "near_duplicate",
        "same.jpg": "same_bytes",
    }
    assert len({mark.group for mark in marks.values()}) == 1
    assert marks["small.jpg"].why["kept_product"] == "b"
    assert float(marks["poor.jpg"].why["likeness"]) > 0.7


def test_a_photo_that_is_measured_stays_before_a_better_one_that_is_trained_on(tmp_path: Path) -> None:
    image = picture(3, (240, 200))
    files = {"train.jpg": jpeg(image), "test.jpg": jpeg(image.resize((96, 80)), 40)}
    assert list(marks_of(tmp_path / "a", files, {"test.jpg": "test"})) == ["train.jpg"]
    assert list(marks_of(tmp_path / "b", files)) == ["test.jpg"]
