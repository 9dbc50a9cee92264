"""Google product feeds as text: tab-separated, or with commas."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TextIO

from groknet.importing.google import google_product
from groknet.importing.product import Entry, Refused
from groknet.importing.rows import addresses, rows


def read_google_table(text: TextIO, currency: str | None) -> Iterator[Entry]:
    """One product for each row."""
    for row in rows(text):
        if isinstance(row, Refused):
            yield row
        else:
            yield google_product(row, addresses(row["additional_image_link"]), currency)
