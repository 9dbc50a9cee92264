"""Events through a whole tagger: what is written, published, repeated, undone, blamed and drained."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import msgspec
import numpy as np
import pytest

from engines.gpu.driver import failure as cuda_failure
from engines.pixels import decode_photo
from schemas.dead_letters import parse_dead_letter
from schemas.envelope import header
from schemas.errors import DeviceLost, Invalid, TooManyDeadLetters, Transient
from schemas.events import ListingEvent
from schemas.hashes import EVENT_TIME_HEADER, decode_hashes
from schemas.predictions import RemovalMarker, StoredListing
from schemas.topics import UPLOADED, hash_topic
from tests.workers.tagger.rig import BASE_US, Rig, event, jpeg, removal
from workers.intake import IntakeSettings, Uploads
from workers.tagger.completion.journal import Journal


def stored(rig: Rig, listing: str) -> StoredListing:
    state = rig.store.get([listing])[listing]
    assert isinstance(state, StoredListing)
    return state


def dump(rig: Rig) -> list[bytes]:
    return [msgspec.json.encode(state) for state in rig.store.scan()]


@pytest.mark.parametrize("processes", [0, 1])
def test_rows_summary_hash_message_and_thumbnail_of_two_photos(make_rig, processes: int) -> None:
    rig: Rig = make_rig(decode_processes=processes)
    photos = [jpeg(1), jpeg(2)]
    rig.process(event("a/1", photos, category="shoes", state="active"))
    state = stored(rig, "a/1")
    for row, photo in zip(state.images, photos, strict=True):
        alone = rig.engine.infer(decode_photo(photo, rig.engine.manifest.preprocess).pixels[np.newaxis])
        assert row.hash == alone.hash_hex(0)
        assert row.predictions == alone.row(0, rig.engine.manifest)
        assert rig.store.thumbnail("a/1", row.image_id)
    assert state.summary.status == "complete"
    message = decode_hashes(rig.hashes()["a/1"] or b"")
    assert {i.image_id: i.hash for i in message.images} == {r.image_id: r.hash for r in state.images}
    assert (message.epoch, message.event_time, message.category) == (rig.epoch, BASE_US + 1000, "shoes")
    record = next(iter(rig.admin.read(hash_topic(rig.epoch))))
    assert header(record.headers, "ce_type") == "groknet.hashes.v1"
    assert header(record.headers, EVENT_TIME_HEADER) == str(BASE_US + 1000)


def test_the_same_stream_again_changes_nothing_in_the_store(rig: Rig) -> None:
    events = [event(f"a/{i}", [jpeg(i)]) for i in range(30)]
    rig.process(*events)
    before, hashes = dump(rig), rig.hashes()
    rig.process(*events)
    assert dump(rig) == before
    assert rig.hashes() == hashes


def test_an_update_drops_the_photo_it_drops_and_an_older_event_undoes_nothing(rig: Rig) -> None:
    old, new = event("a", [jpeg(1), jpeg(2)], time_us=10), event("a", [jpeg(3)], time_us=20, type="updated")
    rig.process(old)
    rig.process(new)
    rig.process(old)
    assert [row.image_id for row in stored(rig, "a").images] == ["0"]
    assert stored(rig, "a").event_time == BASE_US + 20
    assert decode_hashes(rig.hashes()["a"] or b"").event_time == BASE_US + 20
    assert rig.store.thumbnail("a", "1") is None


@pytest.mark.parametrize("processes", [0, 1])
def test_an_update_without_photos_empties_the_listing(make_rig, processes: int) -> None:
    """No dead letter, no rows, no thumbnail, no hash; the summary says so. A later update brings photos back."""
    rig: Rig = make_rig(decode_processes=processes)
    rig.process(event("a", [jpeg(1), jpeg(2)], time_us=10), event("b", [], time_us=10))
    rig.process(event("a", [], time_us=20, type="updated", title="sold out"))
    for listing in ("a", "b"):
        state = stored(rig, listing)
        assert (state.summary.status, state.images, state.summary.predictions) == ("empty", [], {})
        assert decode_hashes(rig.hashes()[listing] or b"").images == []
    assert stored(rig, "a").event.title == "sold out"
    assert rig.store.thumbnail("a", "0") is None
    assert rig.dead_letters() == []
    rig.process(event("a", [jpeg(1)], time_us=10), event("a", [jpeg(3)], time_us=30, type="updated"))
    assert stored(rig, "a").summary.status == "complete"


@pytest.mark.parametrize("processes", [0, 1])
def test_of_too_many_photos_the_first_are_used_and_one_letter_names_the_rest(make_rig, processes: int) -> None:
    rig: Rig = make_rig(decode_processes=processes)
    rig.process(event("a", [*(jpeg(i) for i in range(19)), b"no photo", *(jpeg(i) for i in range(20, 23))]))
    state = stored(rig, "a")
    assert state.summary.status == "partial"
    assert [row.image_id for row in state.images] == [str(n) for n in range(19)]
    bad = [(image.image_id, image.stage, image.error) for image in state.summary.bad_images]
    assert bad[0] == ("19", "decode", "not_an_image")
    assert bad[1:] == [(str(n), "decode", "too_many_images") for n in range(20, 23)]
    letters = {why.image_id: why for why in (parse_dead_letter(letter.headers) for letter in rig.dead_letters())}
    assert sorted(letters) == ["19", "20"]
    assert letters["20"].message == "images: 23 photos, of which the first 20 are used; left out: 20, 21, 22"
    assert len(decode_hashes(rig.hashes()["a"] or b"").images) == 19


def test_an_edit_of_the_second_of_the_creation_wins_in_either_order(rig: Rig) -> None:
    made, edited = (
        event("a", [jpeg(1)], time_us=0, title="old"),
        event("a", [jpeg(1)], time_us=0, title="new", type="updated"),
    )
    other, gone = event("b", [jpeg(1)], time_us=0), removal("b", 0)
    rig.process(edited, made, gone, msgspec.structs.replace(edited, listing_id="b"), other)
    assert stored(rig, "a").event.title == "new"
    assert isinstance(rig.store.get(["b"])["b"], RemovalMarker)


def test_copies_that_no_event_names_any_more_are_dropped(make_rig, tmp_path: Path) -> None:
    uploads = Uploads(tmp_path / "uploads")
    rig: Rig = make_rig(intake=IntakeSettings(allowed_roots=(str(tmp_path / "uploads"),)))
    first, second = uploads.put("a", jpeg(1), ".jpg"), uploads.put("a", jpeg(2), ".jpg")
    os.utime(first, (BASE_US // 10**6 + 100,) * 2)
    rig.process(event("a", [first.as_uri()], time_us=90 * 10**6))
    assert first.exists()
    rig.process(event("a", [second.as_uri()], time_us=110 * 10**6, type="updated"))
    assert [copy.exists() for copy in (first, second)] == [False, True]
    rig.process(removal("a", time.time_ns() // 1000 - BASE_US))
    assert not second.exists()


def test_a_removal_leaves_a_marker_a_tombstone_and_no_way_back_for_older_events(rig: Rig) -> None:
    created = event("a", [jpeg(1)], time_us=10)
    rig.process(created)
    rig.process(removal("a", 30))
    rig.process(created, event("a", [jpeg(2)], time_us=20))
    assert rig.store.get(["a"])["a"] == RemovalMarker(listing_id="a", event_time=BASE_US + 30)
    assert rig.hashes() == {"a": None}
    records = list(rig.admin.read(hash_topic(rig.epoch)))
    assert {header(r.headers, EVENT_TIME_HEADER) for r in records if r.value is None} == {str(BASE_US + 30)}
    assert rig.store.thumbnail("a", "0") is None
    rig.process(event("a", [jpeg(4)], time_us=40))
    assert stored(rig, "a").event_time == BASE_US + 40


def test_a_removal_that_still_names_photos_fetches_none(make_rig) -> None:
    """One of these photos would send the whole event to a retry topic, the other would become a dead letter."""
    rig: Rig = make_rig(intake=IntakeSettings(allowed_private=("127.0.0.1:9",), attempts=1))
    rig.process(event("a", [jpeg(1)]))
    rig.process(event("a", ["http://127.0.0.1:9/a.jpg", b"no photo"], time_us=2_000, type="removed"))
    assert isinstance(rig.store.get(["a"])["a"], RemovalMarker)
    assert rig.hashes() == {"a": None}
    assert rig.dead_letters() == []


@pytest.mark.parametrize("processes", [0, 1])
def test_one_bad_photo_of_three_leaves_a_partial_listing(make_rig, processes: int) -> None:
    rig: Rig = make_rig(decode_processes=processes)
    rig.process(event("a", [jpeg(1), b"no photo at all", jpeg(2)]))
    state = stored(rig, "a")
    assert state.summary.status == "partial"
    assert [(b.image_id, b.stage) for b in state.summary.bad_images] == [("1", "decode")]
    assert [row.image_id for row in state.images] == ["0", "2"]
    (letter,) = [parse_dead_letter(record.headers) for record in rig.dead_letters()]
    assert (letter.listing_id, letter.image_id, letter.topic) == ("a", "1", UPLOADED)


def test_a_replay_mends_a_partial_listing_and_publishes_all_its_hashes(make_rig, tmp_path: Path) -> None:
    photo = tmp_path / "late.jpg"
    rig: Rig = make_rig(intake=IntakeSettings(allowed_roots=(str(tmp_path),)))
    late = event("a", [jpeg(1), photo.as_uri()])
    rig.process(late)
    assert stored(rig, "a").summary.status == "partial"
    first = stored(rig, "a").stored_at
    photo.write_bytes(jpeg(2))
    (letter,) = rig.dead_letters()
    rig.producer.send(UPLOADED, letter.key, letter.value, letter.headers)
    rig.process()
    mended = stored(rig, "a")
    assert (mended.summary.status, mended.summary.bad_images, mended.stored_at) == ("complete", [], first)
    assert [i.image_id for i in decode_hashes(rig.hashes()["a"] or b"").images] == ["0", "1"]
    assert len(rig.dead_letters()) == 1


class Moody:
    """The rig's engine, but it cannot bear some photos, or nothing at all once it is sick."""

    def __init__(self, rig: Rig, poison: bytes) -> None:
        self._engine = rig.engine
        self._poison = decode_photo(poison, rig.engine.manifest.preprocess).pixels
        self.sick = False
        self.manifest, self.max_batch = rig.engine.manifest, rig.engine.max_batch
        self.backend = rig.engine.backend

    def warm_up(self) -> None:
        if self.sick:
            raise RuntimeError("device lost")

    def infer(self, photos: np.ndarray):
        if self.sick or any(np.array_equal(photo, self._poison) for photo in photos):
            raise RuntimeError("cannot bear it")
        return self._engine.infer(photos)

    def close(self) -> None:
        """The rig closes the engine."""


