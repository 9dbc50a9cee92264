"""A planted bug: a removed listing's hashes stay in the topic. The oracle must catch what is still found."""

from __future__ import annotations

from groknet.cli import main
from schemas.predictions import RemovalMarker, StoredListing
from workers.stages.settle import Effects
from workers.streams.base import Delivery, Record

_send = Effects._send


def send_live_only(self: Effects, state: StoredListing | RemovalMarker, cause: Record) -> list[Delivery]:
    return [] if isinstance(state, RemovalMarker) else _send(self, state, cause)


Effects._send = send_live_only  # type: ignore[method-assign]

if __name__ == "__main__":
    main()
