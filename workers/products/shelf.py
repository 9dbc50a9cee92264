"""What the products worker reads from the store: the products so far, the labels of listings, and who has left."""

from __future__ import annotations

from collections.abc import Sequence

from schemas.predictions import StoredListing
from workers.products.attributes import offered_labels
from workers.products.grouping import Grouping, Labels
from workers.products.naming import Book
from workers.stores import Store

_PAGE = 500


def read_book(store: Store) -> Book:
    """The products and memberships of a store. Raises Transient."""
    return Book(store.all_products(), store.all_memberships())


def read_labels(store: Store, listing_ids: Sequence[str]) -> dict[str, Labels]:
    """By listing, the labels that its stored summary offers. A listing without rows is left out. Raises Transient."""
    stored = store.get(listing_ids)
    return {name: offered_labels(one.summary) for name, one in stored.items() if isinstance(one, StoredListing)}


def who_left(store: Store, grouping: Grouping) -> None:
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
