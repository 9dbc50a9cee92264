"""Hostile inputs at every door harm nothing, and the judge finds planted faults."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from random import Random

import pytest

from tests.hostile.case import DOORS
from tests.hostile.doors import events, tables
from tests.hostile.judge import judge
from tests.hostile.planted import AT, FAULTS

EACH = 45


def test_there_are_enough() -> None:
    assert len(DOORS) * EACH >= 300
    there = {path.stem for path in (Path(__file__).parent / "doors").glob("*.py")}
    assert there == set(DOORS)


@pytest.mark.slow
@pytest.mark.parametrize("door", DOORS)
def test_hostile_inputs_harm_nothing(door: str) -> None:
    judged = judge(f"tests.hostile.doors.{door}", 1, EACH)
    assert judged.found == []
    assert judged.inputs == EACH
    assert judged.verdicts["refused"] >= 5  # the inputs are hostile
    assert judged.verdicts["taken"] >= 1  # and what is clear is understood


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS)
def test_planted_faults_are_found(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GROKNET_PLANTED", fault)
    judged = judge("tests.hostile.planted", 1, AT + 3, quiet_s=20.0 if fault == "hang" else 180.0)
    if fault == "none":
        assert judged.found == []
        return
    word = {"exit": "ended with 7", "files": "leak", "threads": "leak", "promise": "crash"}.get(fault, fault)
    assert word in judged.found[0]
    # an honest input may have been faster than the hostile one that it stands beside
    assert judged.found[0].startswith((f"input {AT}:", f"input {AT + 1}:") if fault == "honest" else f"input {AT}:")


def test_a_seed_decides_the_inputs(tmp_path: Path) -> None:
    names = [[one.name for one in islice(events.inputs(Random(seed), tmp_path), 20)] for seed in (1, 1, 2)]
    assert names[0] == names[1] != names[2]


def test_a_row_that_leads_out_of_its_folder_would_be_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tables.honest(tmp_path)
    found = tables.read("csv", tmp_path)
    found.rows[0]["path"] = "../outside.jpg"
    monkeypatch.setattr(tables, "read", lambda reader, folder: found)
    with pytest.raises(AssertionError):
        tables.offer("csv", tmp_path)
