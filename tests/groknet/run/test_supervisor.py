"""What a supervisor does about workers that end: planned ones, so that each way to end can be tried."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from groknet.cli.exits import CommandError, Exit
from groknet.home.paths import Home
from groknet.home.running import SUPERVISOR, Lock, is_locked, read_gave_up
from groknet.home.taggers import claim, running_taggers, slot_of, tagger_name
from groknet.run.background import Background
from groknet.run.supervisor import Spec, Supervisor
from tests.groknet.conftest import START_S

pytestmark = pytest.mark.slow

WORKER = Path(__file__).with_name("planned_worker.py")
Make = Callable[..., "Rig"]


class Rig:
    """A supervisor of planned workers, ticked by whoever waits for something."""

    def __init__(self, home: Home, plans: dict[str, str]) -> None:
        self.home = home
        self.said: list[str] = []
        for name, plan in plans.items():
            (home.root / f"{name}.plan").write_text(plan)
        self.supervisor = Supervisor(home, [_spec(home, name) for name in plans], self.said.append)

    def until(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + START_S
        while not condition():
            assert time.monotonic() < deadline, self.said
            self.supervisor.tick()
            time.sleep(0.005)

    def lives(self, name: str) -> int:
        path = self.home.root / f"{name}.lives"
        return int(path.read_text() or 0) if path.exists() else 0

    def told(self, text: str) -> bool:
        return any(text in line for line in self.said)


def _spec(home: Home, name: str) -> Spec:
    slot = slot_of(name)
    if slot is None:
        return Spec(name, ["run", name, "--home", str(home.root)])  # type: ignore[arg-type]
    return Spec("tagger", ["run", "tagger", "--home", str(home.root), "--slot", str(slot)], slot=slot)


@pytest.fixture
def rig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Make]:
    monkeypatch.setattr("groknet.run.supervisor._COMMAND", (sys.executable, str(WORKER)))
    monkeypatch.setattr("groknet.run.supervisor._LONGEST_PAUSE_S", 0.05)
    made: list[Rig] = []

    def make(**plans: str) -> Rig:
        made.append(Rig(Home(tmp_path).make(), {name.replace("_", "-"): plan for name, plan in plans.items()}))
        return made[-1]

    yield make
    for one in made:
        one.supervisor.stop(0.0, lambda: True)


def test_a_silent_service_ends_nothing_though_a_worker_had_crashed(rig: Make) -> None:
    """A tagger crashed once, and then found no broker for a minute: search and indexer went down with it."""
    town = rig(tagger="1 3 3 3 3 3 3 3 3 ready", indexer="ready", search="ready")
    town.until(lambda: town.supervisor.ready)
    assert town.lives("tagger") == 10
    assert (town.lives("indexer"), town.lives("search")) == (1, 1)


def test_a_missing_service_is_never_counted(rig: Make) -> None:
    town = rig(search="3 3 3 3 3 3 3 1 1 1 1 3 ready")
    town.until(lambda: town.supervisor.ready)
    assert town.lives("search") == 13


def test_indexer_and_search_that_never_became_ready_end_all(rig: Make) -> None:
    town = rig(tagger="ready", search="1")
    with pytest.raises(CommandError, match="search failed 5 times before it was ready: groknet: search ends in life 4"):
        town.until(lambda: False)


def test_a_search_that_was_ready_once_is_tried_for_ever(rig: Make) -> None:
    town = rig(search="crash 1 1 1 1 1 1 1 ready")
    town.until(lambda: town.supervisor.ready)
    (town.home.root / "search.crash").touch()
    town.until(lambda: town.lives("search") == 9 and town.supervisor.ready)
    assert sum("failed 5 times" in line for line in town.said) == 1


@pytest.mark.parametrize("worker", ["indexer", "search"])
def test_a_wrong_configuration_of_indexer_or_search_ends_all(rig: Make, worker: str) -> None:
    town = rig(**{"tagger": "ready", worker: "2"})
    with pytest.raises(CommandError, match=f"{worker}: {worker} ends in life 0") as raised:
        town.until(lambda: False)
    assert raised.value.code == Exit.USAGE


def test_a_tagger_that_cannot_go_on_is_given_up_and_the_others_go_on(rig: Make) -> None:
    town = rig(tagger="2", tagger_2="ready", search="ready")
    lock = Lock(town.home, SUPERVISOR)
    town.until(lambda: town.supervisor.settled)
    assert not town.supervisor.ready
    assert town.supervisor.gave_up == read_gave_up(town.home) == {"tagger": "tagger ends in life 0"}
    assert [line for line in town.said if line.startswith("tagger ")] == [
        "tagger ended and is not started again: tagger ends in life 0; "
        f"`groknet run tagger --home {town.home.root}` once that is solved"
    ]
    assert list(running_taggers(town.home)) == ["tagger-2"]
    slot, mended = claim(town.home, None, 0.0)
    assert slot == 0
    mended.release()
    assert town.supervisor.stop(10.0, lambda: False)
    assert read_gave_up(town.home) == {}
    lock.release()


def test_a_tagger_that_fails_for_ever_is_tried_for_ever_and_said_once(rig: Make) -> None:
    town = rig(tagger="1 1 1 1 1 1 1 1 1 1 1 ready", search="ready")
    town.until(lambda: town.supervisor.ready)
    about = [line for line in town.said if line.startswith("tagger ")]
    assert [line.partition(";")[0] for line in about[:4]] == ["tagger ended (exit code 1)"] * 4
    assert about[4].startswith("tagger failed 5 times before it was ready: groknet: tagger ends in life 4")
    assert about[4].endswith("it is tried again every 0.05 s")
    assert about[5].startswith("tagger ready on ")
    assert len(about) == 6


def test_a_command_that_needs_all_workers_ends_when_one_is_given_up(rig: Make) -> None:
    town = rig(tagger="2")
    background = Background(town.supervisor)
    with pytest.raises(CommandError, match="tagger: tagger ends in life 0"):
        background.wait_until_ready(START_S)
    assert background.stop(10.0)


def test_a_stop_names_the_worker_that_did_not_end_in_order(rig: Make) -> None:
    town = rig(tagger="untidy", search="ready")
    town.until(lambda: town.supervisor.ready)
    assert not town.supervisor.stop(START_S, lambda: False)
    bad = [line for line in town.said if "did not end in order" in line]
    assert len(bad) == 1
    assert bad[0].startswith("tagger did not end in order (exit code 1): ")
    assert str(town.home.logs / "tagger.log") in bad[0]


def test_workers_that_end_in_order_are_not_named(rig: Make) -> None:
    town = rig(tagger="ready", search="ready")
    town.until(lambda: town.supervisor.ready)
    assert town.supervisor.stop(START_S, lambda: False)
    assert not town.told("did not end in order")


def test_names_of_a_supervisor_are_not_taken_while_its_child_is_between_two_lives(rig: Make) -> None:
    town = rig(tagger="crash 3 ready", tagger_2="ready")
    town.until(lambda: town.supervisor.ready)
    (town.home.root / "tagger.crash").touch()
    town.until(lambda: not is_locked(town.home, "tagger"))
    slot, lock = claim(town.home, None, 0.0)
    assert slot == 2
    town.until(lambda: town.supervisor.ready and town.lives("tagger") == 3)
    assert list(running_taggers(town.home)) == ["tagger", "tagger-2"]
    lock.release()


def test_a_slot_that_is_taken_names_who_has_it(tmp_path: Path) -> None:
    home = Home(tmp_path).make()
    _, lock = claim(home, 1, 0.0)
    with pytest.raises(CommandError, match="tagger-2 is running already"):
        claim(home, 1, 0.0)
    free, another = claim(home, None, 0.0)
    assert free == 0
    for one in (lock, another):
        one.release()


@pytest.mark.parametrize("name", ["tagger-1", "tagger-0", "tagger-02", "tagger-", "tagger-a", "taggers", "search"])
def test_what_is_no_name_of_a_tagger(name: str) -> None:
    assert slot_of(name) is None


@pytest.mark.parametrize("worker", ["indexer", "products"])
def test_a_worker_whose_name_somebody_took_by_hand_is_started_again(rig: Make, worker: str) -> None:
    """A worker that was killed, and started by hand before its supervisor did it: nothing ends, nothing is given up,
    and the supervisor's own one runs again once the name is free."""
    town = rig(**{"search": "ready", worker: "crash 2 2 2 ready"})
    town.until(lambda: town.supervisor.ready)
    (town.home.root / f"{worker}.crash").touch()
    town.until(lambda: not is_locked(town.home, worker))
    by_hand = Lock(town.home, worker)
    town.until(lambda: town.lives(worker) == 5)  # the last one waits for the name
    by_hand.release()
    town.until(lambda: town.supervisor.ready)
    assert town.lives(worker) == 5
    assert not town.supervisor.gave_up


def test_names_and_slots_are_one_to_one() -> None:
    names = [tagger_name(slot) for slot in range(12)]
    assert names[:3] == ["tagger", "tagger-2", "tagger-3"]
    assert [slot_of(name) for name in names] == list(range(12))
