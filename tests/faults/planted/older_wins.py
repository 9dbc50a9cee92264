"""A planted bug: whatever comes last wins, however old it is. The oracle must catch the listings that went back."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping

from groknet.cli import main
from schemas.predictions import StoredListing
from workers.stages.settle import Effects
from workers.stores.base import Latest
from workers.stores.embedded import _tables

_put = _tables.put_listing


def forget_and_put(
    db: sqlite3.Connection, listing: StoredListing, thumbnails: Mapping[str, bytes], inline_photos_s: float | None
) -> Latest:
    db.execute("DELETE FROM latest WHERE listing_id = ?", (listing.listing_id,))
    _tables._clear(db, listing.listing_id)
    return _put(db, listing, thumbnails, inline_photos_s)


_tables.put_listing = forget_and_put
Effects.superseded = lambda _, jobs: [False] * len(jobs)  # type: ignore[assignment,method-assign]

if __name__ == "__main__":
    main()
