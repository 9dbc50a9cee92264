"""Copies of photos that are too large for an event, in HOME/uploads with a folder for each listing.

The submitter copies a photo here and sends its `file://` address. A copy is deleted once a newer event that no longer
references it has been processed. Every event that references the copy is older than that event, and an older event is
never computed again.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path

from engines.files import write_file
from schemas.events import ListingEvent

FOLDER = "uploads"
"""The name of the folder in a home."""


class Uploads:
    """The copies of one home. Several processes may use them at once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def put(self, listing_id: str, data: bytes, suffix: str) -> Path:
        """Store a copy of a photo and return its path. Storing the same photo again renews the copy."""
        place = self._place(listing_id)
        copy = place / f"{hashlib.sha256(data).hexdigest()[:32]}{suffix}"
        while True:
            try:
                os.utime(copy)
                return copy
            except FileNotFoundError:
                place.mkdir(parents=True, exist_ok=True)
            try:
                write_file(copy, data, shared=True)
            except FileNotFoundError:
                continue  # the folder was empty for a moment, and another process removed it

    def tidy(self, events: Iterable[ListingEvent]) -> None:
        """Delete copies that are older than an event of their listing and that this event does not reference."""
        try:
            with os.scandir(self._folder) as entries:
                if next(entries, None) is None:
                    return
        except FileNotFoundError:
            return
        for event in events:
            self._drop_older(event)

    def _drop_older(self, event: ListingEvent) -> None:
        place, named = self._place(event.listing_id), {ref.url for ref in event.images}
        try:
            copies = list(place.iterdir())
            for copy in copies:
                older = copy.stat().st_mtime_ns // 1000 < event.event_time
                if older and copy.resolve().as_uri() not in named:
                    copy.unlink(missing_ok=True)
            place.rmdir()
        except OSError:
            return  # there are no copies, some are still needed, or another process was faster

    def _place(self, listing_id: str) -> Path:
        return self._folder / hashlib.sha256(listing_id.encode()).hexdigest()[:16]
