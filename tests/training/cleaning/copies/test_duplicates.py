"""Which photos of a group are marked, and which one stays."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from tests.training.cleaning.pictures import jpeg, picture
from training.cleaning.copies import duplicates
from training.cleaning.copies.alignment import likeness
from training.cleaning.copies.duplicates import DuplicateSettings, duplicate_marks
from training.cleaning.copies.fingerprints import take_fingerprints
from training.cleaning.copies.groups import large_groups
from training.cleaning.copies.hashes import Greys
from training.cleaning.copies.near_pairs import Pair
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


def test_a_large_group_is_marked_as_a_small_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where every two copies find each other, comparing each with each is the twin of comparing what was found."""
    files: dict[str, bytes] = {}
    for number in range(4):
        image = picture(number + 10, (240, 200))
        files |= {f"{number}-{size}.jpg": jpeg(image.resize((size, size))) for size in (200, 160, 120)}
        files |= {f"{number}-poor.jpg": jpeg(image, 30), f"{number}-a.jpg": jpeg(image), f"{number}-b.jpg": jpeg(image)}
    each_with_each = marks_of(tmp_path / "small", files)
    monkeypatch.setattr(duplicates, "_EACH_WITH_EACH", 1)
    linked = marks_of(tmp_path / "large", files)
    assert len(linked) == 20
    assert {photo: (mark.what, mark.kept) for photo, mark in linked.items()} == {
        photo: (mark.what, mark.kept) for photo, mark in each_with_each.items()
    }


def test_of_many_chained_photos_none_is_marked_for_one_that_it_does_not_resemble(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A mixture slides from one picture to another, so neighbours are alike, and the ends are not."""
    ends = picture(31, (200, 200)), picture(32, (200, 200))
    files = {f"{step:02d}.jpg": jpeg(Image.blend(*ends, step / 12)) for step in range(13)}
    monkeypatch.setattr(duplicates, "_EACH_WITH_EACH", 4)
    marks = marks_of(tmp_path / "photos", files)
    assert 6 <= len(marks) <= 11
    assert all(float(mark.why["likeness"]) >= DuplicateSettings().likeness for mark in marks.values())
    assert all(mark.kept not in marks for mark in marks.values())


def test_many_different_pictures_with_one_hash_do_not_take_the_square_of_their_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All are twins of the first, as photos with its hash are. After four unlike twins in a row a photo stops, and the
    second look at photos that stayed adds nothing here."""
    count = 20
    names = [f"{i:02d}.jpg" for i in range(count)]
    for i, name in enumerate(names):
        (tmp_path / name).write_bytes(jpeg(picture(i, (100, 100))))
    prints = take_fingerprints(tmp_path, names, tmp_path / "work", workers=1)
    judged: list[int] = []

    def counted(left: Greys, right: Greys) -> NDArray[np.float32]:
        judged.append(len(left))
        return likeness(left, right)

    monkeypatch.setattr(duplicates, "_EACH_WITH_EACH", 4)
    monkeypatch.setattr(large_groups, "_AT_ONCE", 4)
    monkeypatch.setattr(large_groups, "likeness", counted)
    monkeypatch.setattr(duplicates, "near_pairs", lambda *_, **__: iter([Pair(i, 0, 0, 0.8) for i in range(1, count)]))
    rows = [{"path": name, "split": "test" if name == names[7] else "train"} for name in names]
    marks = list(duplicate_marks(rows, prints, DuplicateSettings()))
    # Photo 07 is of the test split, so it comes first. It found 00 alone, and nothing else resembles anything.
    assert [(mark.photo, mark.kept) for mark in marks] == [("00.jpg", "07.jpg")]
    assert 0 < sum(judged) <= 4 * count


def test_copies_that_did_not_find_the_best_photo_are_marked_for_it_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of 4 pictures with 20 copies each, every photo finds only the next two of its picture. So several photos of a
    picture stay at first, and those are compared again."""
    draw = random.Random(8)
    pictures, copies = 4, 20
    files: dict[str, bytes] = {}
    for number in range(pictures):
        image = picture(number + 50, (200, 200))
        for copy in range(copies):
            changed = image.resize((draw.randrange(80, 200), draw.randrange(80, 200)))
            files[f"{number}-{copy:02d}.jpg"] = jpeg(changed, draw.randrange(40, 95))
    exhaustive = marks_of(tmp_path / "small", files)
    assert len(exhaustive) == pictures * (copies - 1)
    places = [(first, copy) for first in range(0, pictures * copies, copies) for copy in range(copies)]
    near = [Pair(first + copy, first + (copy + by) % copies, 5, 0.8) for first, copy in places for by in (1, 2)]
    monkeypatch.setattr(duplicates, "near_pairs", lambda *_, **__: iter(near))
    monkeypatch.setattr(duplicates, "_EACH_WITH_EACH", 1)
    again = marks_of(tmp_path / "again", files)
    assert {photo: mark.kept for photo, mark in again.items()} == {p: mark.kept for p, mark in exhaustive.items()}
    monkeypatch.setattr(large_groups, "_ROUNDS", 1)
    once = marks_of(tmp_path / "once", files)
    monkeypatch.setattr(large_groups, "_ROUNDS", 0)
    assert len(marks_of(tmp_path / "never", files)) < len(once) < len(again)
