"""A loopback HTTP server of photos that fail for a while: the real cause that a retry needs."""

from __future__ import annotations

import random
import socket
import threading
import time

import msgspec

from schemas.events import ImageRef, ListingEvent
from tests.faults.poison import is_poison
from tests.workers.intake.loopback import Loopback, answer

LONGEST_AWAY_S = 3.0
"""Shorter than the retry delays together (1 s and 4 s), so that no photo is given up."""
_CLOSE = "Connection: close"  # the server hangs up after each answer, and a client must not ask there again
_UNAVAILABLE = answer(503, b"", _CLOSE)


class PhotoHost:
    """Serves photos by URL. Each fails for a given time after it is first asked for, then is served for ever."""

    def __init__(self) -> None:
        self._server = Loopback()
        self._lock = threading.Lock()
        self.photos: dict[str, bytes] = {}
        """The photo behind each URL that was offered."""

    @property
    def address(self) -> str:
        """HOST:PORT, as `intake.allowed_private` wants it."""
        return self._server.address

    def offer(self, path: str, photo: bytes, *, away_s: float, hangs: bool) -> str:
        """Serve a photo at `path`; returns its URL. For `away_s` seconds from the first request it answers 503, or
        nothing at all where `hangs`."""
        first: list[float] = []
        served = answer(200, photo, "Content-Type: image/jpeg", _CLOSE)

        def script(sock: socket.socket, text: str) -> None:
            with self._lock:
                first.append(time.monotonic())
            left_s = first[0] + away_s - time.monotonic()
            if left_s <= 0:
                served(sock, text)
            elif hangs:
                self._server.stopped.wait(left_s)  # then the connection is closed without an answer
            else:
                _UNAVAILABLE(sock, text)

        self._server.scripts[path] = script
        url = self._server.url(path)
        self.photos[url] = photo
        return url

    def close(self) -> None:
        """Stop serving."""
        self._server.close()


def addressed(
    events: list[ListingEvent], host: PhotoHost, seed: int, *, share: float, hanging: float
) -> list[ListingEvent]:
    """Give `share` of the events one good photo by URL instead of inline; the same event stays the same wherever it is
    repeated. `hanging`: the share of these photos that get no answer at first, where the others get 503."""
    rng = random.Random(f"addressed {seed}")
    changed: dict[str, ListingEvent] = {}
    for event in events:
        if event.event_id not in changed:
            moved = bool(event.images) and rng.random() < share
            changed[event.event_id] = _move(event, host, rng, hanging) if moved else event
    return [changed[event.event_id] for event in events]


def _move(event: ListingEvent, host: PhotoHost, rng: random.Random, hanging: float) -> ListingEvent:
    images = list(event.images)
    good = [at for at, ref in enumerate(images) if not is_poison(ref.data)]
    if not good:
        return event
    at = rng.choice(good)
    old = images[at]
    path = f"/{event.listing_id}/{event.event_id}/{old.image_id}.jpg"
    away_s, hangs = rng.uniform(0.3, LONGEST_AWAY_S), rng.random() < hanging
    url = host.offer(path, old.data or b"", away_s=away_s, hangs=hangs)
    images[at] = ImageRef(image_id=old.image_id, url=url)
    return msgspec.structs.replace(event, images=images)
