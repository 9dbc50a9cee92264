"""Retries and dead letters that their topic does not take: nothing is lost, nobody else waits, no worker ends."""

from __future__ import annotations

import hashlib
import threading
from dataclasses import replace
from typing import Any

import msgspec
import pytest

from groknet.cli.exits import CommandError
from groknet.commands.listings.dlq import _short
from groknet.submitting.dead_letters import plan, read_letters, replay
from schemas.dead_letters import parse_dead_letter
from schemas.envelope import header
from schemas.errors import Invalid, Transient
from schemas.events import decode_event
from schemas.predictions import StoredListing
from schemas.topics import DEAD_LETTERS, RETRY_DELAYS_S, UPLOADED
from tests.workers.tagger.outages import Guarded
from tests.workers.tagger.rig import Rig, event, jpeg
from tests.workers.tagger.test_hold import until
from workers.intake import IntakeSettings
from workers.streams import Stream
from workers.watching import metrics

NOBODY = "127.0.0.1:9"  # the discard port: nothing listens there
RETRY_30S = next(iter(RETRY_DELAYS_S))


class Picky(Guarded):
    """A producer that refuses what `refuses` says."""

    def __init__(self, behind: Any, refuses: Any) -> None:
        self._behind, self._refuses = behind, refuses

    def __getattr__(self, name: str) -> Any:
        return getattr(self._behind, name)

    def send(self, topic: str, key: bytes | None, value: bytes | None, headers: Any = ()) -> Any:
        self._refuses(topic, key, value, headers)
        return self._behind.send(topic, key, value, headers)


def picky(stream: Stream, refuses: Any) -> Stream:
    return replace(stream, producer=lambda: Picky(stream.producer(), refuses))


class Closed:
    """Refuses dead letters until it is opened."""

    def __init__(self) -> None:
        self.open = threading.Event()
        self.refused = 0

    def __call__(self, topic: str, *_: Any) -> None:
        if topic == DEAD_LETTERS and not self.open.is_set():
            self.refused += 1
            raise Transient("stream", "delivery_failed", "the topic takes nothing now")


def limit(most: int) -> Any:
    """What a broker's `max.message.bytes` does, for the topics after a failure."""

    def refuses(topic: str, key: bytes | None, value: bytes | None, headers: Any) -> None:
        size = len(key or b"") + len(value or b"") + sum(len(name) + len(text) for name, text in headers)
        if topic in {DEAD_LETTERS, *RETRY_DELAYS_S} and size > most:
            raise Invalid("stream", "too_large", f"topic {topic!r} takes {most} bytes a record")

    return refuses


def test_a_dead_letter_that_is_refused_waits_and_others_go_on(rig: Rig) -> None:
    closed = Closed()
    rig.send(b"not an event")
    with rig.tagger(stream=picky(rig.stream, closed)) as failure:
        until(lambda: closed.refused >= 3, "three tries")
        rig.send(*(event(f"a/{i}", [jpeg(i)]) for i in range(100)))
        until(lambda: len(list(rig.store.scan())) == 100, "the others")
        assert rig.lag() > 0, "its offset is not committed"
        assert metrics.UNDELIVERED.collect()[0].samples[0].value == 1
        assert rig.dead_letters() == []
        closed.open.set()
        rig.wait(failure)
    assert len(rig.dead_letters()) == 1


def test_refused_dead_letters_of_photos_send_no_event_to_a_retry_topic(rig: Rig) -> None:
    """Its rows are there at once; only its dead letter waits, longer than the tries in place."""
    closed = Closed()
    rig.settings = msgspec.structs.replace(rig.settings, in_place_tries=2)
    rig.send(event("half", [jpeg(1), b"no photo"]))
    with rig.tagger(stream=picky(rig.stream, closed)) as failure:
        until(lambda: closed.refused >= 5, "five tries")
        assert rig.store.get(["half"])["half"].summary.status == "partial"
        assert metrics.UNDELIVERED.collect()[0].samples[0].value == 1
        assert rig.lag() == 1
        closed.open.set()
        rig.wait(failure)
        assert metrics.UNDELIVERED.collect()[0].samples[0].value == 0
    assert [parse_dead_letter(record.headers).image_id for record in rig.dead_letters()] == ["1"]
    assert list(rig.admin.read(RETRY_30S)) == []


class LateOnce(Guarded):
    """A store of which one call times out as soon as it is armed, and whose probe answers all the time."""

    def __init__(self, behind: Any) -> None:
        self._behind = behind
        self.armed = threading.Event()
        self.failed = 0

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._behind, name)
        if not callable(found) or name in {*self._LOCAL, "probe", "announce"}:
            return found

        def once(*arguments: Any, **named: Any) -> Any:
            if self.armed.is_set():
                self.armed.clear()
                self.failed += 1
                why = Transient("store", "operation_timed_out", "no answer within 2 s")
                if name != "apply":
                    raise why
                return [why for _ in arguments[0]]
            return found(*arguments, **named)

        return once


