"""Makes listing events from photos and folders. The same folder always makes the same events.

A photo below an allowed root of `[intake]` is sent as a `file://` address. Another one is sent inside the event if it
is small enough, and else as the `file://` address of a copy in HOME/uploads, which every worker of this home may read.
The copies of a listing have a folder of their own. A newer event deletes those that it does not name.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from groknet.cli.exits import CommandError, Exit
from schemas.event_times import FIRST_US
from schemas.events import MAX_INLINE_BYTES, ImageRef, ListingEvent
from workers.intake import Uploads

IMAGE_SUFFIXES = frozenset(
    [".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".heic", ".heif", ".avif"]
)
_PHOTO_STARTS = (b"\xff\xd8\xff", b"\x89PNG", b"GIF8", b"BM", b"II*\0", b"MM\0*")
_PHOTO_BRANDS = (b"heic", b"heix", b"hevc", b"heif", b"mif1", b"msf1", b"avif", b"avis")
PRODUCER = "groknet submit"
_MAX_ID = 128
_HEAD_BYTES = 64
_NAMED = 5  # files that one line names
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


def looks_like_photo(head: bytes) -> bool:
    """Whether a file that begins with these bytes (at least 12) is a photo, whatever its name is."""
    if head.startswith(b"RIFF"):
        return head[8:12] == b"WEBP"
    return head.startswith(_PHOTO_STARTS) or (head[4:8] == b"ftyp" and head[8:12] in _PHOTO_BRANDS)


def head_of(path: Path) -> bytes:
    """The first bytes of a file; empty if it cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(_HEAD_BYTES)
    except OSError:
        return b""


def find_photos(paths: Sequence[Path], left_out: Callable[[Path, Sequence[Path]], None] | None = None) -> list[Photo]:
    """Find every photo of `paths`, sorted. A file is one. A folder has one for every file that has the suffix or the
    first bytes of a photo. `left_out` is called with a folder and its other files.

    If two files of a folder differ only in their extension, the later ones keep it in their id.

    Raises:
        CommandError: a path does not exist, or two given paths make the same listing id.
    """
    found: dict[str, Path] = {}
    for path in paths:
        for photo in _photos_of(path, left_out):
            other = found.setdefault(photo.listing_id, photo.path)
            if other != photo.path:
                text = f"{other} and {photo.path} are both listing {photo.listing_id}; submit the folder above both"
                raise CommandError(text, Exit.USAGE)
    return [Photo(path, name) for name, path in found.items()]


def _photos_of(path: Path, left_out: Callable[[Path, Sequence[Path]], None] | None) -> Iterator[Photo]:
    if path.is_file():
        yield Photo(path, listing_id(path.stem))
        return
    if not path.is_dir():
        raise CommandError(f"{path}: no such file or folder", Exit.NOT_FOUND)
    taken: set[str] = set()
    others: list[Path] = []
    for file in _files(path):
        suffix = file.suffix.lower() in IMAGE_SUFFIXES
        if not suffix and not looks_like_photo(head_of(file)):
            others.append(file)
            continue
        relative = file.relative_to(path)
        name = listing_id((relative.with_suffix("") if suffix else relative).as_posix())
        if name in taken:
            name = listing_id(relative.as_posix())
        taken.add(name)
        yield Photo(file, name)
    if not taken:
        text = f"{path}: no photo in it ({' '.join(sorted(IMAGE_SUFFIXES))})"
        raise CommandError(f"{text}, but {named(others, path)}" if others else text, Exit.NOT_FOUND)
    if others and left_out is not None:
        left_out(path, others)


def named(files: Sequence[Path], folder: Path) -> str:
    """How many files there are, and the first of their names."""
    names = ", ".join(str(file.relative_to(folder)) for file in files[:_NAMED])
    more = f" and {len(files) - _NAMED} more" if len(files) > _NAMED else ""
    return f"{len(files)} other file{'s' if len(files) > 1 else ''}: {names}{more}"


def _files(folder: Path) -> Iterator[Path]:
    """All files, sorted. Hidden files and folders are left out, and links to folders are not followed."""
    for place, folders, files in os.walk(folder):
        folders[:] = sorted(f for f in folders if not f.startswith("."))
        for name in sorted(files):
            path = Path(place, name)
            if not name.startswith(".") and path.is_file():
                yield path


def is_old(photo: Photo) -> bool:
    """Whether a file was last modified before 2000, which no event time may be."""
    try:
        return photo.path.stat().st_mtime_ns // 1000 < FIRST_US
    except OSError:
        return False


def photo_event(photo: Photo, uploads: Path, roots: Sequence[Path]) -> ListingEvent:
    """Make the event of one photo. Its `event_time` is the time at which the file was modified, or the beginning of
    2000 if that is later: archives without times unpack to 1970. Its id follows from the content.

    Raises CommandError if the file cannot be read.
    """
    try:
        data = photo.path.read_bytes()
        mtime_us = photo.path.stat().st_mtime_ns // 1000
    except OSError as error:
        raise CommandError(f"{photo.path}: cannot be read ({error.strerror})", Exit.NOT_FOUND) from None
    event_time = max(FIRST_US, mtime_us)
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
