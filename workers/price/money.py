"""Amounts of money: exact decimal text outside, natural logarithms inside.

Prices of one product differ by factors and not by sums, so they are compared as logarithms. An amount that leaves is
rounded to the smallest unit of its currency (ISO 4217).
"""

from __future__ import annotations

import math
from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_EVEN, Decimal
from typing import Literal

from schemas.events import Price

_WITHOUT_DIGITS = "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF"
_WITH_THREE = "BHD IQD JOD KWD LYD OMR TND"
_DIGITS = dict.fromkeys(_WITHOUT_DIGITS.split(), 0) | dict.fromkeys(_WITH_THREE.split(), 3) | {"CLF": 4, "UYW": 4}
LARGEST_LOG = 41.4
"""The natural logarithm of the largest amount that is written: 18 digits, as events have."""
_ROUNDING = {"down": ROUND_FLOOR, "up": ROUND_CEILING, "nearest": ROUND_HALF_EVEN}


def digits_of(currency: str) -> int:
    """The decimals of a currency's smallest unit: 2 for most, 0 for yen, 3 for the dinar of Kuwait (ISO 4217)."""
    return _DIGITS.get(currency, 2)


def log_of(price: Price) -> float | None:
    """The natural logarithm of an amount in the main unit; None for an amount of 0, which is a gift and no price."""
    amount = Decimal(price.amount)
    return math.log(amount) if amount else None


def amount_of(log_amount: float, currency: str, rounding: Literal["down", "up", "nearest"]) -> str:
    """The amount as exact text with the decimals of its currency, at least one smallest unit.

    `log_amount` is the natural logarithm of the amount in the main unit, at most `LARGEST_LOG`.
    """
    unit = Decimal(1).scaleb(-digits_of(currency))
    # A whole amount comes back from its logarithm with an error in the 14th digit, which must not become a cent.
    exact = Decimal(f"{math.exp(log_amount):.12g}")
    return f"{max(exact.quantize(unit, rounding=_ROUNDING[rounding]), unit):f}"