def test_refused_dead_letters_use_up_no_try_of_a_later_step(rig: Rig) -> None:
    """The store is late once, just when the letters are taken again. That is the first failed try, not the sixth."""
    closed, late = Closed(), LateOnce(rig.store)
    rig.settings = msgspec.structs.replace(rig.settings, in_place_tries=2)
    rig.send(event("half", [jpeg(1), b"no photo"]))
    with rig.tagger(store=late, stream=picky(rig.stream, closed)) as failure:
        until(lambda: closed.refused >= 5, "five tries")
        late.armed.set()
        until(lambda: late.failed == 1, "a late store")
        closed.open.set()
        rig.wait(failure)
    assert [parse_dead_letter(record.headers).image_id for record in rig.dead_letters()] == ["1"]
    assert list(rig.admin.read(RETRY_30S)) == []


def test_a_tagger_that_ends_with_a_refused_dead_letter_has_not_committed_it(rig: Rig) -> None:
    closed = Closed()
    rig.settings = msgspec.structs.replace(rig.settings, drain_budget_s=0.1)
    rig.send(b"not an event")
    with rig.tagger(stream=picky(rig.stream, closed)):
        until(lambda: closed.refused >= 2, "tries")
    assert rig.lag() == 1
    rig.process()
    assert len(rig.dead_letters()) == 1


def test_a_dead_letter_that_is_too_large_is_cut_and_says_so(rig: Rig) -> None:
    value = b"not an event" * 5_000
    rig.send(value, headers=(("long", b"x" * 30_000), ("traceparent", b"00-1")))
    with rig.tagger(stream=picky(rig.stream, limit(40_000))) as failure:
        rig.wait(failure)
    (record,) = rig.dead_letters()
    letter = parse_dead_letter(record.headers)
    assert (letter.replayable, letter.value_bytes) == ("no", len(value))
    assert letter.value_sha256 == hashlib.sha256(value).hexdigest()
    assert (letter.stage, letter.error) == ("decode", "undecodable")
    assert record.value == value[:16_384]
    (read,) = read_letters(rig.stream)
    with pytest.raises(CommandError, match="it was cut, as the dead-letter topic did not take its 60000 bytes"):
        list(plan([read], "stop", None))
    assert [step.action for step in plan([read], "drop", None)] == ["dropped"]


def test_a_topic_that_takes_not_even_a_cut_dead_letter_ends_nobody(rig: Rig) -> None:
    rig.send(b"not an event" * 5_000)
    rig.settings = msgspec.structs.replace(rig.settings, drain_budget_s=0.1)
    with rig.tagger(stream=picky(rig.stream, limit(1))) as failure:
        rig.send(event("good", [jpeg(1)]))
        until(lambda: failure or rig.lag() == 1, "the good one is through")
        assert not failure
    assert [state.listing_id for state in rig.store.scan()] == ["good"]
    assert rig.lag() == 1


def test_a_record_without_key_and_value_becomes_a_dead_letter(rig: Rig) -> None:
    """A broker takes no record that has neither; one that came so must not end the worker at its dead letter."""

    def refuses(topic: str, key: bytes | None, value: bytes | None, _: Any) -> None:
        if topic == DEAD_LETTERS and key is None and value is None:
            raise Invalid("stream", "empty", "a record has a key, a value, or both")

    rig.producer.send("listings.uploaded", None, None).wait(30)
    with rig.tagger(stream=picky(rig.stream, refuses)) as failure:
        rig.wait(failure)
    (letter,) = [parse_dead_letter(record.headers) for record in rig.dead_letters()]
    assert letter.error == "empty_event"


@pytest.fixture
def hostless(make_rig) -> Rig:
    """A rig whose photos by address cannot be had now."""
    return make_rig(intake=IntakeSettings(allowed_private=(NOBODY,), attempts=1))


def test_a_retry_that_is_too_large_moves_its_photos_to_the_store_and_is_the_same_event(hostless: Rig) -> None:
    rig = hostless
    photos = [jpeg(1, (400, 300)), jpeg(2, (400, 300))]
    sent = event("large", [*photos, f"http://{NOBODY}/x.jpg"])
    value = msgspec.json.encode({**msgspec.to_builtins(sent), "not_known_here": "stays"})
    most = 6_000
    assert len(value) > most
    rig.producer.send("listings.uploaded", b"large", value, (("traceparent", b"00-1"),)).wait(30)
    with rig.tagger(stream=picky(rig.stream, limit(most))) as failure:
        rig.wait_live(failure)
    (retry,) = list(rig.admin.read(RETRY_30S))
    assert len(retry.value or b"") < most
    assert header(retry.headers, "traceparent") == "00-1"
    moved = msgspec.json.decode(retry.value or b"")
    assert moved["not_known_here"] == "stays"
    digests = [image["url"].removeprefix("groknet-blob:") for image in moved["images"][:2]]
    assert digests == [hashlib.sha256(photo).hexdigest() for photo in photos]
    assert [rig.store.blob(digest) for digest in digests] == photos
    assert rig.dead_letters() == []

    # The same record, due at once: it is the very event that was sent, so what it writes has the order of that event.
    with_photos = msgspec.json.decode(retry.value or b"")
    with_photos["images"][2] = {"image_id": "2", "data": msgspec.to_builtins(jpeg(3))}
    rig.producer.send("listings.uploaded", b"large", msgspec.json.encode(with_photos), retry.headers).wait(30)
    with rig.tagger() as failure:
        rig.wait_live(failure)
    state = rig.store.get(["large"])["large"]
    assert isinstance(state, StoredListing)
    assert [image.data for image in state.event.images] == [*photos, jpeg(3)]
    assert state.event.order == event("large", [*photos, jpeg(3)]).order


