"""What a product of a Google product feed is, in whichever form it came.

Source: the product data specification of Google Merchant Center (attributes `id`, `title`, `image link`, `additional
image link`, `availability`, `price`, `sale price`, `google product category`, `product type`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from groknet.importing.product import Notes, Product, Refused


class Attributes(Protocol):
    """The attributes of one product by name, with `_` for blanks."""

    @property
    def place(self) -> str:
        """Where it stands."""

    def first(self, *names: str) -> str:
        """The first value that is not empty."""


def google_product(found: Attributes, more_photos: Sequence[str], currency: str | None) -> Product | Refused:
    """The product with these attributes. `more_photos`: the additional image links."""
    if not (identity := found.first("id")):
        return Refused(found.place, "id", "missing; each product needs an id")
    notes = Notes(found.place)
    sale = "" if found.first("sale_price_effective_date") else found.first("sale_price")  # else it may be over
    price = notes.price("sale_price", sale, currency) or notes.price("price", found.first("price"), currency)
    return Product(
        place=found.place,
        id=identity,
        title=found.first("title", "structured_title") or None,
        category=_category(found) or None,
        photos=tuple(photo for photo in (found.first("image_link"), *more_photos) if photo),
        price=price,
        state=notes.state("availability", found.first("availability")),
        notes=notes.all,
    )


def _category(found: Attributes) -> str:
    """Google's category if it is written out, else the shop's own, else the number of Google's."""
    official = found.first("google_product_category")
    return official if official and not official.isdigit() else found.first("product_type") or official
