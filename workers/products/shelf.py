"""What the products worker reads from the store: the products so far, the labels of listings, and who has left."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

from schemas.predictions import StoredListing
from workers.products.attributes import offered_labels
from workers.products.grouping import Grouping, Labels
from workers.products.naming import Book
from workers.stores import Store

_PAGE = 500
T = TypeVar("T")
Beat = Callable[[], object]
"""Is called after each page. What it raises ends the call."""


def read_book(store: Store, beat: Beat = lambda: None) -> Book:
    """The products and memberships of a store. Raises Transient."""
    return Book(_beating(store.all_products(), beat), _beating(store.all_memberships(), beat))


def _beating(rows: Iterable[T], beat: Beat) -> Iterator[T]:
    for number, row in enumerate(rows, 1):
        yield row
        if number % _PAGE == 0:
            beat()


def read_labels(store: Store, listing_ids: Sequence[str]) -> dict[str, Labels]:
    """By listing, the labels that its stored summary offers. A listing without rows is left out. Raises Transient."""
    stored = store.get(listing_ids)
    return {name: offered_labels(one.summary) for name, one in stored.items() if isinstance(one, StoredListing)}


def who_left(store: Store, grouping: Grouping, beat: Beat = lambda: None) -> None:
    """Compare the book with a topic that was read to its end, and note the listings that have left.

    A listing that the topic does not know may not have reached the topic of a new epoch yet. It keeps its product
    unless the store says that it was removed. Raises Transient.
    """
    book, links = grouping.book, grouping.links
    founders = {one.founder: one.founded for one in book.products.values()}
    since = founders | {name: one.since for name, one in book.memberships.items()}
    absent = sorted(name for name in since if name not in links)
    for start in range(0, len(absent), _PAGE):
        page = absent[start : start + _PAGE]
        latest = store.latest(page)
        for name in page:
            newest = latest.get(name)
            if newest is None or newest.removed or links.knows(name):
                grouping.leave(name, since[name] if newest is None else newest.order[0])
        beat()
