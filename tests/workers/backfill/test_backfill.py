"""A back-fill against a store that lives on: what it adds, leaves out, goes on with, and must not bring back."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from engines.recognition import RecognitionEngine, build_engine
from schemas.events import ImageRef, ListingEvent
from schemas.hashes import decode_hashes
from schemas.predictions import ImageRow, RemovalMarker, StoredListing, Summary
from schemas.topics import hash_topic
from tests.engines.tiny_bundle import tiny_graph, write_tiny_bundle
from tests.workers.indexer.hash_topic import BASE_US, Publisher, message, stream_at
from tests.workers.search.rig import photo
from workers.backfill import (
    Backfill,
    BackfillSettings,
    Coverage,
    Progress,
    Tag,
    build_backfill,
    build_tagging,
    measure,
)
from workers.backfill.coverage import held_by
from workers.intake import Intake, IntakeSettings
from workers.stores import Store, build_store

NEW = "aaaaaaaaaaaa"
NOBODY = "127.0.0.1:1"  # where nobody listens


class Town:
    """A store of listings that another model has tagged, and a bundle of a new epoch."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.stream = stream_at(home)
        self.store: Store = build_store(f"sqlite://{home}/store.db")
        write_tiny_bundle(home / "new", tiny_graph(1), epoch=NEW, model_version="tiny-2")
        self.engine: RecognitionEngine = build_engine(home / "new", threads=1, max_batch=4)
        self.publisher = Publisher(self.stream, NEW)
        self.intake = IntakeSettings(
            allowed_roots=(str(home),), allowed_private=(NOBODY,), allow_http_hosts=("127.0.0.1",), attempts=1
        )

    def close(self) -> None:
        self.publisher.__exit__()
        self.engine.close()
        self.store.close()

    def add(self, listing: str, time_: int, images: list[ImageRef], **fields: Any) -> None:
        event = ListingEvent(
            event_id="e", listing_id=listing, event_time=BASE_US + time_, type="updated", images=images, **fields
        )
        rows = [ImageRow(image_id=image.image_id, predictions={}, hash="0" * 64) for image in images]
        stored = StoredListing(
            listing_id=listing,
            event_time=event.event_time,
            model_version="tiny-1",
            epoch="0123456789ab",
            event=event,
            summary=Summary(status="complete", predictions={}, bad_images=[]),
            images=rows,
            stored_at=time.time_ns() // 1000,
        )
        self.store.write(stored, {})

    def remove(self, listing: str, time_: int) -> None:
        event = ListingEvent(event_id="r", listing_id=listing, event_time=BASE_US + time_, type="removed")
        self.store.remove(event)

    def backfill(self, **settings: Any) -> Backfill:
        chosen = BackfillSettings(**({"listings_per_s": 0.0, "in_place_tries": 1} | settings))
        tagging = build_tagging(chosen, engine=self.engine, intake=Intake(self.intake))
        return self.backfill_by(tagging.tag_all, chosen)

    def backfill_by(self, tag: Tag, settings: BackfillSettings) -> Backfill:
        """A back-fill that computes with `tag`."""
        return build_backfill(settings, stream=self.stream, store=self.store, manifest=self.engine.manifest, tag=tag)

    def run(self, **settings: Any) -> Progress:
        return self.backfill(**settings).run(threading.Event(), lambda _: None)

    def coverage(self) -> Coverage:
        admin = self.stream.admin()
        try:
            return measure(self.store, admin, NEW)
        finally:
            admin.close()

    def held(self) -> dict[str, int]:
        admin = self.stream.admin()
        try:
            return {name: at - BASE_US for name, at in held_by(admin, NEW).items()}
        finally:
            admin.close()

    def messages(self) -> int:
        admin = self.stream.admin()
        try:
            return sum(1 for _ in admin.read(hash_topic(NEW)))
        finally:
            admin.close()


@pytest.fixture
def town(tmp_path: Path) -> Iterator[Town]:
    made = Town(tmp_path)
    yield made
    made.close()


def inline(seed: int, image_id: str = "1") -> ImageRef:
    return ImageRef(image_id=image_id, data=photo(seed))


