"""Files and folders that appear whole or not at all, also when the process is killed in the middle."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from engines.files import making_folder, replacing, write_file

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("sync", [False, True])
def test_a_file_is_replaced_and_nothing_is_left_beside_it(tmp_path: Path, sync: bool, shared: bool) -> None:
    target = tmp_path / "table.csv"
    for data in ("first", b"second", "Äpfel"):
        write_file(target, data, sync=sync, shared=shared)
        assert target.read_bytes() == (data.encode() if isinstance(data, str) else data)
    assert [path.name for path in tmp_path.iterdir()] == ["table.csv"]


@pytest.mark.parametrize("shared", [False, True])
def test_the_old_file_is_there_until_the_block_ends_and_after_an_error(tmp_path: Path, shared: bool) -> None:
    target = tmp_path / "a.npy"
    write_file(target, "old")
    with replacing(target, shared=shared) as part:
        part.write_text("new")
        assert target.read_text() == "old"
        assert part.parent == target.parent  # a rename works within one file system alone
    assert target.read_text() == "new"
    with pytest.raises(ZeroDivisionError), replacing(target, shared=shared) as part:
        part.write_text(f"half {1 / 0}")
    assert target.read_text() == "new"
    assert len(list(tmp_path.iterdir())) == 1


def test_a_file_that_the_block_did_not_write_is_an_error_and_keeps_the_old_one(tmp_path: Path) -> None:
    write_file(tmp_path / "a", "old")
    with pytest.raises(FileNotFoundError), replacing(tmp_path / "a"):
        pass
    assert (tmp_path / "a").read_text() == "old"


def test_writers_at_once_leave_one_whole_file(tmp_path: Path) -> None:
    target, texts = tmp_path / "a", [str(i) * 100_000 for i in range(8)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda text: write_file(target, text, shared=True), texts * 4))
    assert target.read_text() in texts
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("call", ["replacing(target)", "replacing(target, sync=True)"])
def test_a_killed_writer_leaves_the_old_file_and_the_next_one_removes_its_part(tmp_path: Path, call: str) -> None:
    target = tmp_path / "state.pt"
    write_file(target, "old")
    code = f"""
import os, signal
from pathlib import Path
from engines.files import replacing
target = Path({str(target)!r})
with {call} as part:
    part.write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False)
    assert done.returncode == -9
    assert target.read_text() == "old"
    assert len(list(tmp_path.iterdir())) == 2
    write_file(target, "new")
    assert [path.name for path in tmp_path.iterdir()] == ["state.pt"]


def test_sync_flushes_the_file_before_the_rename_and_the_folder_after_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target, seen = tmp_path / "a", []
    flush = os.fsync

    def fsync(opened: int) -> None:
        seen.append((os.readlink(f"/proc/self/fd/{opened}"), target.exists()))
        flush(opened)

    monkeypatch.setattr(os, "fsync", fsync)
    write_file(target, "x")
    assert seen == []
    target.unlink()
    write_file(target, "x", sync=True)
    assert seen == [(f"{target}.part", False), (str(tmp_path), True)]


def test_a_folder_appears_whole(tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "bundle"
    with making_folder(folder) as part:
        (part / "a").write_text("1")
        assert not folder.exists()
    assert [path.name for path in folder.iterdir()] == ["a"]
    with pytest.raises(ZeroDivisionError), making_folder(tmp_path / "other") as part:
        (part / "a").write_text(f"half {1 / 0}")
    assert [path.name for path in tmp_path.iterdir()] == ["deep"]
    assert [path.name for path in folder.parent.iterdir()] == ["bundle"]


def test_a_folder_that_is_there_is_kept_unless_it_is_to_be_replaced(tmp_path: Path) -> None:
    folder = tmp_path / "bundle"
    (tmp_path / "bundle.part").mkdir()
    (tmp_path / "bundle.part" / "left over").write_text("from a killed process")
    with making_folder(folder) as part:
        (part / "old").write_text("1")
    with pytest.raises(OSError, match="not empty"), making_folder(folder) as part:
        (part / "new").write_text("1")
    assert [path.name for path in folder.iterdir()] == ["old"]
    with making_folder(folder, replace=True) as part:
        (part / "new").write_text("1")
    assert [path.name for path in folder.iterdir()] == ["new"]
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]
