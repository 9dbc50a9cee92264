"""A steady load on a home's workers: listings into the stream and searches over HTTP, each in a thread."""

from __future__ import annotations

import http.client
import io
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from schemas.errors import GroknetError
from schemas.events import ImageRef, ListingEvent, encode_event
from schemas.topics import UPLOADED
from workers.streams import build_stream

SEARCHES_A_S = 4


def jpeg(seed: int) -> bytes:
    """A photo of its own for every seed."""
    file = io.BytesIO()
    noise = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    Image.fromarray(noise).resize((64, 48)).save(file, "JPEG")
    return file.getvalue()


def tinted(seed: int, channel: int) -> bytes:
    """A photo of its own for every seed, almost all of it in one colour channel (0 red, 1 green, 2 blue)."""
    file = io.BytesIO()
    noise = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    noise[..., [c for c in range(3) if c != channel]] //= 8
    Image.fromarray(noise).resize((64, 48)).save(file, "JPEG")
    return file.getvalue()


def event(listing: str, photo: bytes | str) -> bytes:
    """An event with one photo: its bytes, or its address."""
    ref = ImageRef(image_id="0", url=photo) if isinstance(photo, str) else ImageRef(image_id="0", data=photo)
    now_us = time.time_ns() // 1000
    made = ListingEvent(event_id=f"{listing}@", listing_id=listing, event_time=now_us, type="created", images=[ref])
    return encode_event(made)


class Load:
    """Uploads and searches until the end of the with-block."""

    def __init__(self, home: Path, search_port: int, uploads_a_s: float = 4) -> None:
        self._producer = build_stream(f"sqlite:///{home}/stream.db", "load").producer()
        self._port = search_port
        self._uploads_a_s = uploads_a_s
        self.photo: Callable[[int], bytes] = jpeg
        """The photo that is uploaded, by a number from 0 to 49."""
        self.searched = jpeg(1)
        """The photo that is searched with."""
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=loop) for loop in (self._upload, self._search)]
        self.extra: list[bytes | str] = []
        """Photos (bytes or addresses) that are sent as well, once with every third good one: a tagger ends by itself
        when half of the events are bad."""

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()
        self._producer.close()

    def send(self, topic: str, key: bytes, value: bytes) -> None:
        """Send one record; it is dropped if the stream does not answer."""
        try:
            self._producer.send(topic, key, value)
        except GroknetError:
            time.sleep(0.1)

    def _upload(self) -> None:
        number = turn = 0
        while not self._stop.wait(1 / self._uploads_a_s):
            turn += 1
            for photo in [self.photo(turn % 50), *(self.extra if turn % 3 == 0 else ())]:
                number += 1
                listing = f"load/{number}"
                self.send(UPLOADED, listing.encode(), event(listing, photo))

    def _search(self) -> None:
        while not self._stop.wait(1 / SEARCHES_A_S):
            connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=20)
            try:
                connection.request("POST", "/v1/search", self.searched, {"content-type": "image/jpeg"})
                connection.getresponse().read()
            except (OSError, http.client.HTTPException):
                continue  # the service is stopped, which is a fault of the test
            finally:
                connection.close()
