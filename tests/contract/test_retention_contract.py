"""What every store promises of inline photos that it keeps for a time only: they end, and nothing else does."""

from __future__ import annotations

import hashlib
import random
import time
from collections.abc import Callable, Sequence

import msgspec

from schemas.events import ImageRef, ListingEvent
from schemas.predictions import RemovalMarker, StoredListing
from tests.contract.backends import StoreBackend
from tests.contract.test_store_contract import apply, dump, effects, event, naive, timeless
from workers.stores import Store

AT_ONCE_S = 0.5
LONG_S = 3600.0
PATIENCE_S = 30.0


def inline(listing_id: str, at: int, photo: bytes = b"\xff\xd8 GPS 48.2 N") -> ListingEvent:
    """An event with one inline photo and one at an address."""
    plain = event(listing_id, at, ["a"])
    images = [*plain.images, ImageRef(image_id="b", data=photo)]
    return msgspec.structs.replace(plain, images=images, title="Red mug", seller_id="shop-7")


def bare(whole: ListingEvent) -> ListingEvent:
    """What is left of an event, worked out without the code under test."""
    images = [
        ref if ref.data is None else ImageRef(image_id=ref.image_id, url=f"groknet-expired:{_sha256(ref.data)}")
        for ref in whole.images
    ]
    return msgspec.structs.replace(whole, images=images)


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def read(store: Store, listing_id: str) -> StoredListing:
    found = store.get([listing_id])[listing_id]
    assert isinstance(found, StoredListing)
    return found


def until(done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not done():
        assert time.monotonic() < deadline, f"not done within {PATIENCE_S} s"
        time.sleep(0.02)


def all_bare(store: Store, events: Sequence[ListingEvent]) -> Callable[[], bool]:
    ids = [one.listing_id for one in events]

    def look() -> bool:
        found = store.get(ids).values()
        return not any(ref.data for one in found if isinstance(one, StoredListing) for ref in one.event.images)

    return look


def test_inline_photos_end_and_everything_else_stays(store_backend: StoreBackend) -> None:
    store = store_backend.build(AT_ONCE_S)
    whole = inline("mug", 5)
    listing, thumbnails = effects(whole)
    written = store.write(listing, thumbnails)
    until(all_bare(store, [whole]))
    left = read(store, "mug")
    assert timeless(left) == msgspec.structs.replace(listing, event=bare(whole))
    assert left.event.order == whole.order
    assert left.run == listing.run
    assert {i: store.thumbnail("mug", i) for i in "ab"} == thumbnails
    assert store.latest(["mug"]) == {"mug": written}
    assert list(store.scan()) == [left]
    # the same event again, as after a crash, brings nothing back and changes nothing
    assert store.write(listing, thumbnails) == written
    assert store.write(*effects(whole, "m2")).runs.keys() == {"m1", "m2"}
    assert read(store, "mug").event == bare(whole)
    store.close()


def test_until_then_they_are_there(store_backend: StoreBackend) -> None:
    for name, keep_s in (("mug", LONG_S), ("bowl", None)):
        store = store_backend.build(keep_s)
        store.write(*effects(inline(name, 5)))
        assert read(store, name).event == inline(name, 5)
        store.write(*effects(inline(name, 6, b"another photo")))
        assert read(store, name).event == inline(name, 6, b"another photo")
        store.remove(event(name, 7, []))
        store.write(*effects(inline(name, 6)))  # too late
        assert store.get([name]) == {name: RemovalMarker(listing_id=name, event_time=7)}
        store.close()


def test_of_two_events_of_one_microsecond_the_photos_are_those_of_the_one_that_wins(
    store_backend: StoreBackend,
) -> None:
    store = store_backend.build(LONG_S)
    for name, photos in (("mug", (b"one", b"two")), ("bowl", (b"two", b"one"))):
        pair = [inline(name, 5, photo) for photo in photos]
        for one in pair:
            store.write(*effects(one))
        assert read(store, name).event == max(pair, key=lambda one: one.order)
        store.remove(event(name, 5, []))
        assert store.get([name]) == {name: RemovalMarker(listing_id=name, event_time=5)}
    store.close()


def test_an_event_without_inline_photos_stays_as_it_is(store_backend: StoreBackend) -> None:
    store = store_backend.build(AT_ONCE_S)
    store.write(*effects(event("bowl", 5, ["a", "b"])))
    store.write(*effects(inline("mug", 5)))
    until(all_bare(store, [inline("mug", 5)]))
    assert read(store, "bowl").event == event("bowl", 5, ["a", "b"])
    store.close()


def test_in_every_order_the_same_listings_and_markers_are_left(store_backend: StoreBackend) -> None:
    rng = random.Random(7)
    events = [
        inline(f"listing-{n}", at, rng.randbytes(8)) if rng.random() < 0.7 else event(f"listing-{n}", at, [])
        for n in range(6)
        for at in (3, 4, 4, 5)
    ]
    store = store_backend.build(AT_ONCE_S)
    for one in rng.sample(events, len(events)):
        apply(store, one)
    until(all_bare(store, events))
    expected = {
        listing_id: (state if isinstance(state, RemovalMarker) else _left_of(state), thumbnails)
        for listing_id, (state, thumbnails) in naive(events).items()
    }
    assert dump(store, ["a", "b"]) == expected
    store.close()


def _left_of(state: StoredListing) -> StoredListing:
    return msgspec.structs.replace(state, event=bare(state.event))
