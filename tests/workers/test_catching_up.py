"""A thread that follows a topic is behind after 30 s, says why, and shows how long."""

from __future__ import annotations

from tests.workers.indexer.running import counted
from workers.catching_up import CatchingUp


class Clock:
    """Seconds that a test moves."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_it_is_behind_from_thirty_seconds_on_and_says_why() -> None:
    clock = Clock()
    progress = CatchingUp("labels", clock)
    progress.begin()
    clock.now += 30
    assert progress.why_behind == ""
    assert counted("groknet_follower_behind_seconds", of="labels") == 30
    clock.now += 1
    assert progress.why_behind == "not up to date for 31 s: it has not been read to its end yet"
    progress.waits("no broker answers")
    assert progress.why_behind == "not up to date for 31 s: no broker answers"
    progress.reached()
    assert (progress.why_behind, progress.behind_s) == ("", 0)
    clock.now += 40
    assert progress.why_behind == "not up to date for 40 s: more changes arrive than it can take"
    progress.end()
    assert counted("groknet_follower_behind_seconds", of="labels") == 0


def test_the_metric_shows_the_thread_that_serves_before_while_and_after_another_one_was_tried() -> None:
    clock = Clock()

    def behind() -> float:
        return counted("groknet_follower_behind_seconds", of="occasions")

    present = CatchingUp("occasions", clock)
    present.begin()
    clock.now += 5
    never_started = CatchingUp("occasions", clock)
    clock.now += 5
    assert (behind(), never_started.behind_s) == (10, 5)
    tried = CatchingUp("occasions", clock)
    tried.begin()
    clock.now += 1
    assert behind() == 11
    tried.end()
    tried.end()
    clock.now += 100
    present.reached()
    assert behind() == 0, "it does not grow with a thread that has ended"
    following = CatchingUp("occasions", clock)
    following.begin()
    clock.now += 2
    following.reached()
    present.end()
    clock.now += 1
    assert behind() == 1, "the new one, after the change"
    following.end()
