"""What the worker reads from the store: the book, labels of rows, and who has left."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from schemas.products import Membership, Product, first_id
from tests.contract.test_store_contract import effects, event
from tests.workers.products.shop import BIRTH, EPOCH
from tests.workers.products.test_links import message
from workers.products.attributes import offered_labels
from workers.products.grouping import Grouping
from workers.products.settings import ProductsSettings
from workers.products.shelf import read_book, read_labels, who_left
from workers.stores import Store, build_store


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with closing(build_store(f"sqlite://{tmp_path}/store.db")) as made:
        yield made


def test_labels_are_the_offered_ones_of_the_summary_and_unknown_listings_have_none(store: Store) -> None:
    listing, thumbnails = effects(event("l", 1))
    store.write(listing, thumbnails)
    assert read_labels(store, ["l", "unknown"]) == {"l": offered_labels(listing.summary)}


def test_the_loop_beats_after_each_page_of_the_book_and_of_those_who_may_have_left(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workers.products.shelf._PAGE", 10)
    names = [f"l-{n:02}" for n in range(35)]
    products = [Product(product_id=first_id(name, BIRTH), founded=BIRTH, founder=name) for name in names]
    rows = [Membership(listing_id=one.founder, product_id=one.product_id, since=BIRTH) for one in products]
    store.put_products(products, rows)
    beats: list[int] = []
    book = read_book(store, lambda: beats.append(1))
    assert (len(book.products), len(book.memberships), len(beats)) == (35, 35, 3 + 3)
    grouping = Grouping(ProductsSettings(), EPOCH, book, lambda _: {})
    who_left(store, grouping, lambda: beats.append(1))
    assert (len(grouping.gone), len(beats)) == (35, 3 + 3 + 4)

    class Lost(Exception):
        pass

    def lost() -> None:
        raise Lost

    with pytest.raises(Lost):
        read_book(store, lost)


def test_who_was_removed_or_has_no_photo_left_and_who_is_not_read_yet_stays(store: Store) -> None:
    names = ("here", "later", "empty", "removed", "never")
    product = Product(product_id=first_id("here", BIRTH), founded=BIRTH, founder="here")
    lost = Product(product_id=first_id("lost", BIRTH), founded=BIRTH, founder="lost")
    members = [Membership(listing_id=name, product_id=product.product_id, since=BIRTH) for name in names]
    store.put_products([product, lost], members)
    for number, name in enumerate(("here", "later", "empty", "removed")):
        store.write(*effects(event(name, number + 1)))
    gone = event("removed", 9, ())
    store.remove(gone)
    grouping = Grouping(ProductsSettings(), EPOCH, read_book(store), lambda _: {})
    grouping.put(message("here", 1))
    grouping.put(message("empty"))
    grouping.gone.clear()
    who_left(store, grouping)
    assert grouping.gone.keys() == {"empty", "removed", "never", "lost"}
    assert grouping.gone["removed"] == gone.event_time
