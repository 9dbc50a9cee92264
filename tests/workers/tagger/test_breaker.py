"""Whose fault is it? The breaker against made-up ends of events, and what it reads from real ones."""

from __future__ import annotations

import logging

import pytest

from schemas.errors import Invalid
from schemas.predictions import ImageRow
from tests.workers.tagger.rig import event
from workers.stages.job import Job
from workers.streams.base import Partition, Record
from workers.tagger.breaker import Breaker, Ended, ended

WINDOW, SENDERS = 20, 5
STORED = Ended(None, "shop.example", frozenset({"event", "fetch", "photo", "settle"}))
INLINE = Ended(None, "", frozenset({"event", "photo", "settle"}))


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


class Bird:
    """A canary that says what it is told to."""

    def __init__(self) -> None:
        self.wrong = ""
        self.asked = 0

    def __call__(self) -> str:
        self.asked += 1
        return self.wrong


def breaker(bird: Bird, clock: Clock | None = None, share: float = 0.5) -> Breaker:
    return Breaker(share=share, window=WINDOW, senders=SENDERS, canary=bird, clock=clock or Clock())


def fetch_failed(sender: str) -> Ended:
    return Ended("fetch", sender, frozenset({"event", "settle"}))


BAD_PHOTO = Ended("photo", "", frozenset({"event", "settle"}))


def feed(one: Breaker, *ends: Ended) -> str:
    for end in ends:
        one.note(end)
    return one.reason


def test_bad_photos_never_trip_while_the_canary_passes(caplog: pytest.LogCaptureFixture) -> None:
    bird = Bird()
    with caplog.at_level(logging.WARNING):
        assert feed(breaker(bird), *[BAD_PHOTO] * 500) == ""
    assert bird.asked == 1
    assert [record.message for record in caplog.records if "photo 20" in record.message]


def test_a_canary_that_dies_trips_and_says_why() -> None:
    bird = Bird()
    bird.wrong = "squares.jpg: no codec"
    assert "20 of the last 20" in feed(breaker(bird), *[BAD_PHOTO] * WINDOW)
    assert "squares.jpg: no codec" in feed(breaker(bird), *[BAD_PHOTO] * WINDOW)


def test_a_fault_that_begins_during_a_flood_of_bad_photos_is_found_at_the_next_look() -> None:
    bird, clock = Bird(), Clock()
    one = breaker(bird, clock)
    assert feed(one, *[BAD_PHOTO] * WINDOW) == ""
    bird.wrong = "broken"
    assert feed(one, *[BAD_PHOTO] * WINDOW) == ""
    clock.now += 5.0
    assert "broken" in feed(one, BAD_PHOTO)


def test_below_the_share_nobody_asks_the_canary() -> None:
    bird = Bird()
    bird.wrong = "broken"
    assert feed(breaker(bird), *[INLINE, BAD_PHOTO] * WINDOW) == ""
    assert bird.asked == 0


def test_hosts_that_fail_together_while_none_answers_are_our_fault() -> None:
    many = [fetch_failed(f"host-{i}.example") for i in range(WINDOW)]
    assert "'fetch' failed for 20 senders" in feed(breaker(Bird()), *many)
    assert feed(breaker(Bird()), *[fetch_failed("one.example")] * WINDOW) == ""
    assert feed(breaker(Bird()), STORED, *many[1:]) == ""
    assert feed(breaker(Bird()), INLINE, *many[1:]) != "", "an inline photo is no proof that fetching works"


def test_events_that_nobody_can_decode_are_our_fault_and_those_of_one_sender_are_not() -> None:
    broken = [Ended("event", f"listing-{i}", frozenset()) for i in range(WINDOW)]
    assert "'event' failed" in feed(breaker(Bird()), *broken)
    assert feed(breaker(Bird()), INLINE, *broken[1:]) == ""
    assert feed(breaker(Bird()), *[Ended("event", "same", frozenset())] * WINDOW) == ""


def test_a_share_of_one_never_trips() -> None:
    bird = Bird()
    bird.wrong = "broken"
    assert feed(breaker(bird, share=1.0), *[BAD_PHOTO] * WINDOW) == ""


def job(photos: list[bytes | str], bad: dict[str, Invalid], rows: int = 0) -> Job:
    one = Job(Record(Partition("t", 0), 0, 0, b"key", None), 1, event=event("a", photos), bad=bad)
    one.rows |= {str(i): ImageRow(image_id=str(i), hash="0" * 64, predictions={}) for i in range(rows)}
    return one


def test_what_is_read_from_an_event() -> None:
    refused, corrupt = Invalid("fetch", "http_404", "gone"), Invalid("decode", "corrupt", "broken")
    url = "https://a.example/1.jpg"
    all_passed = {"event", "photo", "settle"}
    assert ended(job([b"x"], {}, rows=1), dead=False) == Ended(None, "", frozenset(all_passed))
    assert ended(job([url], {}, rows=1), dead=False) == Ended(None, "a.example", frozenset(all_passed | {"fetch"}))
    assert ended(job([url], {"0": refused}), dead=True) == Ended("fetch", "a.example", frozenset({"event", "settle"}))
    fetched = frozenset({"event", "fetch", "settle"})
    assert ended(job([url], {"0": corrupt}), dead=True) == Ended("photo", "a.example", fetched)
    sold = job([url], {"0": refused})
    sold.event = event("a", [url], seller_id="seller-7")
    assert ended(sold, dead=True).sender == "seller-7"
    assert ended(job(["http://["], {"0": refused}), dead=True).sender == ""
    large = job([b"x"], {}, rows=1)
    large.gave_up = Invalid("store", "too_large", "too large")
    assert ended(large, dead=True) == Ended("settle", "", frozenset({"event", "photo"}))
    undecodable = Job(Record(Partition("t", 0), 0, 0, b"key", b"{"), 1, gave_up=Invalid("decode", "undecodable", "no"))
    assert ended(undecodable, dead=True) == Ended("event", "key", frozenset())