def test_an_event_that_no_retry_topic_can_take_becomes_a_cut_dead_letter(hostless: Rig) -> None:
    rig = hostless
    sent = msgspec.to_builtins(event("large", [f"http://{NOBODY}/x.jpg"]))
    value = msgspec.json.encode({**sent, "not_known_here": "x" * 50_000})
    rig.producer.send("listings.uploaded", b"large", value).wait(30)
    with rig.tagger(stream=picky(rig.stream, limit(40_000))) as failure:
        rig.wait(failure)
    (letter,) = [parse_dead_letter(record.headers) for record in rig.dead_letters()]
    assert (letter.stage, letter.replayable, letter.listing_id) == ("fetch", "no", "large")
    assert "it cannot be retried" in letter.message


def test_photos_that_the_store_has_lost_are_said_to_be_lost(rig: Rig) -> None:
    sent = msgspec.to_builtins(event("lost", [jpeg(1)]))
    sent["images"][0] = {"image_id": "0", "url": "groknet-blob:" + "0" * 64}
    headers = (("groknet.photos", b"store"),)
    rig.producer.send("listings.uploaded", b"lost", msgspec.json.encode(sent), headers).wait(30)
    with rig.tagger() as failure:
        rig.wait(failure)
    (letter,) = [parse_dead_letter(record.headers) for record in rig.dead_letters()]
    assert (letter.error, letter.listing_id) == ("photo_gone", None)
    assert "send the event again" in letter.message
    assert decode_event(rig.dead_letters()[0].value).listing_id == "lost"


def large_letter(rig: Rig, photos: list[bytes], more: str = "") -> None:
    """A dead letter of an event of some photos, whole."""
    sent = msgspec.to_builtins(event("large", photos))
    value = msgspec.json.encode({**sent, "not_known_here": more})
    with rig.tagger(intake=Nowhere()) as failure:
        rig.producer.send(UPLOADED, b"large", value).wait(30)
        rig.wait(failure)
    assert len(rig.dead_letters()) == len(photos)


class Nowhere:
    """An intake that finds every photo bad."""

    def fetch(self, ref: Any) -> bytes:
        raise Invalid("fetch", "gone", "no such photo")


def uploads_take(most: int) -> Any:
    def refuses(topic: str, key: bytes | None, value: bytes | None, headers: Any) -> None:
        if topic == UPLOADED and len(value or b"") > most:
            raise Invalid("stream", "too_large", f"topic {topic!r} takes {most} bytes a record")

    return refuses


def test_a_replay_that_is_too_large_moves_its_photos_to_the_store(rig: Rig) -> None:
    photos = [jpeg(1, (400, 300)), jpeg(2, (400, 300))]
    large_letter(rig, photos)
    narrow = picky(rig.stream, uploads_take(4_000))
    steps = list(replay(narrow, "stop", None, keep_blob=rig.store.keep_blob))
    assert [step.action for step in steps] == ["sent", "same event"]
    with rig.tagger() as failure:
        rig.wait(failure)
    state = rig.store.get(["large"])["large"]
    assert isinstance(state, StoredListing)
    assert (state.summary.status, [image.data for image in state.event.images]) == ("complete", photos)


def test_a_replay_that_no_topic_takes_is_named_and_blocks_no_other(rig: Rig) -> None:
    large_letter(rig, [jpeg(1)], more="x" * 50_000)
    narrow = picky(rig.stream, uploads_take(4_000))
    with pytest.raises(CommandError, match=r"dead letter \d+:0 cannot be sent again: .*; --policy drop leaves it out"):
        list(replay(narrow, "stop", None, keep_blob=rig.store.keep_blob))
    steps = list(replay(narrow, "drop", None, keep_blob=rig.store.keep_blob))
    assert [step.action for step in steps] == ["dropped"]
    assert list(replay(narrow, "stop", None, keep_blob=rig.store.keep_blob)) == []


def test_what_a_stranger_wrote_does_not_steer_the_terminal() -> None:
    assert _short("\x1b[31mred\x00") == "\\x1b[31mred\\x00"
    assert len(_short("\x1b" * 100_000)) == 160
