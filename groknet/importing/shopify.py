"""CSV exports of Shopify (Products → Export), with the column names before and after 2025.

Source: Shopify's documentation of its product CSV file. The rows of one product stand together and share its handle;
the first one has its title, and each has one photo or one variant. The export names no currency.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from typing import TextIO

from groknet.importing.product import Entry, LeftOut, Notes, Product, Refused
from groknet.importing.rows import Row, rows

_MOST_ROWS = 3_000  # of one product; Shopify allows 2,048 variants and 250 photos
_LAST = 1_000_000
_MOST_DIGITS = 18


def read_shopify(text: TextIO, currency: str | None) -> Iterator[Entry]:
    """One product for each handle."""
    for handle, group in groupby(rows(text), key=_handle):
        if handle is None:
            yield from (row for row in group if isinstance(row, Refused))
            continue
        found = [row for row, _ in zip(group, range(_MOST_ROWS), strict=False) if isinstance(row, Row)]
        yield _entry(found, currency)


def _handle(row: Row | Refused) -> str | None:
    return None if isinstance(row, Refused) else row.first("handle", "url_handle")


def _entry(found: list[Row], currency: str | None) -> Entry:
    first = found[0]
    if not (handle := first.first("handle", "url_handle")):
        return Refused(first.place, "handle", "missing; each row needs the handle of its product")
    status = first["status"].lower()
    if status in ("draft", "archived", "unlisted"):
        return LeftOut(first.place, f"its status is {status}")
    if first.first("published", "published_on_online_store").lower() == "false":
        return LeftOut(first.place, "not published")
    notes = Notes(first.place)
    prices = [text for row in found if (text := row.first("variant_price", "price"))]
    price = notes.price("price", prices[0], currency) if prices else None
    if any(row["option1_value"] for row in found) and not first["title"]:
        notes.add("title", "missing in the first row of the product")
    return Product(
        place=first.place,
        id=handle,
        title=first["title"] or None,
        category=first.first("product_category", "type") or None,
        photos=tuple(_photos(found, notes)),
        price=price,
        state="out_of_stock" if _sold_out(found) else "active",
        notes=notes.all,
    )


def _photos(found: list[Row], notes: Notes) -> Iterator[str]:
    """The photos by their position, then those of variants."""
    placed = []
    for number, row in enumerate(found):
        if address := row.first("image_src", "product_image_url"):
            position = row["image_position"]
            if position and not _whole(position):
                notes.add("image_position", f"{position[:20]!r} is no whole number")
            placed.append((int(position) if _whole(position) else _LAST, number, address))
    yield from (address for *_, address in sorted(placed))
    yield from (address for row in found if (address := row.first("variant_image", "variant_image_url")))


def _whole(text: str) -> bool:
    """Whether `int` reads a text as a whole number; it reads no `²`, which is a digit as well."""
    return text.isdecimal() and len(text) <= _MOST_DIGITS


def _sold_out(found: list[Row]) -> bool:
    """Whether every variant is counted, none is left, and none may be ordered ahead."""
    variants = [row for row in found if row.first("variant_price", "price")]

    def gone(row: Row) -> bool:
        quantity = row.first("variant_inventory_qty", "inventory_quantity")
        ahead = row.first("variant_inventory_policy", "continue_selling_when_out_of_stock").lower()
        tracked = row.first("variant_inventory_tracker", "inventory_tracker")
        counted = bool(tracked) and _whole(quantity.removeprefix("-")) and int(quantity) <= 0
        return counted and ahead not in ("continue", "true")

    return bool(variants) and all(gone(row) for row in variants)
