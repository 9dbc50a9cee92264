"""Copies of photos that are too large to travel inside an event: HOME/uploads, a folder a listing.

Who submits a photo copies it here and sends its `file://` address. A copy is dropped when an event comes that is newer
than the copy: every event that could name the copy was made before it, so that it is older than that event, and what
is older is never computed again.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path

from engines.files import write_file
from schemas.events import ListingEvent

FOLDER = "uploads"
"""In a home."""


class Uploads:
    """The copies of one home. Any number of processes may use it at once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def put(self, listing_id: str, data: bytes, suffix: str) -> Path:
        """Keep a copy of a photo; returns where it is. The same photo again is one copy, as of now."""
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
                continue  # the folder was empty for a moment, and went

    def tidy(self, events: Iterable[ListingEvent]) -> None:
        """Drop the copies of the events' listings that are older than the events and that these do not name."""
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
            return  # no copies, or another process was faster, or some are left

    def _place(self, listing_id: str) -> Path:
        return self._folder / hashlib.sha256(listing_id.encode()).hexdigest()[:16]
