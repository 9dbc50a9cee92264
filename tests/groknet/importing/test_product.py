"""Prices and states in the ways that shops write them, against values written by hand."""

from __future__ import annotations

import pytest

from groknet.importing.product import price_of, state_of

PRICES = {
    "15.00 USD": "15.00 USD",
    "15 USD": "15 USD",
    "USD 15": "15 USD",
    "15.5eur": "15.5 EUR",
    "15,00 EUR": "15.00 EUR",
    "1,299.00 USD": "1299.00 USD",
    "1.299,00 EUR": "1299.00 EUR",
    "1,234,567 JPY": "1234567 JPY",
    "1'299.50 CHF": "1299.50 CHF",
    "1 299,50 SEK": "1299.50 SEK",
    "1\u00a0299 SEK": "1299 SEK",
    "0,99 EUR": "0.99 EUR",
    "00.99 EUR": "0.99 EUR",
    "12": "12 GBP",
    "£12.50": "12.50 GBP",
}


@pytest.mark.parametrize("text", PRICES)
def test_a_price_is_read(text: str) -> None:
    price = price_of(text, "GBP")
    assert price is not None
    assert f"{price.amount} {price.currency}" == PRICES[text]


@pytest.mark.parametrize(
    "text", ["1,299 EUR", "5-7 EUR", "free", "5 EUR 6 USD", "-5 EUR", "5 EUR USD", "1" * 20 + " EUR"]
)
def test_what_can_be_read_in_two_ways_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="write"):
        price_of(text, "GBP")


def test_a_price_without_a_currency_names_the_remedy() -> None:
    with pytest.raises(ValueError, match="--currency"):
        price_of("12.50")
    assert price_of("  ") is None


def test_states_of_both_vocabularies() -> None:
    words = (
        "in stock",
        "in_stock",
        "https://schema.org/InStock",
        "InStock",
        "",
        "OutOfStock",
        "out of stock",
        "PreOrder",
    )
    states = ["active"] * 5 + ["out_of_stock"] * 2 + ["preorder"]
    assert [state_of(word) for word in words] == states
    assert state_of("on the moon") is None