def test_a_photo_that_the_engine_cannot_bear_is_found_by_bisecting(rig: Rig) -> None:
    poison = jpeg(99)
    events = [event(f"a/{i}", [jpeg(i)]) for i in range(31)]
    rig.send(*events[:17], event("poison", [poison]), *events[17:])
    with rig.tagger(engine=Moody(rig, poison)) as failure:
        rig.wait(failure)
    assert all(stored(rig, one.listing_id).summary.status == "complete" for one in events)
    (letter,) = [parse_dead_letter(record.headers) for record in rig.dead_letters()]
    assert (letter.listing_id, letter.stage, letter.error) == ("poison", "engine", "engine_failed")


def test_a_sick_engine_ends_the_process_and_blames_no_photo(rig: Rig) -> None:
    engine = Moody(rig, jpeg(99))
    rig.send(*(event(f"a/{i}", [jpeg(i)]) for i in range(5)))
    tagger = rig.build(engine=engine)
    engine.sick = True
    with pytest.raises(RuntimeError, match="device lost"):
        tagger.run(threading.Event())
    assert rig.dead_letters() == []
    assert rig.lag() == 5
    with rig.tagger() as failure:  # another life finishes them
        rig.wait(failure)
    assert len(dump(rig)) == 5


def test_a_lost_device_ends_the_process_with_its_own_words(rig: Rig) -> None:
    """The CUDA error that lasts is what is raised, at the first batch; nothing is blamed, nothing lost."""
    rig.send(*(event(f"a/{i}", [jpeg(i)]) for i in range(5)))
    engine = Moody(rig, jpeg(99))
    tagger = rig.build(engine=engine)
    calls = []

    def lose(photos: np.ndarray) -> None:
        calls.append(len(photos))
        raise cuda_failure("cuEventSynchronize", 700, "an illegal memory access was encountered")

    engine.infer = lose
    with pytest.raises(DeviceLost, match=r"GPU is lost to this process.*illegal memory access.*a new one starts clean"):
        tagger.run(threading.Event())
    assert len(calls) == 1
    assert (rig.dead_letters(), rig.lag()) == ([], 5)


