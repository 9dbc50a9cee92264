"""Photos of one flat colour: which are copies, against a comparison of all of them."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.training.cleaning.pictures import jpeg, picture
from training.cleaning.copies.duplicates import DuplicateSettings, duplicate_marks
from training.cleaning.copies.fingerprints import FINGERPRINT, Fingerprints, take_fingerprints
from training.cleaning.copies.flat_colours import marks_of_flat
from training.cleaning.copies.marking import Marker


def plain(colour: tuple[int, int, int], side: int = 60) -> Image.Image:
    return Image.new("RGB", (side, side), colour)


def png(image: Image.Image) -> bytes:
    out = io.BytesIO()
    image.save(out, "PNG")
    return out.getvalue()


def test_placeholders_of_one_colour_are_copies_and_others_are_not(tmp_path: Path) -> None:
    dot = plain((200, 200, 200), 64)
    dot.paste((0, 0, 0), (20, 20, 40, 40))
    files = {
        "grey-large.png": png(plain((200, 200, 200), 90)),
        "grey.jpg": jpeg(plain((200, 200, 200)), 60),
        "grey-again.jpg": jpeg(plain((200, 200, 200)), 60),
        "grey-nearly.png": png(plain((198, 203, 200))),
        "grey-darker.png": png(plain((190, 190, 190))),
        "red.png": png(plain((255, 0, 0))),
        "green-as-bright.png": png(plain((0, 130, 0))),  # in grey, both are 76
        "red.jpg": jpeg(plain((255, 0, 0), 40)),
        "dot.png": png(dot),
        "other.jpg": jpeg(picture(1)),
    }
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    prints = take_fingerprints(tmp_path, list(files), tmp_path / "work")
    rows = [{"path": name, "split": "train"} for name in files]
    marks = {mark.photo: mark for mark in duplicate_marks(rows, prints, DuplicateSettings())}
    assert {photo: mark.kept for photo, mark in marks.items()} == {
        "grey.jpg": "grey-large.png",
        "grey-again.jpg": "grey-large.png",
        "grey-nearly.png": "grey-large.png",
        "red.jpg": "red.png",
    }
    assert marks["grey-nearly.png"].why["levels"] == 3
    assert {mark.what for mark in marks.values()} == {"near_duplicate"}


def test_equal_bytes_are_called_so(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / name).write_bytes(jpeg(plain((9, 9, 9))))
    prints = take_fingerprints(tmp_path, ["a", "b"], tmp_path / "work")
    (mark,) = duplicate_marks([{"path": "a"}, {"path": "b"}], prints, DuplicateSettings())
    assert (mark.what, mark.photo, mark.kept) == ("same_bytes", "b", "a")


def flat_prints(folder: Path, colours: np.ndarray) -> Fingerprints:
    """Fingerprints of flat photos whose sizes fall, so that each is better than those after it."""
    folder.joinpath("photos").mkdir()
    (folder / "photos" / "a.jpg").write_bytes(jpeg(plain((1, 2, 3))))
    prints = take_fingerprints(folder / "photos", ["a.jpg"], folder)
    records = np.repeat(prints.take([0]), len(colours))
    records["colour"], records["flat"], records["height"] = colours, 1, 1
    records["width"] = np.arange(len(colours), 0, -1)
    records["sha256"] = np.arange(32 * len(colours)).reshape(-1, 32) % 251
    assert records.dtype == FINGERPRINT
    (folder / "fingerprints.bin").write_bytes(records.tobytes())
    (folder / "fingerprints.jsonl").write_text("".join(f'{{"path":"{i}"}}\n' for i in range(len(colours))))
    return Fingerprints(folder)


@pytest.mark.parametrize("least", [0.75, 0.9, 1.0])
def test_many_colours_against_a_comparison_of_all(tmp_path: Path, least: float) -> None:
    colours = np.random.default_rng(5).integers(100, 125, (400, 3))
    colours[7] = [0, 0, 0]
    colours[8] = [255, 255, 255]
    prints = flat_prints(tmp_path, colours)
    expected: dict[str, str] = {}
    stay: list[int] = []
    for i, colour in enumerate(colours):
        for kept in stay:
            if np.abs(colours[kept] - colour).max() <= (1 - least) * 20:
                expected[str(i)] = str(kept)
                break
        else:
            stay.append(i)
    rows = [{"path": str(i)} for i in range(len(colours))]
    marks = marks_of_flat(np.arange(len(colours)), prints, Marker(rows, prints, "product"), least)
    assert {mark.photo: mark.kept for mark in marks} == expected
    assert 2 < len(stay) < 400


def test_thousands_of_equal_placeholders_leave_one(tmp_path: Path) -> None:
    count = 20_000
    prints = flat_prints(tmp_path, np.full((count, 3), 230))
    rows = [{"path": str(i)} for i in range(count)]
    marks = list(duplicate_marks(rows, prints, DuplicateSettings()))
    assert len(marks) == count - 1
    assert {mark.kept for mark in marks} == {"0"}
