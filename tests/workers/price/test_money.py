"""Amounts keep their exact text, and are rounded to the smallest unit of their currency."""

from __future__ import annotations

import math

import pytest

from schemas.events import Price
from workers.price.money import amount_of, digits_of, log_of


@pytest.mark.parametrize(
    ("log", "currency", "rounding", "text"),
    [
        (math.log(12.345), "EUR", "nearest", "12.34"),
        (math.log(12.345), "EUR", "down", "12.34"),
        (math.log(12.341), "EUR", "up", "12.35"),
        (math.log(12.5), "EUR", "down", "12.50"),
        (math.log(1999.5), "JPY", "nearest", "2000"),
        (math.log(1.2345), "KWD", "up", "1.235"),
        (math.log(0.001), "EUR", "down", "0.01"),
        (math.log(999999999.99), "EUR", "nearest", "999999999.99"),
    ],
)
def test_an_amount_is_rounded_to_its_currency(log: float, currency: str, rounding, text: str) -> None:
    assert amount_of(log, currency, rounding) == text


@pytest.mark.parametrize("amount", ["0.01", "1.00", "9.99", "12.50", "99999.99", "123456.78"])
@pytest.mark.parametrize("rounding", ["down", "up", "nearest"])
def test_an_exact_amount_comes_back_exactly(amount: str, rounding) -> None:
    """A logarithm and back must not move a price by a cent, in whichever direction it is rounded."""
    log = log_of(Price(amount=amount, currency="EUR"))
    assert log is not None
    assert amount_of(log, "EUR", rounding) == amount


def test_a_gift_has_no_logarithm() -> None:
    assert log_of(Price(amount="0.00", currency="EUR")) is None
    assert (digits_of("EUR"), digits_of("JPY"), digits_of("TND")) == (2, 0, 3)
