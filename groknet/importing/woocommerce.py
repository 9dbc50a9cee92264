"""CSV exports of WooCommerce (Products → Export).

Source: WooCommerce's documentation of its product CSV schema. The export names no currency. A variation with photos of
its own is a listing of its own; another one is shown by the photos of its product.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TextIO

from groknet.importing.product import ACTIVE, Entry, LeftOut, Notes, Product, Refused
from groknet.importing.rows import Row, addresses, listed, rows

_NO = ("0", "no", "false")
_GUARDED = re.compile(r"^'(?=[=+\-@])")  # the export writes ' before what a spreadsheet would take for a formula


def read_woocommerce(text: TextIO, currency: str | None) -> Iterator[Entry]:
    """One product for each row."""
    for row in rows(text):
        yield row if isinstance(row, Refused) else _entry(row, currency)


def _entry(row: Row, currency: str | None) -> Entry:
    kinds = {kind.lower() for kind in listed(row["type"])}
    photos = addresses(row["images"])
    if row["published"].lower() in (*_NO, "-1"):  # 0: private, -1: a draft
        return LeftOut(row.place, "not published")
    if "grouped" in kinds:
        return LeftOut(row.place, "a group of products, which are listed themselves")
    if "variation" in kinds and not photos:
        return LeftOut(row.place, "a variation without photos of its own, which its product shows")
    if not (identity := row.first("sku", "id")):
        return Refused(row.place, "sku", "missing, and there is no id either; one of them is needed")
    notes = Notes(row.place)
    scheduled = row.first("date_sale_price_starts", "date_sale_price_ends")
    sale = "" if scheduled else row["sale_price"]
    price = notes.price("sale_price", sale, currency) or notes.price("regular_price", row["regular_price"], currency)
    return Product(
        place=row.place,
        id=identity,
        title=_GUARDED.sub("", row["name"]) or None,
        category=_deepest(listed(row["categories"])),
        photos=photos,
        price=price,
        state=_state(row, notes),
        notes=notes.all,
    )


def _deepest(categories: list[str]) -> str | None:
    """The category with the longest path: `Clothing > Shirts` rather than `Clothing`."""
    return max(categories, key=lambda path: path.count(">"), default=None)


def _state(row: Row, notes: Notes) -> str:
    stock = row["in_stock"].lower()
    if stock in _NO:
        return "out_of_stock"
    if stock == "backorder":
        return "backorder"
    if stock not in ("", "1", "yes", "true"):
        notes.add("in_stock", f"{stock[:40]!r} is not known; write 1, 0 or backorder")
    return ACTIVE
