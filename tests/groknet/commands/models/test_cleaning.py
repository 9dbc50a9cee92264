"""`groknet data dedup`, `clean`, `report` and `undo`, as their user sees them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from groknet.cli import run
from groknet.cli.exits import Exit
from tests.engines.tiny_bundle import write_tiny_bundle
from tests.training.cleaning.pictures import jpeg, picture
from training.cleaning import Mark, Marks


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for i in range(12):
        file = tmp_path / "photos" / f"p{i % 3}" / f"{i}.jpg"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(jpeg(picture(i % 10)))
    (tmp_path / "photos" / "p0" / "broken.jpg").write_bytes(b"")
    return tmp_path / "photos"


def counts(capsys: pytest.CaptureFixture[str]) -> dict[str, int]:
    found: dict[str, int] = json.loads(capsys.readouterr().out)
    return found


def test_a_folder_is_cleaned_next_to_itself_and_a_mark_is_taken_back(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["data", "dedup", str(folder), "--workers", "1", "--json"]) == Exit.OK
    found = counts(capsys)
    assert (found["files"], found["kept"], found["same_bytes"], found["unreadable"]) == (13, 10, 2, 1)
    out = folder.with_name("photos-clean")
    assert {"labels.csv", "marks.csv", "marks.jsonl", "report.html"} <= {path.name for path in out.iterdir()}
    assert run(["data", "undo", str(out), "--step", "duplicates", "--json"]) == Exit.OK
    assert counts(capsys)["kept"] == 12
    assert run(["data", "undo", str(out), "--step", "duplicates", "--redo", "--json"]) == Exit.OK
    assert counts(capsys)["kept"] == 10
    assert run(["data", "report", str(out)]) == Exit.OK
    text = capsys.readouterr()
    assert "kept" in text.out
    assert "groknet train" in text.err or "train RECIPE" in text.err


def test_what_cannot_be_is_refused_with_the_option(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for arguments, code, text in (
        (["clean", str(tmp_path / "gone")], Exit.NOT_FOUND, "no such folder"),
        (["clean", str(folder), "--out", str(folder / "inside")], Exit.USAGE, "lies in the folder"),
        (["dedup", str(folder), "--likeness", "1.5"], Exit.USAGE, "--likeness"),
        (["denoise", str(folder), "--product", "sku", "--bundle", str(tmp_path)], Exit.USAGE, "sku"),
        (["clean", str(folder), "--product", "sku"], Exit.USAGE, "no such column; there are product"),
        (["denoise", str(folder), "--strict", "2", "--loose", "1"], Exit.USAGE, "at least --strict 2"),
        (["report", str(folder)], Exit.NOT_FOUND, "no cleaning"),
        (["undo", str(folder)], Exit.NOT_FOUND, "no cleaning"),
    ):
        assert run(["data", *arguments]) == code, arguments
        assert text in capsys.readouterr().err


def test_a_file_that_cannot_be_read_is_not_taken_back(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["data", "dedup", str(folder), "--workers", "1", "--json"]) == Exit.OK
    capsys.readouterr()
    out = folder.with_name("photos-clean")
    assert run(["data", "undo", str(out), "--photo", "p0/broken.jpg"]) == Exit.FAILED
    assert "cannot be taken back" in capsys.readouterr().err
    assert "broken.jpg" not in (out / "labels.csv").read_text()


def test_marks_that_name_labels_of_one_column_are_not_mixed_with_those_of_another(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    lines = ["path,split,product,category"]
    for i in range(6):
        (photos / f"{i}.jpg").write_bytes(jpeg(picture(i)))
        lines.append(f"{i}.jpg,train,p{i % 2},c{i % 3}")
    (photos / "labels.csv").write_text("\n".join(lines) + "\n")
    assert run(["data", "dedup", str(photos), "--json"]) == Exit.OK
    assert run(["data", "dedup", str(photos), "--product", "category", "--json"]) == Exit.OK  # these name no label
    noise = Mark(step="noise", what="noise", photo="0.jpg", kept="3.jpg", product="c0")
    Marks(tmp_path / "photos-clean").write("noise", {}, [noise])
    capsys.readouterr()
    assert run(["data", "dedup", str(photos), "--product", "product"]) == Exit.USAGE
    assert "a cleaning by the column 'category'" in capsys.readouterr().err
    assert run(["data", "dedup", str(photos), "--product", "product", "--out", str(tmp_path / "new")]) == Exit.OK


@pytest.mark.slow
def test_one_command_cleans_and_its_result_trains(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for i in range(12):  # each product has a colour, by which its photos are like each other and unlike the others
        tint = Image.new("RGB", (240, 200), ("maroon", "gold", "navy")[i % 3])
        (folder / f"p{i % 3}" / f"{i}.jpg").write_bytes(jpeg(Image.blend(picture(i, (240, 200)), tint, 0.8)))
    write_tiny_bundle(tmp_path / "bundle")
    command = ["data", "clean", str(folder), "--out", str(tmp_path / "clean"), "--bundle", str(tmp_path / "bundle")]
    assert run([*command, "--workers", "1", "--json"]) == Exit.OK
    found = counts(capsys)
    assert found["files"] == 13
    assert run(["data", "check", str(tmp_path / "clean"), "--decode", "--json"]) == Exit.OK
    assert sum(counts(capsys)["photos"].values()) == found["kept"]  # type: ignore[attr-defined]
    assert run(["train", str(tmp_path / "recipe.toml"), "--init", str(tmp_path / "clean")]) == Exit.OK