class Narrow:
    """The rig's store, but one listing is too large for it, and another fails now and then."""

    def __init__(self, rig: Rig, failures: int) -> None:
        self._store = rig.store
        self.failures = failures

    def __getattr__(self, name: str):
        return getattr(self._store, name)

    def apply(self, changes):
        return [self._outcome(change) for change in changes]

    def _outcome(self, change):
        if change.event.listing_id == "large":
            return Invalid("store", "listing_too_large", "at most so many bytes")
        if change.event.listing_id == "unlucky" and self.failures:
            self.failures -= 1
            return Transient("store", "write_timeout", "too few copies")
        return self._store.apply([change])[0]


def test_a_listing_that_the_store_can_never_take_is_a_dead_letter_at_once_and_harms_no_other(rig: Rig) -> None:
    events = [event(name, [jpeg(i)]) for i, name in enumerate(["a", "large", "b", "unlucky", "c"])]
    rig.send(*events)
    narrow = Narrow(rig, failures=3)
    with rig.tagger(store=narrow) as failure:
        rig.wait(failure)
    assert narrow.failures == 0
    (letter,) = [parse_dead_letter(record.headers) for record in rig.dead_letters()]
    assert (letter.listing_id, letter.stage, letter.error, letter.attempt) == ("large", "store", "listing_too_large", 1)
    assert {state.listing_id for state in rig.store.scan()} == {"a", "b", "unlucky", "c"} == set(rig.hashes())
    assert not list(rig.admin.read("listings.uploaded.retry.30s"))


