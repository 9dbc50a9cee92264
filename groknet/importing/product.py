"""What a feed says about one product, in the words of our events, whatever the format of the feed is."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from schemas.events import Price

ACTIVE = "active"
_STATES = {
    "instock": ACTIVE,
    "onlineonly": ACTIVE,
    "instoreonly": ACTIVE,
    "limitedavailability": ACTIVE,
    "availablefororder": ACTIVE,
    "outofstock": "out_of_stock",
    "soldout": "out_of_stock",
    "reserved": "out_of_stock",
    "preorder": "preorder",
    "presale": "preorder",
    "backorder": "backorder",
    "madetoorder": "backorder",
    "discontinued": "discontinued",
}
_AMOUNT = re.compile(r"[0-9][0-9.,' \u00a0\u202f]*")
_CURRENCY = re.compile(r"(?<![A-Za-z])[A-Za-z]{3}(?![A-Za-z])")
_PLAIN = re.compile(r"[0-9]{1,18}(\.[0-9]{1,8})?")
_THOUSANDS = re.compile(r"[0-9]{1,3}([,.'])[0-9]{3}(\1[0-9]{3})*")


@dataclass(frozen=True, slots=True)
class Note:
    """A field of a product that could not be used. The product itself is imported without it."""

    place: str
    field: str
    why: str


@dataclass(frozen=True, slots=True)
class Product:
    """One product of a feed.

    Attributes:
        place: where it stands, such as `line 12`.
        id: the shop's own id.
        title, category: as the shop writes them; None if it does not.
        photos: absolute addresses, the main photo first.
        price: None if there is none, or none that can be read.
        state: `active`, or why it cannot be bought now.
        notes: the fields that could not be used.
    """

    place: str
    id: str
    title: str | None
    category: str | None
    photos: tuple[str, ...]
    price: Price | None = None
    state: str = ACTIVE
    notes: tuple[Note, ...] = ()


@dataclass(frozen=True, slots=True)
class Refused:
    """A product, or a part of the feed, that cannot be imported. `field` is empty if no single field is to blame.
    `ends`: the rest of the feed could not be read."""

    place: str
    field: str
    why: str
    ends: bool = False


@dataclass(frozen=True, slots=True)
class LeftOut:
    """An entry that is right and still becomes no listing, such as a draft."""

    place: str
    why: str


Entry = Product | Refused | LeftOut


class Reader(Protocol):
    """Reads one format. It holds one product in memory at a time."""

    def __call__(self, feed: object, currency: str | None) -> Iterator[Entry]:
        """The entries of a feed in their order. `currency`: of prices that name none."""


def state_of(availability: str) -> str | None:
    """The state for an availability of Google or schema.org: `in stock`, `in_stock`, `https://schema.org/InStock`.
    Empty means active. None if the word is not known."""
    word = re.sub(r"[^a-z]", "", availability.rpartition("/")[2].lower())
    return _STATES.get(word) if word else ACTIVE


def price_of(text: str, currency: str | None = None) -> Price | None:
    """The price in a text such as `15.00 USD`, `1,299.00 USD`, `15,00 EUR` or `15`. None for an empty text.

    Raises:
        ValueError: it cannot be read with certainty, or its currency is not known. The text has the remedy.
    """
    if not text.strip():
        return None
    amounts, currencies = _AMOUNT.findall(text), _CURRENCY.findall(text)
    if len(amounts) != 1 or len(currencies) > 1 or "-" in text:
        raise ValueError(f"{text[:40]!r} is no price; write it like 15.00 EUR")
    named = (currencies[0] if currencies else currency or "").upper()
    if not re.fullmatch("[A-Z]{3}", named):
        raise ValueError(f"{text[:40]!r} names no currency; give it with --currency")
    return Price(amount=_amount(amounts[0], text), currency=named)


def _amount(number: str, text: str) -> str:
    """The amount with a decimal point, without separators of thousands and without zeros in front."""
    plain = re.sub(r"['\s\u00a0\u202f]", "", number).rstrip(".,")
    comma, point = plain.rfind(","), plain.rfind(".")
    if comma >= 0 and point >= 0:  # the last one separates the decimals
        plain = plain.replace(",", "") if point > comma else plain.replace(".", "").replace(",", ".")
    elif comma >= 0:
        if _THOUSANDS.fullmatch(plain) and plain.count(",") == 1:
            raise ValueError(f"{text[:40]!r} can be read in two ways; write a decimal point, as in 1299.00 EUR")
        plain = plain.replace(",", "") if plain.count(",") > 1 else plain.replace(",", ".")
    plain = plain.lstrip("0") or "0"
    plain = f"0{plain}" if plain.startswith(".") else plain
    if not _PLAIN.fullmatch(plain):
        raise ValueError(f"{text[:40]!r} is no price; write it like 15.00 EUR")
    return plain


class Notes:
    """Collects the notes of one product."""

    def __init__(self, place: str) -> None:
        self._place = place
        self._found: list[Note] = []

    def add(self, field: str, why: str) -> None:
        """Note that a field cannot be used."""
        self._found.append(Note(self._place, field, why))

    def price(self, field: str, text: str, currency: str | None) -> Price | None:
        """The price in `text`; None with a note if it cannot be read."""
        try:
            return price_of(text, currency)
        except ValueError as why:
            self.add(field, str(why))
            return None

    def state(self, field: str, availability: str) -> str:
        """The state for an availability; `active` with a note if the word is not known."""
        state = state_of(availability)
        if state is None:
            self.add(field, f"{availability[:40]!r} is not known; write in_stock, out_of_stock, preorder or backorder")
        return state or ACTIVE

    @property
    def all(self) -> tuple[Note, ...]:
        """The notes so far."""
        return tuple(self._found)
