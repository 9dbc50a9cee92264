"""Fingerprints: what is in them, what bad photos get, and what a run that was killed leaves."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import numpy.lib.recfunctions as rfn
import pytest
from PIL import Image, ImageFilter, ImageOps

from schemas.errors import ConfigError
from tests.training.cleaning.pictures import jpeg, picture
from training.cleaning.copies.fingerprints import FINGERPRINT, Fingerprints, take_fingerprints

PATHS = ["a.jpg", "big.png", "bordered.jpg", "blurred.jpg", "poor.jpg", "broken.jpg", "text.jpg", "gone.jpg"]


def photos(folder: Path) -> Path:
    folder.mkdir()
    image = picture(1, (240, 200))
    (folder / "a.jpg").write_bytes(jpeg(image))
    image.resize((480, 400)).save(folder / "big.png")
    (folder / "bordered.jpg").write_bytes(jpeg(ImageOps.expand(image, 20, (255, 255, 255))))
    (folder / "blurred.jpg").write_bytes(jpeg(image.filter(ImageFilter.GaussianBlur(4))))
    (folder / "poor.jpg").write_bytes(jpeg(image, 10))
    (folder / "broken.jpg").write_bytes(jpeg(image)[:900])
    (folder / "text.jpg").write_text("no photo")
    return folder


def test_a_fingerprint_says_what_the_photo_is(tmp_path: Path) -> None:
    folder = photos(tmp_path / "photos")
    prints = take_fingerprints(folder, PATHS, tmp_path / "work", workers=1)
    records = dict(zip(PATHS, prints.take(range(len(PATHS))), strict=True))
    assert [name.path for name in prints.names()] == PATHS
    data = (folder / "a.jpg").read_bytes()
    assert records["a.jpg"]["sha256"].tobytes() == hashlib.sha256(data).digest()
    assert (records["a.jpg"]["width"], records["a.jpg"]["height"], records["a.jpg"]["bytes"]) == (240, 200, len(data))
    grey = np.asarray(Image.open(folder / "a.jpg").convert("L").resize((32, 32), Image.Resampling.BOX), int)
    assert np.abs(records["a.jpg"]["small"].astype(int) - grey).mean() < 3
    assert records["big.png"]["compression"] == 1 < records["a.jpg"]["compression"] < records["poor.jpg"]["compression"]
    assert records["blurred.jpg"]["sharpness"] < records["a.jpg"]["sharpness"]
    assert records["bordered.jpg"]["overlay"] > 0.2 > records["a.jpg"]["overlay"]
    errors = {name.path: name.error for name in prints.names() if name.error}
    assert errors == {
        "broken.jpg": "cannot be decoded: truncated",
        "text.jpg": "cannot be decoded: not_an_image",
        "gone.jpg": "cannot be read: No such file or directory",
    }
    assert [path for path in PATHS if not records[path]["readable"]] == list(errors)
    assert prints.column("readable").tolist() == [records[path]["readable"] for path in PATHS]
    assert (prints.values("bytes", np.array([0])) == [len(data)]).all()
    assert not prints.column("flat").any()
    assert (prints.small(np.array([4, 1])) == [records["poor.jpg"]["small"], records["big.png"]["small"]]).all()


@pytest.mark.parametrize("cut", [("bin", 3 * FINGERPRINT.itemsize + 7), ("jsonl", 60), ("bin", 0)])
def test_a_run_that_was_killed_goes_on_and_gives_the_same(tmp_path: Path, cut: tuple[str, int]) -> None:
    folder, work = photos(tmp_path / "photos"), tmp_path / "work"
    whole = take_fingerprints(folder, PATHS, work, workers=1)
    expected = whole.take(range(len(PATHS))).tobytes(), list(whole.names())
    kind, size = cut
    file = work / f"fingerprints.{kind}"
    file.write_bytes(file.read_bytes()[:size])
    (folder / "a.jpg").unlink()  # it is taken again only if its fingerprint was lost
    counted: list[int] = []
    again = take_fingerprints(folder, PATHS, work, workers=1, progress=lambda done, _: counted.append(done))
    if size:
        assert (again.take(range(len(PATHS))).tobytes(), list(again.names())) == expected
        assert counted[0] > 1
    else:
        assert next(again.names()).error
    assert counted[-1] == len(PATHS)


def test_fingerprints_of_an_earlier_layout_are_taken_again(tmp_path: Path) -> None:
    folder, work = photos(tmp_path / "photos"), tmp_path / "work"
    expected = take_fingerprints(folder, PATHS, work, workers=1).take(range(len(PATHS))).tobytes()
    file = work / "fingerprints.bin"
    names = [name for name in FINGERPRINT.names or () if name != "layout"]
    earlier = np.frombuffer(expected, FINGERPRINT)[names]
    file.write_bytes(rfn.repack_fields(earlier).tobytes() * 2)
    assert len(Fingerprints(work)) == 0
    assert take_fingerprints(folder, PATHS, work, workers=1).take(range(len(PATHS))).tobytes() == expected


def test_another_list_of_photos_is_refused(tmp_path: Path) -> None:
    folder = photos(tmp_path / "photos")
    take_fingerprints(folder, PATHS[:2], tmp_path / "work", workers=1)
    (tmp_path / "work" / "decisions.jsonl").write_text("by hand")
    with pytest.raises(ConfigError, match="other photos") as refused:
        take_fingerprints(folder, PATHS[1:], tmp_path / "work", workers=1)
    # what the message says to delete is enough, and nothing else is lost
    told = str(refused.value).rpartition("delete its ")[2].split(" and ")
    assert sorted(told) == sorted(path.name for path in (tmp_path / "work").iterdir() if path.name != "decisions.jsonl")
    for name in told:
        (tmp_path / "work" / name).unlink()
    assert len(take_fingerprints(folder, PATHS[1:3], tmp_path / "work", workers=1)) == 2
