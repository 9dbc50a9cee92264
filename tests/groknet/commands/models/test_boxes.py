"""`groknet boxes` from the first import to a new detector, with a detector whose boxes everybody can predict."""

from __future__ import annotations

import csv
import json
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import urllib3
from PIL import Image

from groknet.cli.exits import Exit
from tests.detectors import CELLS, SIDE, bright_detector, light
from tests.groknet.conftest import Call

pytestmark = pytest.mark.slow  # a detector bundle takes seconds to make

GIVEN, PHOTOS = 24, 40
PLACES = ("p", "photos", "nowhere")
RECIPE = f"""
name = "tiny"
side = {SIDE}
[network]
channels = 8
depth = 1
frozen = 11
[nms]
most = 50
[schedule]
steps = 1
[[datasets]]
name = "none"
share = 4
"""


def cells_of(number: int) -> dict[int, int]:
    """The bright cells of a photo: cell → brightness. Photos from 30 on have a third one that is half as bright."""
    cells = {number % 16: 250, (number + 5) % 16: 240}
    return cells | ({(number + 9) % 16: 140} if number >= 30 else {})


def edges(cell: int) -> list[float]:
    row, column = divmod(cell, CELLS)
    return [column / CELLS, row / CELLS, (column + 1) / CELLS, (row + 1) / CELLS]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "photos").mkdir()
    for number in range(PHOTOS):
        pixels = np.zeros((SIDE, SIDE, 3), np.uint8)
        for cell, value in cells_of(number).items():
            light(pixels, cell, value)
        Image.fromarray(pixels).save(tmp_path / "photos" / f"{number:02}.png")
    (tmp_path / "photos" / "broken.png").write_bytes(b"no photo")
    with (tmp_path / "given.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "left", "top", "right", "bottom", "label"])
        for number in range(GIVEN):
            writer.writerows([f"{number:02}.png", *edges(cell), "mug"] for cell in cells_of(number))
        writer.writerow(["gone.png", 0, 0, 1, 1, "mug"])
    return tmp_path


def told(groknet: Call, *words: object) -> dict:
    answer = groknet("boxes", *words, "--json")
    assert answer.code == Exit.OK, answer.err
    return answer.json


def test_a_project_from_its_import_to_its_own_detector(place: Path, groknet: Call) -> None:
    project, detector = place / "project", place / "detector"
    bright_detector(detector)
    begun = told(groknet, "init", project, "--photos", place / "photos", "--boxes", place / "given.csv")
    assert {k: begun[k] for k in ("photos", "with_boxes", "boxes", "queued", "set_aside")} == {
        "photos": PHOTOS + 1,
        "with_boxes": GIVEN,
        "boxes": 2 * GIVEN,
        "queued": 0,
        "set_aside": 6,
    }
    assert "no such photo" in next(iter(begun["skipped"].values()))

    labelled = told(groknet, "label", project, "--detector", detector, "--lost", "0")
    assert labelled["keep"] == labelled["drop"] == pytest.approx(240 / 255, abs=0.01)  # no validation box is doubtful
    assert labelled["validation"] == {"photos": 6, "boxes": 12, "kept": 12, "right": 12, "found": 12}
    assert labelled["photos"] == {"given": GIVEN, "confident": PHOTOS - GIVEN, "unreadable": 1}
    (labels,) = (project / "labels").iterdir()
    before = labels.read_bytes()
    labels.unlink()
    assert told(groknet, "label", project, "--detector", detector, "--lost", "0", "--workers", "2") == labelled
    assert labels.read_bytes() == before

    now = told(groknet, "status", project)
    assert now["boxes"] == {"detector": 2 * (PHOTOS - GIVEN), "import": 2 * GIVEN}
    assert now["saved_s"] == pytest.approx(7.0 * 2 * (PHOTOS - GIVEN))
    empty = groknet("boxes", "review", project)
    assert empty.code == Exit.FAILED  # nothing is doubtful
    assert "queue of" in empty.err

    checked = told(groknet, "import", project, "--boxes", place / "given.csv", "--check")
    assert checked["queued"] == GIVEN
    _review(project)
    out = told(groknet, "export", project, "--out", place / "out.json", "--people-only")
    assert (out["photos"], out["boxes"]) == (GIVEN, 2 * GIVEN - 1)
    counted = json.loads((place / "out.json").read_text())["annotations"]
    assert {one["source"] for one in counted} == {"import", "hand"}
    assert groknet("boxes", "export", project, "--format", "voc", "--out", place / "xml").code == Exit.OK
    assert len(list((place / "xml").glob("*.xml"))) == PHOTOS

    (place / "recipe.toml").write_text(RECIPE)
    trained = groknet("boxes", "train", project, "--recipe", place / "recipe.toml", "--steps", 2)
    assert trained.code == Exit.OK, trained.err
    assert (project / "detectors" / "01" / "manifest.json").is_file()
    again = told(groknet, "label", project)
    assert again["detector"] != labelled["detector"]


def _review(project: Path) -> None:
    """Answer the first photo over HTTP: one box, drawn anew. The command stops at SIGTERM."""
    command = [sys.executable, "-m", "groknet", "boxes", "review", str(project), "--port", "0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        found = re.search(r"on (http://\S+);", process.stderr.readline())
        assert found is not None
        (item, kind, state), *_ = urllib3.request("GET", f"{found[1]}/v1/queue").json()["items"]
        assert (kind, state) == ("boxes", "open")
        boxes = [{"box": [0.1, 0.1, 0.4, 0.4], "kind": "mug", "was": None}]
        body = {"item": item, "choice": "right", "value": {"boxes": boxes}, "seconds": 4.5}
        answer = urllib3.request("POST", f"{found[1]}/v1/decide", json=body)
        assert answer.status == 200, answer.data
        process.send_signal(signal.SIGTERM)
        said = process.stderr.read()
        assert process.wait(30) == 0, said
    assert "1 decided, 23 left" in said


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["label", "nowhere"], Exit.NOT_FOUND, "groknet boxes init"),
        (["init", "p", "--photos", "nowhere"], Exit.USAGE, "photos"),
        (["init", "p", "--photos", "photos", "--boxes", "nowhere.json"], Exit.NOT_FOUND, "no such file"),
        (["init", "p", "--photos", "photos", "--boxes", "notes.txt"], Exit.USAGE, "--format"),
    ],
)
def test_mistakes_are_named(place: Path, groknet: Call, words, code, said) -> None:
    (place / "notes.txt").write_text("")
    answer = groknet("boxes", *(place / word if "." in word or word in PLACES else word for word in words))
    assert answer.code == code
    assert said in answer.err


def test_a_project_that_cannot_begin_leaves_nothing(place: Path, groknet: Call) -> None:
    (place / "empty.json").write_text('{"images": [], "annotations": [], "categories": []}')
    answer = groknet("boxes", "init", place / "new", "--photos", place / "photos", "--boxes", place / "empty.json")
    assert answer.code == 2
    assert not (place / "new").exists()
