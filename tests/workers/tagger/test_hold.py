"""An outage is no event's fault: while the store or the stream is away a tagger holds, and then goes on by itself."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

import pytest

from schemas.errors import Transient
from schemas.topics import RETRY_DELAYS_S
from tests.workers.tagger.outages import Outage, guarded_store, guarded_stream
from tests.workers.tagger.rig import PATIENCE_S, Rig, event, jpeg
from workers.http.serving import Health
from workers.tagger.completion.journal import Journal
from workers.tagger.hold import Hold


def until(done: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not done():
        assert time.monotonic() < deadline, f"not within {PATIENCE_S} s: {what}"
        time.sleep(0.01)


def retries(rig: Rig) -> int:
    return sum(len(list(rig.admin.read(topic))) for topic in RETRY_DELAYS_S)


@pytest.mark.parametrize("service", ["store", "stream"])
def test_an_outage_moves_no_event_and_ends_no_tagger(make_rig, caplog, service: str) -> None:
    """Many more failures than `in_place_tries` would allow: none is counted."""
    rig: Rig = make_rig(in_place_tries=2)
    outage, health = Outage(service), Health()
    parts = (
        {"store": guarded_store(rig.store, outage)}
        if service == "store"
        else {"stream": guarded_stream(rig.stream, outage)}
    )
    caplog.set_level(logging.INFO, logger="workers.tagger")
    with rig.tagger(health=health, **parts) as failure:
        rig.send(event("before", [jpeg(0)]))
        rig.wait(failure)
        outage.begin()
        rig.send(*(event(f"a/{i}", [jpeg(i)]) for i in range(100)))
        until(lambda: health.hold is not None, "the hold")
        assert health.hold["service"] == service
        seen = outage.refused
        until(lambda: failure or outage.refused >= seen + 5, "probes")
        assert not failure
        outage.end()
        rig.wait(failure)
        until(lambda: health.hold is None, "the end of the hold")
    assert {state.listing_id for state in rig.store.scan()} == {"before", *(f"a/{i}" for i in range(100))}
    assert set(rig.hashes()) == {"before", *(f"a/{i}" for i in range(100))}
    assert (retries(rig), rig.dead_letters()) == (0, [])
    warnings = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING and "hold" in r.getMessage()]
    assert len(warnings) == 2, warnings
    assert warnings[0].startswith("hold: ")
    assert "ends" in warnings[1]


def test_a_drain_during_an_outage_ends_soon_and_loses_nothing(make_rig) -> None:
    rig: Rig = make_rig(drain_budget_s=600.0)
    outage, health = Outage("store"), Health()
    outage.begin()
    rig.send(*(event(f"a/{i}", [jpeg(i)]) for i in range(10)))
    with rig.tagger(health=health, store=guarded_store(rig.store, outage)):
        until(lambda: health.hold is not None, "the hold")
    # The drain above did not wait for its ten minutes. What was in hand is no crash, and comes again.
    journal = Journal(rig.home / "tagger")
    assert journal.crashes() == {}
    journal.close()
    rig.process()
    assert len(list(rig.store.scan())) == 10
    assert (retries(rig), rig.dead_letters()) == (0, [])


def test_an_idle_tagger_says_that_a_service_is_away(rig: Rig) -> None:
    outage, health = Outage("store"), Health()
    with rig.tagger(health=health, store=guarded_store(rig.store, outage)):
        until(lambda: health.ready, "readiness")
        outage.begin()
        until(lambda: health.hold is not None, "the hold")
        outage.end()
        until(lambda: health.hold is None, "its end")


def asked(answers: list[Exception | None]) -> Callable[[], None]:
    def ask() -> None:
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if answer is not None:
            raise answer

    return ask


AWAY = Transient("store", "store_timeout", "10 s passed")


def test_one_listing_that_fails_alone_begins_no_hold() -> None:
    hold = Hold({"store": asked([None]), "stream": asked([None])}, Health())
    assert not hold.judge(AWAY)
    assert not hold.on


def test_an_answer_from_before_the_failure_does_not_count() -> None:
    hold = Hold({"store": asked([None, AWAY])}, Health())
    assert not hold.look()
    assert hold.judge(AWAY)


def test_events_that_failed_together_share_one_answer() -> None:
    answers: list[Exception | None] = [None, AWAY]
    hold = Hold({"store": asked(answers)}, Health())
    failed = time.monotonic()
    assert not any(hold.judge(AWAY, failed) for _ in range(10))
    assert answers == [AWAY], "it was asked once"


@pytest.mark.parametrize(
    "why",
    [
        Transient("fetch", "timeout", "the host of a photo is silent"),
        Transient("store", "torn_listing", "of one listing alone"),
    ],
)
def test_what_is_no_outage_is_not_even_asked_about(why: Transient) -> None:
    hold = Hold({"store": asked([AWAY])}, Health())
    assert not hold.judge(why)
    assert not hold.on


def test_a_hold_ends_once_every_service_answers_again() -> None:
    store: list[Exception | None] = [AWAY]
    stream: list[Exception | None] = [Transient("stream", "kafka_timeout", "silent")]
    health, ended = Health(), threading.Event()
    hold = Hold({"store": asked(store), "stream": asked(stream)}, health)
    hold.start(ended.set)
    assert hold.judge(AWAY)
    store[0] = None
    until(lambda: health.hold is not None and health.hold["service"] == "stream", "the store's return")
    assert hold.on
    assert not ended.is_set()
    stream[0] = None
    assert ended.wait(PATIENCE_S)
    assert health.hold is None
    assert hold.judge(AWAY), "a key that is refused just after the return is the outage's fault, too"
    hold.stop()
