"""Whose prices are gathered, and which neighbours are one product, with hashes made by hand."""

from __future__ import annotations

from typing import Any

from schemas.events import ImageRef, ListingEvent, Price
from schemas.predictions import ImageRow, StoredListing, Summary
from workers.indexer.wire import Neighbour
from workers.search.find.finder import Found
from workers.search.find.pricing import offers_of, products_of

RADIUS = 24


def code(*flipped: range) -> str:
    """A hash in which these bits are 1."""
    return f"{sum(1 << bit for bits in flipped for bit in bits):064x}"


def found(listing_id: str, distance: int, hash_: str, *, amount: str | None = "5.00", **fields: Any) -> Found:
    event = ListingEvent(
        event_id="e",
        listing_id=listing_id,
        event_time=1,
        type="created",
        images=[ImageRef(image_id="p", data=b"x")],
        price=None if amount is None else Price(amount=amount, currency="EUR"),
        **fields,
    )
    stored = StoredListing(
        listing_id=listing_id,
        event_time=1,
        model_version="m",
        epoch="0" * 12,
        event=event,
        summary=Summary(status="complete", predictions={}, bad_images=[]),
        images=[ImageRow(image_id="p", predictions={}, hash=hash_)],
        stored_at=1,
    )
    return Found(Neighbour(listing_id=listing_id, image_id="p", distance=distance), stored, 0.5)


SHOP = [
    found("copy", 10, code(range(10))),
    found("a1", 40, code(range(40))),
    found("a2", 44, code(range(44))),
    found("b1", 50, code(range(100, 150))),
    found("a3", 60, code(range(60))),
    found("unpriced", 61, code(range(150, 211)), amount=None),
]


def test_listings_within_the_radius_of_each_other_are_one_product() -> None:
    """a3 is 20 bits from a1, which came first; b1 is 90 bits from it."""
    products = products_of(SHOP, RADIUS, {})
    assert products == {"copy": None, "a1": "a1", "a2": "a1", "b1": "b1", "a3": "a1", "unpriced": "unpriced"}


def test_a_listing_that_the_store_does_not_know_is_a_product_of_its_own() -> None:
    unknown = Found(Neighbour(listing_id="new", image_id="p", distance=41), None, 0.5)
    assert products_of([SHOP[1], unknown], RADIUS, {}) == {"a1": "a1", "new": "new"}
    assert [
        offer.listing_id for offer in offers_of([SHOP[1], unknown], products_of([SHOP[1], unknown], RADIUS, {}), None)
    ] == ["a1"]


def test_only_listings_with_a_price_are_gathered_each_with_its_seller_and_product() -> None:
    offers = offers_of(SHOP, products_of(SHOP, RADIUS, {}), None)
    assert [(one.listing_id, one.product, one.distance) for one in offers] == [
        ("copy", None, 10),
        ("a1", "a1", 40),
        ("a2", "a1", 44),
        ("b1", "b1", 50),
        ("a3", "a1", 60),
    ]
    assert {one.seller for one in offers} == {None}


def test_neighbours_of_another_category_are_left_out_and_copies_stay() -> None:
    listings = [
        found("copy", 3, code(range(3)), category="cups", seller_id="s"),
        found("same", 40, code(range(40)), category="mugs"),
        found("other", 50, code(range(100, 150)), category="lamps"),
        found("silent", 60, code(range(150, 210))),
    ]
    products = products_of(listings, RADIUS, {})
    assert [one.listing_id for one in offers_of(listings, products, "mugs")] == ["copy", "same", "silent"]
    assert len(offers_of(listings, products, None)) == 4
    assert offers_of(listings, products, "mugs")[0].seller == "s"


def test_listings_that_were_grouped_are_one_product_whatever_their_distance() -> None:
    """b1 was grouped with the copy that is asked about, and a1 with the unpriced one. a2 and a3 are near a1."""
    grouped = {"copy": "p-1", "b1": "p-1", "a1": "p-2", "unpriced": "p-2"}
    assert products_of(SHOP, RADIUS, grouped) == {
        "copy": None,
        "a1": "p-2",
        "a2": "p-2",
        "b1": None,
        "a3": "p-2",
        "unpriced": "p-2",
    }
    grouped = {"asked": "p-2", "a1": "p-2"}
    found = products_of(SHOP, RADIUS, grouped, "asked")
    assert (found["a1"], found["a2"], found["a3"], found["b1"]) == (None, "a2", "a2", "b1")
