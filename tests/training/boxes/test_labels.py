"""Labelling with a detector that is exact: every photo once, also after a stop, and bad photos apart."""

from __future__ import annotations

from pathlib import Path

import pytest

from schemas.errors import ConfigError
from tests.training.boxes.red_boxes import RedDetector, draw
from training.boxes.finder import in_this_process
from training.boxes.labels import label, read_labels


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for n in range(8):
        draw(tmp_path / "photos" / f"{n}.png", {(0.1, 0.1 + 0.05 * n, 0.3, 0.5): 0.5} if n else {})
    (tmp_path / "photos" / "broken.png").write_bytes(b"\x89PNG nothing")
    return tmp_path / "photos"


PATHS = [*(f"{n}.png" for n in range(4)), "broken.png", "gone.png", *(f"{n}.png" for n in range(4, 8))]


def test_every_photo_has_an_answer_and_bad_ones_a_reason(root: Path, tmp_path: Path) -> None:
    file, seen = tmp_path / "labels.ndjson", []
    labels = label(
        in_this_process(RedDetector()).find, root, PATHS, file, lambda done, total: seen.append((done, total))
    )
    assert list(labels) == PATHS
    assert labels["0.png"].guesses == ()
    (guess,) = labels["3.png"].guesses
    assert guess.box == pytest.approx((0.1, 0.25, 0.3, 0.5))
    assert guess.score == pytest.approx(0.5, abs=0.01)
    assert "cannot be decoded" in labels["broken.png"].error
    assert "cannot be read" in labels["gone.png"].error
    assert seen[-1] == (10, 10)
    assert read_labels(file) == labels


def test_a_run_that_was_cut_goes_on_where_it_was(root: Path, tmp_path: Path) -> None:
    file = tmp_path / "labels.ndjson"
    whole = label(in_this_process(RedDetector()).find, root, PATHS, file)
    file.write_bytes(file.read_bytes()[: file.read_bytes().index(b'"2.png"') + 9])  # killed within the third line
    again = RedDetector()
    assert label(in_this_process(again).find, root, PATHS, file) == whole
    assert again.looked == 6  # of ten photos, two were known and two cannot be decoded
    assert read_labels(file) == whole


def test_a_damaged_line_is_named(root: Path, tmp_path: Path) -> None:
    file = tmp_path / "labels.ndjson"
    file.write_text('{"path":"a"}\n{"path":1}\n')
    with pytest.raises(ConfigError, match=r"labels\.ndjson:2: .*label again"):
        label(in_this_process(RedDetector()).find, root, PATHS, file)
