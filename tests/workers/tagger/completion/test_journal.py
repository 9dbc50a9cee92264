"""A crash is an attempt: what a dead life had in hand is told to the next one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from workers.streams.base import Partition, Record
from workers.tagger.completion import journal as journal_module
from workers.tagger.completion.journal import Journal

CRASH = """
import os, signal, sys
from pathlib import Path
from workers.streams.base import Partition, Record
from workers.tagger.completion.journal import Journal
journal = Journal(Path(sys.argv[1]))
for offset in map(int, sys.argv[2].split(",")):
    journal.start(Record(partition=Partition("t", 0), offset=offset, timestamp_ms=0, key=None, value=None))
journal.finish(Record(partition=Partition("t", 0), offset=1, timestamp_ms=0, key=None, value=None))
os.kill(os.getpid(), signal.SIGKILL)
"""


def record(offset: int) -> Record:
    return Record(partition=Partition("t", 0), offset=offset, timestamp_ms=0, key=None, value=None)


def crash(folder: Path, offsets: str) -> None:
    ended = subprocess.run([sys.executable, "-c", CRASH, str(folder), offsets], check=False)
    assert ended.returncode == -9


@pytest.mark.slow
def test_what_was_in_hand_at_a_kill_is_suspect_and_lives_add_up(tmp_path: Path) -> None:
    crash(tmp_path, "1,2,3")
    crash(tmp_path, "2")
    journal = Journal(tmp_path)
    assert [journal.attempts(record(i)) for i in range(5)] == [0, 0, 2, 1, 0]
    journal.finish(record(2))
    journal.close()
    after = Journal(tmp_path)
    assert [after.attempts(record(i)) for i in range(5)] == [0, 0, 0, 1, 0]
    after.close()


def test_two_workers_of_one_home_keep_apart(tmp_path: Path) -> None:
    one, two = Journal(tmp_path), Journal(tmp_path)
    one.start(record(1))
    two.start(record(2))
    one.close()
    again = Journal(tmp_path)
    assert (again.attempts(record(1)), again.attempts(record(2))) == (1, 0)
    two.close()
    again.close()


def test_the_file_stays_small_and_keeps_what_is_open(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(journal_module, "_MAX_BYTES", 2_000)
    journal = Journal(tmp_path)
    journal.start(record(10_000))
    for offset in range(1_000):
        journal.start(record(offset))
        journal.finish(record(offset))
    assert os.path.getsize(tmp_path / "attempts-0.log") <= 2_100
    journal.close()
    after = Journal(tmp_path)
    assert after.attempts(record(10_000)) == 1
    assert after.attempts(record(999)) == 0
    after.close()


@pytest.mark.slow
def test_what_is_handed_back_is_no_crash_and_earlier_crashes_still_count(tmp_path: Path) -> None:
    crash(tmp_path, "2,3")
    journal = Journal(tmp_path)
    journal.start(record(2))
    journal.start(record(4))
    journal.hand_back()
    journal.close()
    after = Journal(tmp_path)
    assert [after.attempts(record(i)) for i in range(2, 5)] == [1, 1, 0]
    after.close()
