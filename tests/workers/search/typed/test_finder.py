"""The finder over a real store: its last word, the best photo, filters, and the order beside a photo."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest
from msgspec import structs

from engines.words import Phrases
from schemas.events import ListingEvent
from schemas.manifest import load_manifest
from schemas.predictions import ImageRow, Prediction
from tests.engines.tiny_bundle import write_tiny_bundle
from tests.workers.indexer.hash_topic import BASE_US, stream_at
from tests.workers.search.typed.test_follower import stored
from workers.indexer.wire import Neighbour
from workers.search.find.filters import ANY, Filters
from workers.search.find.finder import Found
from workers.search.find.labels.naming import Names
from workers.search.typed.finder import TypedFinder, reordered
from workers.search.typed.follower import Follower
from workers.search.typed.label_index import LabelIndex
from workers.search.typed.query import Reader, title_words
from workers.stores import Store, build_store


@dataclass
class Shop:
    finder: TypedFinder
    index: LabelIndex
    store: Store

    def add(self, name: str, p: float, **fields: object) -> None:
        """Store a listing, and put it into the index as the follower does."""
        listing = stored(name, p)
        listing = structs.replace(listing, event=structs.replace(listing.event, **fields))
        self.store.write(listing, {})
        self.index.put(name, listing.summary.predictions, title_words(listing.event.title or ""))

    def found(self, text: str, count: int = 100, only: Filters = ANY, titles: bool = False) -> list[tuple[str, float]]:
        hits = self.finder.find(self.finder.read(text, titles=titles), count, only).hits
        return [(hit.listing.listing_id, hit.relevance) for hit in hits]


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    write_tiny_bundle(tmp_path / "bundle")
    manifest = load_manifest(tmp_path / "bundle")
    names, index = Names(manifest), LabelIndex(most=1000)
    with closing(build_store(f"sqlite://{tmp_path}/store.db")) as store:
        follower = Follower(index, stream=stream_at(tmp_path), store=store, names=names, epoch=manifest.epoch)
        reader = Reader(manifest, Phrases(manifest))
        yield Shop(TypedFinder(index, follower, reader, store, names), index, store)


def test_the_store_has_the_last_word(shop: Shop) -> None:
    for name, p in (("a", 0.9), ("b", 0.8), ("c", 0.7)):
        shop.add(name, p)
    shop.store.remove(ListingEvent(event_id="g", listing_id="b", event_time=BASE_US + 2, type="removed"))
    shop.store.write(stored("a", 0.3, time=2), {})  # the index still has the older state
    assert shop.found("red") == [("c", 0.7), ("a", 0.3)]
    assert shop.found("red", count=1) == [("c", 0.7)]
    shop.store.write(stored("c", 0.7, time=3, photos=0), {})
    assert shop.found("red") == [("a", 0.3)]


def test_filters_look_further_until_enough_pass(shop: Shop) -> None:
    for i in range(60):
        shop.add(f"l/{i:02}", 0.99 - i / 100, category="old" if i < 55 else "new")
    assert [name for name, _ in shop.found("red", 3, Filters(categories=frozenset(["new"])))] == [
        "l/55",
        "l/56",
        "l/57",
    ]
    assert shop.found("red", 3, Filters(states=frozenset(["sold"]))) == []


def test_the_photo_that_answers_best_is_shown(shop: Shop) -> None:
    rows = [
        ImageRow(image_id=str(p), predictions={"colour": [Prediction(label="red", probability=p)]}, hash="0" * 64)
        for p in (0.2, 0.9, 0.4)
    ]
    shop.add("a", 0.5)
    shop.store.write(structs.replace(stored("a", 0.5, time=2), images=rows), {})
    typed = shop.finder.read("red", titles=True)
    (hit,) = shop.finder.find(typed, 5, ANY).hits
    assert (hit.row.image_id, hit.relevance) == ("0.9", 0.5)
    assert shop.finder.shown([hit], "en")[0].image_id == "0.9"


def test_neighbours_are_ordered_by_relevance_times_likeness(shop: Shop) -> None:
    neighbours = [
        Found(Neighbour(listing_id=name, image_id="0", distance=d), stored(name, p) if p else None, likeness)
        for name, p, d, likeness in (("a", 0.1, 1, 0.9), ("b", 0.9, 40, 0.5), ("c", 0.0, 50, 0.4), ("d", 0.5, 60, 0.3))
    ]
    typed = shop.finder.read("red", titles=False)
    ordered = reordered(shop.finder.scored(neighbours, typed))
    assert [(one.photo.listing_id, one.relevance) for one in ordered] == [
        ("b", 0.9),
        ("d", 0.5),
        ("a", 0.1),
        ("c", 0.0),
    ]
    unknown = shop.finder.read("xyzzy", titles=False)
    assert reordered(shop.finder.scored(neighbours, unknown)) == neighbours


def test_a_filter_that_ends_the_search_too_early_is_told(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workers.search.typed.finder.MAX_ASKED", 20)
    for i in range(60):
        shop.add(f"l/{i:02}", 0.99 - i / 100, category="old" if i < 55 else "new")
    typed = shop.finder.read("red", titles=False)
    new = Filters(categories=frozenset(["new"]))
    assert shop.finder.find(typed, 3, new) == ([], False, False)
    assert shop.finder.find(typed, 3, ANY).whole
    assert shop.finder.find(typed, 3, Filters(categories=frozenset(["old"]))).whole