def test_every_listing_is_tagged_once_and_what_the_new_bundle_says_is_stored(town: Town) -> None:
    for n in range(20):
        town.add(f"shop/{n}", n + 1, [inline(n, "a"), inline(n + 100, "b")], category="mug", state="sold")
    town.remove("shop/3", 50)
    assert town.coverage() == Coverage(wanted=19, covered=0, gone=0)
    told: list[int] = []
    done = town.backfill().run(threading.Event(), lambda p: told.append(p.seen))
    assert (done.total, done.done, done.removed, done.lost, done.failed) == (19, 19, 0, 0, 0)
    assert told[0] == 0
    assert told[-1] == 19
    assert town.held() == {f"shop/{n}": n + 1 for n in range(20) if n != 3}
    assert town.coverage().share == 1.0
    stored = town.store.get(["shop/7"], "tiny-2")["shop/7"]
    assert isinstance(stored, StoredListing)
    assert (stored.epoch, stored.summary.status, len(stored.images)) == (NEW, "complete", 2)
    admin = town.stream.admin()
    sent = {r.key: decode_hashes(r.value) for r in admin.read(hash_topic(NEW)) if r.value}[b"shop/7"]
    admin.close()
    assert (sent.epoch, sent.category, sent.state) == (NEW, "mug", "sold")
    assert [image.hash for image in sent.images] == [row.hash for row in stored.images] != ["0" * 64] * 2
    assert town.run().total == 0, "a second run finds nothing left"
    assert town.messages() == 19


def test_a_listing_whose_photos_have_ended_is_lost_and_stays_as_it_was(town: Town) -> None:
    town.store.close()
    town.store = build_store(f"sqlite://{town.home}/store.db", inline_photos_s=0.0)
    town.add("shop/old", 1, [inline(1)])
    before = town.store.get(["shop/old"])
    done = town.run()
    assert (done.total, done.done, done.lost, done.failed) == (1, 0, 1, 0)
    assert "send the listing's event again" in done.named[0]
    assert town.store.get(["shop/old"]) == before
    assert town.held() == {}
    town.store.close()
    town.store = build_store(f"sqlite://{town.home}/store.db", inline_photos_s=3600.0)
    town.add("shop/old", 2, [inline(2)])
    assert town.run().done == 1


def test_one_that_was_stopped_goes_on_and_one_that_is_run_again_adds_what_came(town: Town) -> None:
    for n in range(12):
        town.add(f"shop/{n}", 1, [inline(n)])
    stop = threading.Event()
    first = town.backfill(listings_at_once=4).run(stop, lambda p: stop.set() if p.seen >= 4 else None)
    assert (first.seen, first.total) == (4, 12)
    assert 0 < town.coverage().share < 1
    town.add("shop/0", 5, [inline(99)])
    town.remove("shop/1", 5)
    town.add("shop/new", 1, [inline(50)])
    assert town.coverage() == Coverage(wanted=12, covered=2, gone=1)
    second = town.run()
    assert (second.total, second.done, second.removed) == (11, 10, 1)
    assert town.held() == {"shop/0": 5, "shop/new": 1} | {f"shop/{n}": 1 for n in range(2, 12)}
    assert town.messages() == 4 + 11


def test_what_comes_while_it_runs_is_counted_in(town: Town) -> None:
    for n in range(4):
        town.add(f"shop/{n}", 1, [inline(n)])
    told: list[tuple[int, int]] = []

    def tell(now: Progress) -> None:
        if not told:  # they are counted; the listings are read after this
            town.add("shop/8", 1, [inline(8)])
            town.add("shop/9", 1, [inline(9)])
        told.append((now.seen, now.total))

    done = town.backfill(listings_at_once=2).run(threading.Event(), tell)
    assert (done.seen, done.total) == (6, 6)
    assert told[0] == (0, 4)
    assert all(seen <= total for seen, total in told)