def test_only_what_still_fails_after_all_tries_is_retried_later(make_rig) -> None:
    rig: Rig = make_rig(in_place_tries=2)
    rig.send(*(event(name, [jpeg(i)]) for i, name in enumerate(["a", "unlucky", "b"])))
    with rig.tagger(store=Narrow(rig, failures=2)) as failure:
        deadline = time.monotonic() + 30
        while not (retries := list(rig.admin.read("listings.uploaded.retry.30s"))) or len(dump(rig)) < 2:
            assert not failure
            assert time.monotonic() < deadline
            time.sleep(0.02)
    assert [record.key for record in retries] == [b"unlucky"]
    assert {state.listing_id for state in rig.store.scan()} == {"a", "b"}


class Late:
    """The rig's store; when it is asked what is newest for the second time, something newer has just been written."""

    def __init__(self, rig: Rig, newer: ListingEvent) -> None:
        self._rig, self._newer, self._asked = rig, newer, 0

    def __getattr__(self, name: str):
        return getattr(self._rig.store, name)

    def latest(self, listing_ids):
        self._asked += 1
        if self._asked == 2:  # the first is the look before anything is computed, this one follows the publishing
            self._rig.store.remove(self._newer)
        return self._rig.store.latest(listing_ids)


def test_what_became_newer_while_an_event_was_published_is_published_after_it(rig: Rig) -> None:
    rig.send(event("a", [jpeg(1)], time_us=10))
    with rig.tagger(store=Late(rig, removal("a", 20))) as failure:
        rig.wait(failure)
    assert rig.store.get(["a"])["a"] == RemovalMarker(listing_id="a", event_time=BASE_US + 20)
    records = [record for record in rig.admin.read(hash_topic(rig.epoch)) if record.key == b"a"]
    assert [header(record.headers, EVENT_TIME_HEADER) for record in records] == [str(BASE_US + 10), str(BASE_US + 20)]
    assert records[-1].value is None


@pytest.mark.parametrize("number", [b"soon", b"-1", b"\xff", b"9" * 5_000, b"9" * 400])
def test_headers_that_strangers_filled_in_end_nothing(rig: Rig, number: bytes) -> None:
    rig.send(b"not an event", headers=(("groknet.attempt", number), ("groknet.first_failed_at_ms", number)))
    rig.process(event("good", [jpeg(1)]))
    (letter,) = [parse_dead_letter(record.headers) for record in rig.dead_letters()]
    assert (letter.attempt, letter.first_failed_at_ms) == (1, letter.failed_at_ms)
    assert len(dump(rig)) == 1


