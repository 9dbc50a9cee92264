"""Makes listing events from photos and folders. The same folder always makes the same events.

A photo below an allowed root of `[intake]` is sent as its `file://` address. Another photo is sent inside the event if
it is small enough. Otherwise it is sent as the `file://` address of a copy in HOME/uploads, which every worker of this
home may read. The copies of a listing have their own folder. A newer event deletes the copies that it does not name.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from groknet.cli.exits import CommandError, Exit
from schemas.events import MAX_INLINE_BYTES, ImageRef, ListingEvent
from workers.intake import Uploads

IMAGE_SUFFIXES = frozenset(
    [".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".heic", ".heif", ".avif"]
)
EVENT_SUFFIXES = frozenset((".ndjson", ".jsonl"))
PRODUCER = "groknet submit"
_MAX_ID = 128
_FOREIGN = re.compile(r"[^A-Za-z0-9._:/-]")


@dataclass(frozen=True, slots=True)
class Photo:
    """A photo file, and the listing that it becomes."""

    path: Path
    listing_id: str


def listing_id(relative: str) -> str:
    """The listing id of a photo: its path relative to the given folder, without its extension.

    Characters that an id may not have become `_`, and an id that is too long loses its beginning. If either happens,
    the first 8 hex digits of the SHA-256 of the original path are added, so that two paths never give the same listing.
    """
    clean = _FOREIGN.sub("_", relative)
    if clean == relative and 0 < len(clean) <= _MAX_ID:
        return clean
    digest = hashlib.sha256(os.fsencode(relative)).hexdigest()[:8]
    return f"{clean[-(_MAX_ID - 9) :]}-{digest}"


def find_photos(paths: Sequence[Path]) -> list[Photo]:
    """All photos of `paths`, sorted. A file is one photo; a folder has one for every file with an image suffix.

    If files of a folder differ only in their extension, the later ones keep it in their id. Raises CommandError if a
    path does not exist, or if two given paths give the same listing id.
    """
    found: dict[str, Path] = {}
    for path in paths:
        for photo in _photos_of(path):
            other = found.setdefault(photo.listing_id, photo.path)
            if other != photo.path:
                text = f"{other} and {photo.path} are both listing {photo.listing_id}; submit the folder above both"
                raise CommandError(text, Exit.USAGE)
    return [Photo(path, name) for name, path in found.items()]


def _photos_of(path: Path) -> Iterator[Photo]:
    if path.is_file():
        yield Photo(path, listing_id(path.stem))
        return
    if not path.is_dir():
        raise CommandError(f"{path}: no such file or folder", Exit.NOT_FOUND)
    taken: set[str] = set()
    for file in _image_files(path):
        relative = file.relative_to(path)
        name = listing_id(relative.with_suffix("").as_posix())
        if name in taken:
            name = listing_id(relative.as_posix())
        taken.add(name)
        yield Photo(file, name)
    if not taken:
        raise CommandError(f"{path}: has no photo ({' '.join(sorted(IMAGE_SUFFIXES))})", Exit.NOT_FOUND)


def _image_files(folder: Path) -> Iterator[Path]:
    """The photo files of a folder, sorted. Hidden files and folders are left out. Links to folders are not followed."""
    for place, folders, files in os.walk(folder):
        folders[:] = sorted(f for f in folders if not f.startswith("."))
        for name in sorted(files):
            path = Path(place, name)
            if not name.startswith(".") and path.suffix.lower() in IMAGE_SUFFIXES and path.is_file():
                yield path


def photo_event(photo: Photo, uploads: Path, roots: Sequence[Path]) -> ListingEvent:
    """The event of one photo. `event_time` is the file's modification time in UTC microseconds. The event id depends on
    the content.

    Raises CommandError if the file cannot be read.
    """
    try:
        data = photo.path.read_bytes()
        mtime_us = photo.path.stat().st_mtime_ns // 1000
    except OSError as error:
        raise CommandError(f"{photo.path}: cannot be read ({error.strerror})", Exit.NOT_FOUND) from None
    event_time = max(1, mtime_us)  # files of an archive without times are of 1970, and 0 is not a valid event time
    digest = hashlib.sha256(data).hexdigest()
    identity = hashlib.sha256(f"{photo.listing_id}\n{event_time}\n{digest}".encode()).hexdigest()[:32]
    return ListingEvent(
        event_id=f"submit-{identity}",
        listing_id=photo.listing_id,
        event_time=event_time,
        type="created",
        images=[_reference(photo, data, uploads, roots)],
        producer=PRODUCER,
    )


def _reference(photo: Photo, data: bytes, uploads: Path, roots: Sequence[Path]) -> ImageRef:
    path = photo.path.resolve()
    if any(path.is_relative_to(root.resolve()) for root in roots):
        return ImageRef(image_id="1", url=path.as_uri())
    if len(data) <= MAX_INLINE_BYTES:
        return ImageRef(image_id="1", data=data)
    copy = Uploads(uploads).put(photo.listing_id, data, path.suffix.lower())
    return ImageRef(image_id="1", url=copy.resolve().as_uri())
