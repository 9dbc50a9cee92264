"""One function on several processes, with a worker killed in the middle, against a plain loop."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest

from schemas.errors import ConfigError
from training.bulk import process_map as module
from training.bulk.process_map import process_map

ROOT = Path(__file__).parents[3]
PARTS = [list(range(start, start + 5)) for start in range(0, 60, 5)]


def squares(numbers: list[int]) -> tuple[int, list[int]]:
    """The process that computed, and the squares."""
    return os.getpid(), [number * number for number in numbers]


def kills_itself_once(numbers: list[int], *, mark: Path) -> tuple[int, list[int]]:
    """As `squares`, but the first process that gets the number 30 dies."""
    if 30 in numbers:
        try:
            mark.touch(exist_ok=False)
        except FileExistsError:
            return squares(numbers)
        os.kill(os.getpid(), signal.SIGKILL)
    return squares(numbers)


def always_dies(numbers: list[int]) -> list[int]:
    if 30 in numbers:
        os.kill(os.getpid(), signal.SIGKILL)
    return numbers


def fails(numbers: list[int]) -> list[int]:
    raise ValueError(f"no {numbers[0]}")


EXPECTED = [[number * number for number in part] for part in PARTS]


@pytest.mark.slow
def test_the_results_come_in_order_from_other_processes() -> None:
    found = list(process_map(squares, iter(PARTS)))
    assert [result for _, result in found] == EXPECTED
    assert os.getpid() not in {process for process, _ in found}
    assert list(process_map(squares, [])) == []


@pytest.mark.slow
def test_no_more_parts_are_taken_before_their_results_than_asked() -> None:
    taken: list[list[int]] = []
    parts = (taken.append(part) or part for part in PARTS)
    found = process_map(squares, parts, workers=1, ahead=2)
    for number, result in enumerate(EXPECTED):
        assert next(found)[1] == result
        assert len(taken) == min(len(PARTS), number + 2)


@pytest.mark.slow
def test_a_worker_that_is_killed_in_the_middle_changes_no_result(tmp_path: Path) -> None:
    work = partial(kills_itself_once, mark=tmp_path / "mark")
    found = list(process_map(work, PARTS))
    assert [result for _, result in found] == EXPECTED
    assert (tmp_path / "mark").exists()


def kills_itself_twice(numbers: list[int], *, folder: Path) -> tuple[int, list[int]]:
    """As `squares`, but the first two processes that get the number 0 die."""
    if 0 in numbers and (died := len(list(folder.iterdir()))) < 2:
        (folder / str(died)).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return squares(numbers)


@pytest.mark.slow
def test_after_two_deaths_there_are_as_many_workers_as_before(tmp_path: Path, monkeypatch) -> None:
    """The parts that were under way, 0 to 7, run one at a time; the other four run on two processes again."""
    pools: list[int] = []
    first = module._pool
    monkeypatch.setattr(module, "_pool", lambda workers: pools.append(workers) or first(workers))
    found = list(process_map(partial(kills_itself_twice, folder=tmp_path), PARTS, workers=2))
    assert [result for _, result in found] == EXPECTED
    assert pools == [2, 2, 1, 2]
    assert len({process for process, _ in found[:8]}) == 1
    assert not {process for process, _ in found[:8]} & {process for process, _ in found[8:]}


@pytest.mark.slow
def test_a_part_that_kills_each_worker_is_named_after_what_came_before_it() -> None:
    found = []
    with pytest.raises(ConfigError, match="part 6 ended its worker 3 times"):
        found.extend(process_map(always_dies, PARTS))
    # extend keeps what it got before the error
    assert found == PARTS[:6]


@pytest.mark.slow
def test_what_the_function_raises_ends_the_map() -> None:
    with pytest.raises(ValueError, match="no 0"):
        list(process_map(fails, PARTS, workers=1))


COMMAND = """
import sys, time
from training.bulk.process_map import process_map
from tests.training.bulk.test_process_map import sleeps

if __name__ == "__main__":
    for pid in process_map(sleeps, [0, 0, 3600], workers=2):
        print(pid, flush=True)
"""


def runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


def sleeps(seconds: float) -> int:
    """Sleep, and return the process."""
    time.sleep(seconds)
    return os.getpid()


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_workers_end_when_their_parent_is_killed(tmp_path: Path, number: signal.Signals) -> None:
    (tmp_path / "command.py").write_text(COMMAND)
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    process = subprocess.Popen([sys.executable, tmp_path / "command.py"], stdout=subprocess.PIPE, env=environment)
    assert process.stdout is not None
    workers = {int(process.stdout.readline()) for _ in range(2)}
    process.send_signal(number)
    process.wait(30)
    process.stdout.close()
    deadline = time.monotonic() + 30
    while any(map(runs, workers)):
        assert time.monotonic() < deadline, workers
        time.sleep(0.05)