def test_an_event_in_hand_at_three_crashes_becomes_a_dead_letter_and_the_rest_goes_on(rig: Rig) -> None:
    rig.send(event("killer", [jpeg(0)]), *(event(f"a/{i}", [jpeg(i)]) for i in range(1, 6)))
    (killer,) = [r for r in rig.admin.read(UPLOADED) if r.key == b"killer"]
    folder = rig.home / "tagger"
    folder.mkdir()
    name = f"{killer.partition.topic}/{killer.partition.number}/{killer.offset}"
    (folder / "attempts-0.log").write_text(f"+{name}\n" * 3)
    with rig.tagger() as failure:
        rig.wait(failure)
    (letter,) = [parse_dead_letter(record.headers) for record in rig.dead_letters()]
    assert (letter.error, letter.attempt) == ("process_died", 3)
    assert len(dump(rig)) == 5


def test_a_retry_is_not_touched_before_it_is_due(rig: Rig) -> None:
    rig.send(event("later", [jpeg(1)]), topic="listings.uploaded.retry.10m")
    with rig.tagger() as failure:
        rig.send(event("now", [jpeg(2)]))
        deadline = time.monotonic() + 30
        while "now" not in rig.store.get(["now"]):
            assert not failure
            assert time.monotonic() < deadline
            time.sleep(0.02)
    assert rig.store.get(["later"]) == {}
    assert rig.lag() >= 1


@pytest.mark.parametrize("processes", [0, 1])
def test_an_unreachable_photo_sends_the_whole_event_to_the_first_retry_topic(make_rig, processes: int) -> None:
    refused = "127.0.0.1:9"  # the discard port: nothing listens there
    intake = IntakeSettings(allowed_private=(refused,), attempts=1)
    rig: Rig = make_rig(intake=intake, decode_processes=processes)
    rig.send(event("a", [jpeg(1), f"http://{refused}/x.jpg"]))
    with rig.tagger() as failure:
        deadline = time.monotonic() + 30
        while not (retries := list(rig.admin.read("listings.uploaded.retry.30s"))):
            assert not failure
            assert time.monotonic() < deadline
            time.sleep(0.02)
    assert header(retries[0].headers, "groknet.attempt") == "2"
    assert rig.store.get(["a"]) == {}
    assert rig.dead_letters() == []


def test_a_full_pipeline_holds_what_it_cannot_take_and_drains_within_its_budget(make_rig) -> None:
    rig: Rig = make_rig(max_in_flight_events=2, batch_size=2, pause_after_s=0.05)
    rig.process(*(event(f"a/{i}", [jpeg(i)]) for i in range(40)))
    assert len(dump(rig)) == 40
    assert rig.lag() == 0


@pytest.mark.parametrize("processes", [0, 1])
def test_bad_photos_of_strangers_never_stop_the_worker(make_rig, processes: int) -> None:
    rig: Rig = make_rig(dead_letter_window=20, decode_processes=processes)
    bad = [event(f"bad/{i}", [b"no photo"]) for i in range(70)]
    rig.process(*bad, *(event(f"good/{i}", [jpeg(i)]) for i in range(20)))
    assert len(rig.dead_letters()) == 70
    assert sum(stored(rig, f"good/{i}").summary.status == "complete" for i in range(20)) == 20


def test_a_broken_decoder_stops_the_worker_and_a_restart_goes_on_where_it_was(make_rig, monkeypatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise Invalid("decode", "not_an_image", "no codec")

    rig: Rig = make_rig(dead_letter_window=20, max_in_flight_events=4)
    rig.send(*(event(f"a/{i}", [jpeg(i)]) for i in range(100)))
    with monkeypatch.context() as patch:
        patch.setattr("workers.stages.prepare.decode_photo", broken)
        with pytest.raises(TooManyDeadLetters, match=r"squares\.jpg: no codec.*dlq list"):
            rig.build().run(threading.Event())
    letters = len(rig.dead_letters())
    assert 20 <= letters <= 24  # the window, and what was in hand beside it
    assert rig.lag() == 100 - letters
    journal = Journal(rig.home / "tagger")
    assert not any(journal.attempts(record) for record in rig.admin.read(UPLOADED))  # nobody's crash is counted
    journal.close()


def test_without_thumbnails_the_rows_are_the_same_and_no_picture_is_kept(make_rig) -> None:
    rig: Rig = make_rig(thumbnails=False)
    photo = jpeg(1)
    rig.process(event("a", [photo]))
    alone = rig.engine.infer(decode_photo(photo, rig.engine.manifest.preprocess).pixels[np.newaxis])
    assert stored(rig, "a").images[0].hash == alone.hash_hex(0)
    assert rig.store.thumbnail("a", "0") is None
