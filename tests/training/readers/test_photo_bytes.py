"""Bytes of photos: files as they are, members of a shard as tarfile reads them."""

from __future__ import annotations

import io
import os
import tarfile
from pathlib import Path

import pytest

from training.readers.photo_bytes import member_name, read_photo, split_shard

PHOTOS = {"a/1.jpg": os.urandom(700), "2.jpg": b"", "long/" + "n" * 150 + ".jpg": b"long name"}


@pytest.fixture
def shard(tmp_path: Path) -> Path:
    path = tmp_path / "train" / "0.tar"
    path.parent.mkdir()
    with tarfile.open(path, "w") as tar:
        for name, data in PHOTOS.items():
            info = tarfile.TarInfo(f"./{name}")
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def test_members_are_what_was_put_in(tmp_path: Path, shard: Path) -> None:
    assert {name: read_photo(tmp_path, f"train/0.tar/{name}") for name in PHOTOS} == PHOTOS
    with pytest.raises(FileNotFoundError, match=r"has no member 3\.jpg"):
        read_photo(tmp_path, "train/0.tar/3.jpg")


def test_files_are_read_even_below_a_folder_that_is_named_like_a_shard(tmp_path: Path, shard: Path) -> None:
    (tmp_path / "x.tar").mkdir()
    (tmp_path / "x.tar" / "a.jpg").write_bytes(b"a file")
    assert read_photo(tmp_path, "x.tar/a.jpg") == b"a file"
    assert split_shard(tmp_path, "x.tar/a.jpg") == (tmp_path / "x.tar" / "a.jpg", None)
    assert split_shard(tmp_path, "train/0.tar/a/1.jpg") == (shard, "a/1.jpg")
    with pytest.raises(FileNotFoundError):
        read_photo(tmp_path, "none.jpg")


def test_a_shard_that_ends_within_a_photo_says_so(tmp_path: Path, shard: Path) -> None:
    with tarfile.open(shard) as tar:
        member = tar.getmember("./a/1.jpg")
    with shard.open("r+b") as file:
        file.truncate(member.offset_data + member.size - 1)
    with pytest.raises(OSError, match=r"ends within a/1\.jpg"):
        read_photo(tmp_path, "train/0.tar/a/1.jpg")


def test_a_shard_that_is_written_anew_is_read_anew(tmp_path: Path, shard: Path) -> None:
    assert read_photo(tmp_path, "train/0.tar/2.jpg") == b""
    with tarfile.open(shard, "w") as tar:
        info = tarfile.TarInfo("2.jpg")
        info.size = 3
        tar.addfile(info, io.BytesIO(b"new"))
    os.utime(shard, ns=(1, 1))  # another time, whatever the resolution of the file system is
    assert read_photo(tmp_path, "train/0.tar/2.jpg") == b"new"


def test_member_names_lose_the_prefix_of_some_archive_programs() -> None:
    assert [member_name(name) for name in ("./a.jpg", "a.jpg", "b/./a.jpg")] == ["a.jpg", "a.jpg", "b/a.jpg"]
