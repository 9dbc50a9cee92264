"""Every broken table and folder: refused with file, line and remedy, or read as it was meant."""

from __future__ import annotations

from pathlib import Path

import pytest

from schemas.errors import ConfigError
from tests.training.broken_data_sets import CASES, FOLDERS, TABLES, Case, photos
from training.readers import cautions, read

every_case = pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])


def test_there_are_enough_and_each_has_one_verdict() -> None:
    assert len(CASES) >= 60
    assert len({case.name for case in CASES}) == len(CASES)
    assert all(bool(case.refused) != (case.read is not None) for case in CASES)
    assert min(len(TABLES), len(FOLDERS)) >= 20


@every_case
def test_the_door(case: Case, tmp_path: Path) -> None:
    folder = tmp_path / "d"
    folder.mkdir()
    case.make(folder)
    if case.read is None:
        with pytest.raises(ConfigError) as refused:
            read(case.reader, folder)
        assert str(refused.value).startswith("data: ")
        assert str(folder) in str(refused.value)
        assert [part for part in case.refused if part not in str(refused.value)] == [], str(refused.value)
        return
    found = read(case.reader, folder)
    assert {row["path"]: (row["split"], row["label"]) for row in found.rows} == case.read
    assert all((folder / row["path"].split("/1.jpg")[0]).exists() for row in found.rows)


def test_what_training_would_stumble_on_is_said(tmp_path: Path) -> None:
    photos(tmp_path, "0.jpg", "1.jpg", "2.jpg")
    (tmp_path / "labels.csv").write_text(
        "path,split,label,kind\n0.jpg,test,Mug,a\n1.jpg,test,mug,a\n2.jpg,test, MUG,a\n"
    )
    said = cautions(read("csv", tmp_path).rows)
    assert said == [
        "no photo is in the split train, so training has nothing to learn from it; it has 3 test",
        "column label has labels that differ only in case or blanks: 'MUG' / 'Mug' / 'mug'",
        "column kind has one label, 'a'; a head needs two",
    ]
    (tmp_path / "labels.csv").write_text("path,split,label\n0.jpg,train,a\n1.jpg,val,b\n2.jpg,test,c\n")
    assert cautions(read("csv", tmp_path).rows) == []
