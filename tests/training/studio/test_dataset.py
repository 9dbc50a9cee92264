"""Folders of studio photos: labels, resuming, several processes, the command."""

from __future__ import annotations

import csv

import pytest
from PIL import Image

from schemas.errors import Invalid
from training.studio import LABEL_COLUMNS, make_product, write_dataset
from training.studio.__main__ import main


def _rows(folder):
    with (folder / "labels.csv").open(newline="", encoding="utf-8") as lines:
        reader = csv.DictReader(lines)
        return tuple(reader.fieldnames or ()), list(reader)


def test_pictures_and_labels_agree(tmp_path):
    assert write_dataset(tmp_path, range(3), 2, (48, 32), workers=1, progress=False, split="val") == 9
    columns, rows = _rows(tmp_path)
    assert columns == LABEL_COLUMNS
    assert {row["path"] for row in rows} == {p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*.jpg")}
    for row in rows:
        product = make_product(int(row["product"].removeprefix("studio-")))
        assert [row[name] for name in ("category", "colour", "material", "pattern", "title")] == [
            product.category,
            product.colour,
            product.material,
            product.pattern,
            product.title,
        ]
        assert (row["domain"], row["split"]) in {("iconic", "gallery"), ("natural", "val")}
        with Image.open(tmp_path / row["path"]) as picture:
            assert picture.size == (48, 32)
    assert sum(row["domain"] == "iconic" for row in rows) == 3


def test_a_second_call_draws_only_what_is_missing_and_adds_splits(tmp_path):
    write_dataset(tmp_path, range(2), 1, (32, 32), workers=1, progress=False)
    first, second, *_ = sorted(tmp_path.rglob("*.jpg"))
    whole = first.read_bytes()
    first.unlink()
    second.write_bytes(b"kept as it is")
    assert write_dataset(tmp_path, range(2), 1, (32, 32), workers=1, progress=False) == 1
    assert first.read_bytes() == whole
    assert second.read_bytes() == b"kept as it is"
    assert write_dataset(tmp_path, [100_000], 1, (32, 32), workers=1, progress=False, split="test") == 2
    _, rows = _rows(tmp_path)
    assert sorted(row["split"] for row in rows) == ["gallery", "gallery", "gallery", "test", "train", "train"]
    assert not list(tmp_path.rglob("*.part"))


@pytest.mark.slow
def test_several_processes_write_what_one_writes(tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    assert write_dataset(one, range(9), 1, (24, 24), workers=1, progress=False) == 18
    assert write_dataset(two, range(9), 1, (24, 24), workers=2, progress=False) == 18
    for path in one.rglob("*.*"):
        assert path.read_bytes() == (two / path.relative_to(one)).read_bytes()


def test_wrong_arguments_are_refused_by_name(tmp_path):
    with pytest.raises(Invalid, match="split is 'gallery'"):
        write_dataset(tmp_path, range(1), 1, split="gallery")  # type: ignore[arg-type]
    with pytest.raises(Invalid, match="views_per_product is -1"):
        write_dataset(tmp_path, range(1), -1)
    assert not list(tmp_path.iterdir())


def test_the_command_writes_folders_and_sheets(tmp_path, capsys):
    folder, sheet = tmp_path / "photos", tmp_path / "sheet.jpg"
    words = ["write", str(folder), "--identities", "5:7", "--views", "1", "--size", "32", "--split", "test", "--quiet"]
    assert main(words) == 0
    assert "4 photos drawn" in capsys.readouterr().out
    assert len(list(folder.rglob("*.jpg"))) == 4
    assert main(["sheet", str(sheet), "--side", "32"]) == 0
    with Image.open(sheet) as picture:
        assert picture.size == (8 * 36, 8 * 62)  # 16 categories, 4 photos each, 8 a row


@pytest.mark.parametrize("span", ["7:5", "5", "a:b", ""])
def test_a_wrong_span_is_a_usage_error(span, tmp_path, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["write", str(tmp_path), "--identities", span])
    assert stop.value.code == 2
    assert "is not A:B" in capsys.readouterr().err