def test_what_came_after_a_moment_does_not_count_against_coverage_as_of_then(town: Town) -> None:
    town.add("shop/1", 1, [inline(1)])
    town.run()
    town.add("shop/2", 1, [inline(2)])
    moment = max(s.stored_at for s in town.store.scan() if isinstance(s, StoredListing)) + 1
    while time.time_ns() // 1000 <= moment:
        pass
    town.add("shop/3", 1, [inline(3)])
    admin = town.stream.admin()
    assert measure(town.store, admin, NEW) == Coverage(wanted=3, covered=1, gone=0)
    assert measure(town.store, admin, NEW, before=moment) == Coverage(wanted=2, covered=1, gone=0)
    admin.close()


def test_lost_photos_are_named_and_do_not_stop_the_rest(town: Town) -> None:
    (town.home / "kept.jpg").write_bytes(photo(1))
    kept = ImageRef(image_id="k", url=(town.home / "kept.jpg").as_uri())
    gone = ImageRef(image_id="g", url=(town.home / "gone.jpg").as_uri())
    town.add("half", 1, [kept, gone])
    town.add("none", 1, [gone])
    town.add("text", 1, [ImageRef(image_id="t", data=b"<html>")])
    done = town.run()
    assert (done.done, done.lost, done.failed) == (1, 2, 0)
    assert sorted(line.partition(":")[0] for line in done.named) == ["none", "text"]
    stored = town.store.get(["half"], "tiny-2")["half"]
    assert isinstance(stored, StoredListing)
    assert [row.image_id for row in stored.images] == ["k"]
    assert town.coverage() == Coverage(wanted=3, covered=1, gone=0)
    admin = town.stream.admin()
    assert list(admin.read("listings.uploaded.dlq")) == [] if "listings.uploaded.dlq" in admin.topics() else True
    admin.close()


def test_a_removal_while_a_listing_is_tagged_is_published_after_it(town: Town) -> None:
    """The store loses the listing between being read and being published; the topic must end without it."""
    town.add("shop/1", 1, [inline(1)])
    run = town.backfill()
    settle = run._effects.settle

    class Late:
        def settle(self, jobs: Any) -> Any:
            town.remove("shop/1", 9)
            return settle(jobs)

    run._effects = Late()  # type: ignore[assignment]
    run.run(threading.Event(), lambda _: None)
    assert town.held() == {}
    assert isinstance(town.store.get(["shop/1"])["shop/1"], RemovalMarker)


def test_a_listing_without_photos_is_done_and_not_lost(town: Town) -> None:
    town.add("shop/empty", 1, [])
    town.add("shop/1", 1, [inline(1)])
    progress = town.run()
    assert (progress.done, progress.lost, progress.named) == (2, 0, [])
    assert town.held() == {"shop/empty": 1, "shop/1": 1}
    found = town.store.get(["shop/empty"])["shop/empty"]
    assert isinstance(found, StoredListing)
    assert (found.summary.status, found.images) == ("empty", [])
    assert (town.coverage().wanted, town.coverage().covered) == (1, 1)


def test_the_rate_is_bounded(town: Town) -> None:
    for n in range(6):
        town.add(f"shop/{n}", 1, [inline(n)])
    began = time.monotonic()
    town.run(listings_per_s=20.0, listings_at_once=1)
    assert time.monotonic() - began >= 6 / 20, "never faster than asked, however slow the machine"


def test_what_an_index_refuses_does_not_count_as_covered(town: Town) -> None:
    town.add("shop/1", 5, [inline(1)])
    town.add("shop/2", 5, [inline(2)])
    put = town.publisher
    put.put(message("shop/1", 5, {"1": "0" * 64}))  # of another epoch
    put.raw("shop/2", b"{}", BASE_US + 5)
    put.flush()
    assert town.coverage().covered == 0
    put.put(message("shop/2", 5, {"1": "0" * 64}, epoch=NEW))
    put.remove("shop/2", 4)  # older
    put.flush()
    assert town.held() == {"shop/2": 5}
    put.remove("shop/2", 5)
    put.put(message("shop/2", 5, {"1": "0" * 64}, epoch=NEW))  # at one time a removal wins
    put.flush()
    assert town.held() == {}
