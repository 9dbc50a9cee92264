"""The follower without a service: the first reading of the store, outages, and a topic that was replaced."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from schemas.errors import Transient
from schemas.events import ImageRef, ListingEvent
from schemas.manifest import load_manifest
from schemas.predictions import ImageRow, Prediction, RemovalMarker, StoredListing, Summary
from schemas.topics import hash_topic
from tests.engines.tiny_bundle import write_tiny_bundle
from tests.workers.indexer.hash_topic import BASE_US, Publisher, message, replaced, stream_at
from tests.workers.indexer.running import until
from tests.workers.test_catching_up import Clock
from workers.catching_up import CatchingUp
from workers.search.find.labels.naming import Names
from workers.search.typed.follower import Follower
from workers.search.typed.label_index import LabelIndex
from workers.search.typed.query import Choice, Term
from workers.stores import Store, build_store

RED = [(Term((Choice("colour", ("red",), True),), ()), 1.0)]


def stored(name: str, p: float, time: int = 1, photos: int = 1) -> StoredListing:
    predictions = {"colour": [Prediction(label="red", probability=p)]}
    images = [ImageRef(image_id=str(i), data=b"x") for i in range(photos)]
    event = ListingEvent(
        event_id="e", listing_id=name, event_time=BASE_US + time, type="updated", images=images, title="Thing"
    )
    return StoredListing(
        listing_id=name,
        event_time=event.event_time,
        model_version="m",
        epoch="0123456789ab",
        event=event,
        summary=Summary(status="complete" if photos else "empty", predictions=predictions, bad_images=[]),
        images=[ImageRow(image_id=str(i), predictions=predictions, hash="0" * 64) for i in range(photos)],
        stored_at=1,
    )


class Away:
    """The store itself, that does not answer the first calls."""

    def __init__(self, store: Store, fails: int) -> None:
        self._store, self.fails = store, fails
        self.refuses_room = ""
        """A listing whose next read alone fails."""
        self.refused: list[str] = []

    def scan(self) -> Iterator[StoredListing | RemovalMarker]:
        for listing in self._store.scan():
            self._refuse()
            yield listing

    def get(self, listing_ids: list[str]) -> dict[str, StoredListing | RemovalMarker]:
        self._refuse()
        if self.refuses_room and listing_ids == [self.refuses_room]:
            self.refused.append(self.refuses_room)
            self.refuses_room = ""
            raise Transient("store", "away", "planted")
        return self._store.get(listing_ids)

    def _refuse(self) -> None:
        if self.fails:
            self.fails -= 1
            raise Transient("store", "away", "planted")


@dataclass
class Place:
    """A store with `old/0`, `old/1` … and a follower of them, which does not run yet."""

    store: Store
    away: Away
    publisher: Publisher
    index: LabelIndex
    follower: Follower

    def found(self) -> list[tuple[str, float]]:
        return self.index.search(RED, 100, titles=False)

    def names(self) -> list[str]:
        return [name for name, _ in self.found()]

    def remove(self, name: str) -> None:
        self.store.remove(ListingEvent(event_id="g", listing_id=name, event_time=BASE_US + 2, type="removed"))
        self.publisher.remove(name, 2)
        self.publisher.flush()

    @contextmanager
    def running(self) -> Iterator[None]:
        self.follower.start()
        try:
            until(lambda: self.follower.complete)
            yield
        finally:
            self.follower.stop()


@contextmanager
def place(folder: Path, *, listings: int, most: int, fails: int = 0) -> Iterator[Place]:
    write_tiny_bundle(folder / "bundle")
    names = Names(load_manifest(folder / "bundle"))
    stream = stream_at(folder)
    with closing(build_store(f"sqlite://{folder}/store.db")) as store, Publisher(stream) as publisher:
        for i in range(listings):
            store.write(stored(f"old/{i}", 0.5 + i / 10), {})
        away, index = Away(store, fails), LabelIndex(most=most)
        asked: Any = away
        follower = Follower(index, stream=stream, store=asked, names=names, epoch="0123456789ab")
        yield Place(store, away, publisher, index, follower)


def test_the_store_is_read_once_and_the_topic_followed_through_outages(tmp_path: Path) -> None:
    with place(tmp_path, listings=5, most=100, fails=2) as here:
        clock = Clock()
        progress = here.follower.progress = CatchingUp("labels", clock)
        with here.running():
            assert here.found() == [(f"old/{i}", 0.5 + i / 10) for i in (4, 3, 2, 1, 0)]
            assert progress.behind_s == 0
            here.away.fails = 2
            clock.now += 40
            here.store.write(stored("old/0", 0.95, time=2), {})
            here.store.write(stored("old/4", 0.9, time=2, photos=0), {})  # its photos are gone
            here.store.remove(ListingEvent(event_id="g", listing_id="old/1", event_time=BASE_US + 2, type="removed"))
            for name in ("old/0", "old/4", "old/1", "unknown"):
                here.publisher.put(message(name, 2, {}))
            here.publisher.flush()
            until(lambda: here.names() == ["old/0", "old/3", "old/2"])
            until(lambda: progress.behind_s == 0)
        assert here.found()[0] == ("old/0", 0.95)


def test_after_the_topic_was_replaced_by_a_shorter_one_the_store_is_read_again(tmp_path: Path) -> None:
    with place(tmp_path, listings=5, most=100) as here:
        for i in range(5):
            here.publisher.put(message(f"old/{i}", 1, {}))
        here.publisher.flush()

        def anew() -> None:
            here.store.write(stored("old/0", 0.95, time=2), {})  # of which the new topic says nothing
            here.publisher.put(message("other", 2, {}))
            here.publisher.flush()

        with here.running():
            replaced(tmp_path, hash_topic("0123456789ab"), anew)
            until(lambda: here.names()[0] == "old/0")
            assert sorted(here.names()) == [f"old/{i}" for i in range(5)]


def test_room_that_frees_is_filled_with_a_listing_that_was_left_out(tmp_path: Path) -> None:
    with place(tmp_path, listings=5, most=3) as here:
        with here.running():
            assert (len(here.index), here.index.left_out) == (3, 2)
            here.remove("old/0")
            until(lambda: here.index.left_out == 1)
            assert set(here.names()) > {"old/1", "old/2"}
        assert len(here.index) == 3


def test_room_is_filled_without_another_record_if_the_store_was_away_when_it_became_free(tmp_path: Path) -> None:
    with place(tmp_path, listings=3, most=2) as here:
        with here.running():
            here.away.refuses_room = "old/2"  # there was no room for it
            here.remove("old/0")
            until(lambda: here.index.left_out == 0)
        assert here.away.refused == ["old/2"]
        assert here.names() == ["old/2", "old/1"]
