"""The photos that the review page shows: upright, small enough for a screen, without metadata, and only those of the
queue."""

from __future__ import annotations

import threading
from collections import OrderedDict
from pathlib import Path

from engines.pixels import thumbnail
from training.readers import read_photo
from training.readers.photo_bytes import split_shard
from training.readers.photo_paths import photo_path

SIDES = {"small": 160, "large": 1280}  # pixels of the longer side: a row of the list, and the stage of a wide screen
_MOST_BYTES = {"small": 20_000, "large": 600_000}
_CACHED_BYTES = 64_000_000  # about 300 large photos: the neighbours of the photo in view, and those just seen


class ReviewPhotos:
    """Reads photos below one folder. Thread-safe."""

    def __init__(self, root: Path) -> None:
        """`root`: the folder that all photos of the queue are in."""
        self._root = root.resolve()
        self._lock = threading.Lock()
        self._cache: OrderedDict[tuple[str, str], bytes] = OrderedDict()
        self._held = 0

    def read(self, path: str, size: str) -> bytes:
        """WebP bytes of the upright photo; its longer side has at most `SIDES[size]` pixels.

        Raises:
            ValueError: the path leads out of the root folder, also by a link.
            OSError: there is no such photo, or it cannot be read.
            Invalid: it is no photo, or a broken one.
        """
        key = path, size
        with self._lock:
            if key in self._cache:
                self._cache.move_to_end(key)
                return self._cache[key]
        data = thumbnail(self._bytes(path), SIDES[size], max_bytes=_MOST_BYTES[size])
        with self._lock:
            if key not in self._cache:
                self._cache[key] = data
                self._held += len(data)
            while self._held > _CACHED_BYTES:
                self._held -= len(self._cache.popitem(last=False)[1])
        return data

    def _bytes(self, path: str) -> bytes:
        path = photo_path(self._root, path)
        file, _ = split_shard(self._root, path)
        if not file.resolve().is_relative_to(self._root):
            raise ValueError("leads out of the folder of the photos; put the photo itself into the folder")
        return read_photo(self._root, path)
