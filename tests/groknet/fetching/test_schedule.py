from __future__ import annotations

import pytest

from groknet.fetching.schedule import Schedule


def test_a_host_is_asked_one_at_a_time_with_a_pause_after_each() -> None:
    schedule = Schedule(2.0)
    schedule.add("a")
    schedule.add("b")
    schedule.add("a")
    assert [schedule.take(0.0), schedule.take(0.0), schedule.take(0.0)] == ["a", "b", None]
    schedule.release("a", 10.0)
    assert schedule.next_at() == 12.0
    assert schedule.take(11.9) is None
    assert schedule.take(12.0) == "a"


def test_the_longer_pause_of_the_host_counts() -> None:
    schedule = Schedule(2.0)
    schedule.add("a")
    for pause, due in ((0.5, 2.0), (30.0, 30.0), (900.0, 900.0)):
        assert schedule.take(0.0 if schedule.next_at() == 0.0 else 1e9) == "a"
        schedule.release("a", 0.0, pause_s=pause)
        assert schedule.next_at() == due


def test_a_host_that_fails_is_asked_less_and_less_often_until_it_answers() -> None:
    schedule = Schedule(2.0)
    schedule.add("a")
    waits = []
    for failed in (True, True, True, True, True, False, True):
        assert schedule.take(1e9) == "a"
        schedule.release("a", 0.0, failed=failed)
        waits.append(schedule.next_at())
    assert waits == [8.0, 32.0, 128.0, 512.0, 600.0, 2.0, 8.0]


def test_hosts_take_turns_and_a_dropped_one_can_come_back() -> None:
    schedule = Schedule(1.0)
    for host in "abc":
        schedule.add(host)
    order = []
    for now in range(6):
        host = schedule.take(float(now))
        assert host is not None
        order.append(host)
        schedule.release(host, float(now))
    assert order == list("abcabc")
    assert schedule.take(99.0) == "a"
    schedule.drop("a")
    schedule.add("a")
    assert schedule.next_at() == pytest.approx(0.0)


def test_a_host_may_fail_any_number_of_times() -> None:
    """4 to the power of 512 is no float."""
    schedule = Schedule(0.1)
    schedule.add("a")
    for _ in range(600):
        assert schedule.take(1e9) == "a"
        schedule.release("a", 0.0, failed=True)
    assert schedule.next_at() == 600.0
