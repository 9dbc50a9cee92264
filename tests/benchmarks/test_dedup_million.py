"""The benchmark of large folders: what overlaps, what memory it sees, and a run of few photos."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks.cleaning.dedup_million import Origin, measure, pack
from benchmarks.cleaning.memory_peak import MemoryPeak, memory_mb

linux = pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")


def test_two_parts_of_one_picture_overlap_and_those_of_two_do_not() -> None:
    one = Origin("a", 7, 0, 0, 0, 60, 50)
    assert one.overlap(one) == 1
    assert one.overlap(Origin("b", 7, 0, 20, 0, 80, 50)) == pytest.approx(40 / 80)
    assert one.overlap(Origin("b", 7, 0, 60, 0, 90, 50)) == 0
    assert one.overlap(Origin("b", 7, 1, 0, 0, 60, 50)) == 0  # the mirror image
    assert one.overlap(Origin("b", 8, 0, 0, 0, 60, 50)) == 0


@linux
def test_own_pages_are_told_from_those_of_files(tmp_path: Path) -> None:
    size = 40 * 2**20
    file = tmp_path / "file"
    file.write_bytes(bytes(size))
    before = memory_mb()
    with MemoryPeak() as own:
        pages = np.ones(size, np.uint8)
    assert own.peaks["private"] - before[0] > 35
    del pages
    with MemoryPeak() as mapped:
        view = np.memmap(file, np.uint8, "r")
        assert not view.any()
    assert mapped.peaks["mapped"] - before[1] > 35
    assert mapped.peaks["private"] - before[0] < 35
    assert mapped.as_mb()["both"] >= mapped.as_mb()["mapped"]


@linux
def test_few_photos_are_measured(tmp_path: Path) -> None:
    pack(tmp_path, 60, 3)
    found = measure(tmp_path, 60, workers=1)
    assert found["photos"] == found["fingerprints_taken"] == 60
    assert found["marked"] > 5
    assert found["false"] == round((1 - found["precision"]) * found["marked"])
    assert found["false_overlap_0.8"] <= found["false_overlap_0.6"] <= found["false"]
    assert measure(tmp_path, 60, workers=1)["fingerprints_taken"] == 0
