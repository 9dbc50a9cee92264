"""A supervisor in a thread: what it raises reaches the command, and so does a worker that it has given up."""

from __future__ import annotations

import threading

import pytest

from groknet.cli.exits import CommandError, Exit
from groknet.run.background import Background


class Planned:
    """Has the face of a supervisor; `fault` is raised at the second tick."""

    def __init__(self, fault: Exception | None = None) -> None:
        self.fault = fault
        self.ticks = 0
        self.twice = threading.Event()
        self.ready = False
        self.late = ["search"]
        self.gave_up: dict[str, str] = {}
        self.stopped = 0

    def tick(self) -> None:
        self.ticks += 1
        if self.ticks >= 2:
            self.twice.set()
            if self.fault is not None:
                raise self.fault

    def stop(self, budget_s: float, hurry: object) -> bool:
        self.stopped += 1
        return budget_s > 0


def test_it_ticks_until_it_is_stopped_and_then_stops_the_workers() -> None:
    planned = Planned()
    background = Background(planned)
    assert planned.twice.wait(60)
    planned.ready = True
    background.wait_until_ready(60)
    assert background.stop(1.0) is True
    assert planned.stopped == 1
    assert "supervisor" not in [thread.name for thread in threading.enumerate()], "nothing ticks any more"


def test_what_ends_the_supervisor_is_raised_where_the_command_looks() -> None:
    background = Background(planned := Planned(RuntimeError("the disk is full")))
    assert planned.twice.wait(60)
    with pytest.raises(RuntimeError, match="the disk is full"):
        background.wait_until_ready(60)
    background.stop(1.0)


def test_a_worker_that_was_given_up_ends_a_command_that_needs_all() -> None:
    planned = Planned()
    planned.gave_up["tagger-2"] = "no such bundle"
    background = Background(planned)
    with pytest.raises(CommandError, match="tagger-2: no such bundle") as caught:
        background.wait_until_ready(60)
    assert caught.value.code == Exit.USAGE
    background.stop(1.0)


def test_workers_that_are_late_are_named() -> None:
    background = Background(Planned())
    with pytest.raises(CommandError, match="search: not ready within 0 s"):
        background.wait_until_ready(0.1)
    background.stop(1.0)
