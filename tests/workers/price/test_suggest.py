"""Whose prices count: sellers and not listings, one currency, and nobody alone."""

from __future__ import annotations

import math
import statistics
from decimal import Decimal

import pytest

from schemas.events import Price
from workers.price.suggest import Offer, suggest

SUPPORT = 5


def offer(number: int, amount: str, *, seller: str | None = "", currency: str = "EUR", **fields) -> Offer:
    named = f"s{number}" if seller == "" else seller
    values = {"distance": 5, "product": None} | fields
    return Offer(f"l{number}", Price(amount=amount, currency=currency), named, **values)


def own(*amounts: str, **fields) -> list[Offer]:
    return [offer(number, amount, **fields) for number, amount in enumerate(amounts)]


def test_the_point_is_the_geometric_mean_and_the_ends_are_around_it() -> None:
    amounts = ["8.00", "9.50", "10.00", "11.00", "12.00", "14.00"]
    found = suggest(own(*amounts), support=SUPPORT)
    assert found is not None
    logs = [math.log(float(amount)) for amount in amounts]
    half = 2.0150 * statistics.stdev(logs) * math.sqrt(7 / 6)
    assert float(found.point) == pytest.approx(statistics.geometric_mean(map(float, amounts)), abs=0.005)
    assert float(found.low) == pytest.approx(float(found.point) * math.exp(-half), abs=0.02)
    assert float(found.high) == pytest.approx(float(found.point) * math.exp(half), abs=0.02)
    assert (found.currency, found.sellers, found.listings, found.left_out, found.source) == ("EUR", 6, 6, 0, "copies")
    assert all(Decimal(text).as_tuple().exponent == -2 for text in (found.low, found.point, found.high))


def test_a_seller_counts_once_however_many_listings_he_has() -> None:
    others = own("10.00", "11.00", "9.00", "10.50", "9.50", "10.00")
    flood = [offer(100 + i, "15.00", seller="one") for i in range(200)]
    one = suggest([*others, flood[0]], support=SUPPORT)
    many = suggest([*others, *flood], support=SUPPORT)
    assert one is not None
    assert many is not None
    assert (one.low, one.point, one.high) == (many.low, many.point, many.high)
    assert (many.sellers, many.listings) == (7, 206)


def test_one_seller_alone_suggests_nothing() -> None:
    assert suggest([offer(i, "10.00", seller="one") for i in range(50)], support=SUPPORT) is None


def test_without_names_of_sellers_every_listing_counts() -> None:
    found = suggest(own(*["10.00"] * 5, seller=None), support=SUPPORT)
    assert found is not None
    assert found.sellers == 5


@pytest.mark.parametrize("count", [0, 1, 4])
def test_below_the_support_there_is_no_suggestion(count: int) -> None:
    assert suggest(own(*["10.00"] * count), support=SUPPORT) is None


def test_absurd_prices_do_not_count_as_support() -> None:
    four = ["10.00", "10.50", "11.00", "9.50"]
    assert suggest(own(*four, "0.01", "999999"), support=SUPPORT) is None
    found = suggest(own(*four, "9.80", "0.01", "999999"), support=SUPPORT)
    assert found is not None
    assert (found.sellers, found.left_out) == (5, 2)
    clean = suggest(own(*four, "9.80"), support=SUPPORT)
    assert clean is not None
    assert (found.low, found.high) == (clean.low, clean.high)


def test_currencies_are_never_mixed() -> None:
    euros = own(*["10.00"] * 5)
    dollars = [offer(20 + i, "30.00", currency="USD") for i in range(6)]
    most, asked = (
        suggest([*euros, *dollars], support=SUPPORT),
        suggest([*euros, *dollars], support=SUPPORT, currency="EUR"),
    )
    assert most is not None
    assert asked is not None
    assert (most.currency, most.point) == ("USD", "30.00")
    assert (asked.currency, asked.point) == ("EUR", "10.00")
    assert suggest([*euros, *dollars], support=SUPPORT, currency="JPY") is None
    flood = [offer(50 + i, "5", currency="JPY", seller="one") for i in range(90)]
    chosen = suggest([*euros, *dollars, *flood], support=SUPPORT)
    assert chosen is not None
    assert chosen.currency == "USD", "most sellers, not most listings"


def test_the_asker_is_not_asked() -> None:
    offers = own("10.00", "10.10", "9.90", "10.20", "9.80")
    assert suggest(offers, support=SUPPORT, without_seller="s0") is None
    more = suggest([*offers, offer(9, "10.00")], support=SUPPORT, without_seller="s0")
    assert more is not None
    assert more.sellers == 5


def test_neighbours_answer_where_the_product_has_too_few_sellers() -> None:
    near = [offer(30 + i, f"{20 + i}.00", distance=40 + i, product=f"p{i}") for i in range(8)]
    found = suggest([*own("22.00", "23.00"), *near], support=SUPPORT)
    assert found is not None
    assert (found.source, found.sellers) == ("neighbours", 10)
    assert suggest(near[:4], support=SUPPORT) is None


def test_a_neighbouring_product_and_a_seller_count_once_each() -> None:
    near = [offer(30 + i, f"{20 + i}.00", distance=40 + i, product=f"p{i}") for i in range(8)]
    crowd = [offer(60 + i, "20.00", distance=45, product="p0") for i in range(30)]
    same_seller = [offer(100 + i, "90.00", distance=60, product=f"q{i}", seller="s30") for i in range(30)]
    alone = suggest(near, support=SUPPORT)
    assert alone is not None
    assert suggest([*near, *crowd], support=SUPPORT) == alone
    assert suggest([*near, *same_seller], support=SUPPORT) == alone


def test_the_order_of_the_offers_does_not_matter() -> None:
    offers = [
        *own("22.00", "23.00", "0.01"),
        *[offer(30 + i, f"{20 + i}.00", distance=40, product=f"p{i % 6}") for i in range(12)],
    ]
    assert suggest(offers, support=SUPPORT) == suggest(offers[::-1], support=SUPPORT)


def test_a_gift_is_no_price() -> None:
    assert suggest(own(*["10.00"] * 4, "0.00"), support=SUPPORT) is None


@pytest.mark.parametrize(
    "amounts",
    [
        ["0.00000001"] * 3 + ["999999999999999999"] * 3,
        ["0.00000001"] * 5 + ["999999999999999999"] * 5,
        ["0.01", "999999999999999"] * 5,
        ["999999999999999999"] * 6 + ["900000000000000000", "950000000000000000"],
    ],
)
def test_prices_of_strangers_that_no_interval_can_hold_suggest_nothing(amounts: list[str]) -> None:
    found = suggest(own(*amounts), support=5)
    assert found is None or Decimal(found.high) < 10**18
    if len(set(amounts)) == 2:
        assert found is None
