"""A planted bug: whatever comes last wins, however old it is. The oracle must catch the listings that went back."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping

from groknet.cli import main
from schemas.predictions import StoredListing
from workers.stores.base import Latest, Order
from workers.stores.embedded import _store
from workers.tagger.effects import Effects

_put = _store.put_listing


def forget_and_put(
    db: sqlite3.Connection, listing: StoredListing, order: Order, thumbnails: Mapping[str, bytes]
) -> Latest:
    db.execute("DELETE FROM latest WHERE listing_id = ?", (listing.listing_id,))
    return _put(db, listing, order, thumbnails)


_store.put_listing = forget_and_put  # type: ignore[assignment]
Effects.superseded = lambda *_: False  # type: ignore[assignment,method-assign]

if __name__ == "__main__":
    main()
