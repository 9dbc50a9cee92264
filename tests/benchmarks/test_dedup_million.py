"""The benchmark of large folders: what overlaps, what memory it sees, and a run of few photos."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.cleaning.dedup_million import Origin, measure, pack

linux = pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")


def test_two_parts_of_one_picture_overlap_and_those_of_two_do_not() -> None:
    one = Origin("a", 7, 0, 0, 0, 60, 50)
    assert one.overlap(one) == 1
    assert one.overlap(Origin("b", 7, 0, 20, 0, 80, 50)) == pytest.approx(40 / 80)
    assert one.overlap(Origin("b", 7, 0, 60, 0, 90, 50)) == 0
    assert one.overlap(Origin("b", 7, 1, 0, 0, 60, 50)) == 0  # the mirror image
    assert one.overlap(Origin("b", 8, 0, 0, 0, 60, 50)) == 0


LOOK = """
import json, sys
import numpy as np
from benchmarks.cleaning.memory_peak import MemoryPeak, memory_mb

before = memory_mb()
with MemoryPeak() as own:
    pages = np.ones(40 * 2**20, np.uint8)
del pages
with MemoryPeak() as mapped:
    view = np.memmap(sys.argv[1], np.uint8, "r")
    assert not view.any()
print(json.dumps([before, own.peaks, mapped.peaks]))
"""


@linux
def test_own_pages_are_told_from_those_of_files(tmp_path: Path) -> None:
    """In a process of its own: that of the tests has free memory of its own, which new arrays would take."""
    (tmp_path / "file").write_bytes(bytes(40 * 2**20))
    said = subprocess.run([sys.executable, "-c", LOOK, tmp_path / "file"], check=True, capture_output=True, text=True)
    (private, files), own, mapped = json.loads(said.stdout)
    assert own["private"] - private > 35
    assert mapped["mapped"] - files > 35
    assert mapped["private"] - private < 35
    assert mapped["both"] >= mapped["mapped"]


@linux
def test_few_photos_are_measured(tmp_path: Path) -> None:
    pack(tmp_path, 60, 3)
    found = measure(tmp_path, 60, workers=1)
    assert found["photos"] == found["fingerprints_taken"] == 60
    assert found["marked"] > 5
    assert found["false"] == round((1 - found["precision"]) * found["marked"])
    assert found["false_overlap_0.8"] <= found["false_overlap_0.6"] <= found["false"]
    assert measure(tmp_path, 60, workers=1)["fingerprints_taken"] == 0
