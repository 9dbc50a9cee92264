"""What there is to clean: every file of a hostile folder is a photo, has a reason why not, or counts as hidden."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from schemas.errors import ConfigError
from tests.training.cleaning.pictures import jpeg, picture
from training.cleaning.source import open_source
from training.readers import read, write_shards


def hostile(folder: Path) -> int:
    """Write a hostile folder, and return how many entries that are no folders it has."""
    photo = jpeg(picture(1))
    for name in ("mug/a.jpg", "mug/b.JPG", "train/cup/c.png", "train/cup/deep/d.jpg", "ä.jpg", "empty.jpg"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(photo if name != "empty.jpg" else b"")
    (folder / "notes.txt").write_text("no photo")
    (folder / ".DS_Store").write_bytes(b"")
    (folder / "mug" / "Thumbs.db").write_bytes(b"")
    (folder / "loop").symlink_to(folder, target_is_directory=True)
    (folder / "mug" / "up").symlink_to("..", target_is_directory=True)
    (folder / "nowhere.jpg").symlink_to(folder / "gone.jpg")
    (folder / "itself.jpg").symlink_to(folder / "itself.jpg")
    (folder / "again.jpg").symlink_to(folder / "mug" / "a.jpg")
    os.mkfifo(folder / "pipe.jpg")
    (folder / "line\nbreak.jpg").write_bytes(photo)
    count = 0
    for _, folders, files in os.walk(folder):
        count += len(files) + sum((Path(_) / one).is_symlink() for one in folders)
    return count


def test_every_file_below_a_folder_whose_name_no_table_can_hold_is_named(tmp_path: Path) -> None:
    for name in ("mug", "line\nbreak"):
        (tmp_path / name / "deep").mkdir(parents=True)
        for place in ("a.jpg", "deep/b.jpg"):
            (tmp_path / name / place).write_bytes(b"x")
    source = open_source(tmp_path)
    assert [row["path"] for row in source.rows] == ["mug/a.jpg", "mug/deep/b.jpg"]
    assert set(source.skipped) == {"line\\nbreak/a.jpg", "line\\nbreak/deep/b.jpg"}


def test_every_file_of_a_hostile_folder_is_accounted_for(tmp_path: Path) -> None:
    count = hostile(tmp_path)
    source = open_source(tmp_path)
    assert source.reader == "tree"
    assert len(source.rows) + len(source.skipped) + source.junk == count
    assert source.skipped == {
        "notes.txt": "not a JPEG, PNG or WebP file",
        "loop": "a link to the folder ., which is read already",
        "mug/up": "a link to the folder ., which is read already",
        "nowhere.jpg": "a link to nothing",
        "itself.jpg": "a link to nothing",
        "pipe.jpg": "no plain file",
        "line\\nbreak.jpg": "a backslash or a control character in its name; rename it",
    }
    assert {row["path"]: (row["split"], row["product"]) for row in source.rows} == {
        "again.jpg": ("train", ""),
        "empty.jpg": ("train", ""),
        "mug/a.jpg": ("train", "mug"),
        "mug/b.JPG": ("train", "mug"),
        "train/cup/c.png": ("train", "cup"),
        "train/cup/deep/d.jpg": ("train", "cup/deep"),
        "ä.jpg": ("train", ""),
    }


def test_a_table_and_shards_are_found_by_what_lies_there(tmp_path: Path) -> None:
    folder = tmp_path / "table"
    folder.mkdir()
    for name in "abc":
        (folder / f"{name}.jpg").write_bytes(jpeg(picture(ord(name))))
    (folder / "labels.csv").write_text(
        "path,split,product\na.jpg,train,x\nb.jpg,test,y\nc.jpg,train,x\nc.jpg,train,x\n"
    )
    source = open_source(folder)
    assert (source.reader, [row["product"] for row in source.rows]) == ("csv", ["x", "y", "x"])
    assert "only the first counts" in source.notes[-1]
    write_shards(folder, read("csv", folder).rows[:3], tmp_path / "shards")
    packed = open_source(tmp_path / "shards")
    assert packed.reader == "webdataset"
    assert sorted(row["product"] for row in packed.rows) == ["x", "x", "y"]


def test_a_folder_without_photos_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("")
    with pytest.raises(ConfigError, match=r"notes\.txt"):
        open_source(tmp_path)
    with pytest.raises(ConfigError, match="no folder"):
        open_source(tmp_path / "gone")
