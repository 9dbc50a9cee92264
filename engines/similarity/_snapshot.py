"""Snapshots: an index on disk, as one main file with offsets and new listings, and one file for each sealed part.

A sealed part never changes, except for deletions. So its file is written once, and a snapshot costs only what is new.
The main file names the parts' files and is replaced last, so index and offsets appear together or not at all.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np

from engines.similarity._directory import Directory
from engines.similarity._files import DAMAGE, Array, SnapshotRefused, packed, read_arrays, write_arrays
from engines.similarity._flat import FlatCodes
from engines.similarity._ivf import IvfCodes, SealedCodes
from engines.similarity._listings import Fresh
from engines.similarity._parts import ALIVE, Sealed
from engines.similarity._profiles import Profile
from engines.similarity.types import CODE_BYTES, IndexLimits

FORMAT_VERSION = 2
_COLUMNS = ("keys", "event_times", "profiles", "starts", "first_rows", "text")
_PIECE = 50_000  # removals turned into columns at once: more would delay every other thread


@dataclass(frozen=True, kw_only=True, eq=False)
class Contents:
    """Everything that an index holds. In sealed parts, what is alive at `generation`."""

    epoch: str
    offsets: dict[str, int]
    profiles: list[Profile]
    removed: dict[str, int]
    listings: list[Fresh]
    sealed: list[Sealed]
    generation: int


class _Listing(msgspec.Struct, array_like=True, frozen=True):
    listing_id: str
    event_time: int
    profile: int
    image_ids: list[str]


class _Head(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The main file's JSON: everything except arrays. `parts` are file names in the same folder."""

    format_version: int
    epoch: str
    offsets: dict[str, int]
    profiles: list[Profile]
    listings: list[_Listing]
    parts: list[str]


class _PartHead(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    format_version: int
    kind: Literal["flat", "lists"]
    learned_for: int


def write_snapshot(path: Path, contents: Contents) -> None:
    """Write parts that are not on disk yet, then replace the main file, then delete parts that it does not name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    for part in contents.sealed:
        if part.file is None or not path.with_name(part.file).is_file():
            part.file = f"{path.name}.{uuid.uuid4().hex}.part"
            _write_part(path.with_name(part.file), part)
    names = [str(part.file) for part in contents.sealed]
    listings = [_Listing(one.listing_id, one.event_time, one.profile, one.image_ids) for one in contents.listings]
    head = _Head(
        format_version=FORMAT_VERSION,
        epoch=contents.epoch,
        offsets=contents.offsets,
        profiles=contents.profiles,
        listings=listings,
        parts=names,
    )
    nothing = np.empty(0, np.uint8)
    ids, times = [nothing], [np.empty(0, np.int64)]
    removals = iter(contents.removed.items())
    while some := list(islice(removals, _PIECE)):
        ids.append(np.frombuffer("".join(f"{listing_id}\n" for listing_id, _ in some).encode(), np.uint8))
        times.append(np.array([time for _, time in some], np.int64))
    dead = {
        f"dead{i}": [np.flatnonzero(part.died <= contents.generation).astype(np.uint32)]
        for i, part in enumerate(contents.sealed)
    }
    codes = [np.empty((0, CODE_BYTES), np.uint8), *(one.codes for one in contents.listings)]
    arrays: dict[str, list[Array]] = {"head": packed(head), "codes": codes, "removed": ids, "removed_at": times, **dead}
    write_arrays(path, arrays)
    for old in path.parent.glob(f"{path.name}.*.part"):
        if old.name not in names:
            old.unlink(missing_ok=True)


def _write_part(path: Path, part: Sealed) -> None:
    lists = isinstance(part.codes, IvfCodes)
    learned_for = part.codes.learned_for if isinstance(part.codes, IvfCodes) else 0
    head = _PartHead(format_version=FORMAT_VERSION, kind="lists" if lists else "flat", learned_for=learned_for)
    columns = {name: [getattr(part.directory, name)] for name in _COLUMNS}
    write_arrays(path, {"head": packed(head), **columns, **part.codes.arrays()})


def read_snapshot(path: Path, limits: IndexLimits) -> Contents:
    """Read a snapshot. Raises FileNotFoundError, or SnapshotRefused if it is damaged or has another format."""
    try:
        arrays = read_arrays(path)
        head = msgspec.json.decode(arrays["head"].tobytes(), type=_Head)
    except FileNotFoundError:
        raise
    except DAMAGE as error:
        raise SnapshotRefused(f"{path}: cannot be read ({error}); delete it to rebuild from the topic") from None
    try:
        if head.format_version != FORMAT_VERSION:
            raise ValueError(f"format {head.format_version}, not {FORMAT_VERSION}")
        sealed = [_read_part(path.with_name(name), arrays[f"dead{i}"], limits) for i, name in enumerate(head.parts)]
        return Contents(
            epoch=head.epoch,
            offsets=head.offsets,
            profiles=head.profiles,
            removed=_removed(arrays),
            listings=_listings(head.listings, arrays["codes"]),
            sealed=sealed,
            generation=0,
        )
    except DAMAGE as error:  # a missing part is damage, because the main file names it
        raise SnapshotRefused(f"{path}: cannot be used ({error}); delete it to rebuild from the topic") from None


def _read_part(path: Path, dead: Array, limits: IndexLimits) -> Sealed:
    arrays = read_arrays(path)
    head = msgspec.json.decode(arrays["head"].tobytes(), type=_PartHead)
    directory = Directory(**{name: arrays[name] for name in _COLUMNS})
    if head.format_version != FORMAT_VERSION or len(arrays["codes"]) != directory.rows:
        raise ValueError(f"{path.name}: format or lengths do not fit")
    codes: SealedCodes
    if head.kind == "lists":
        codes = IvfCodes.restored(arrays, head.learned_for, limits)
    else:
        codes = FlatCodes(arrays["codes"], limits)
    died = np.full(len(directory), ALIVE, np.uint32)
    died[dead] = 0
    return Sealed(directory, codes, died, path.name)


def _removed(arrays: dict[str, Array]) -> dict[str, int]:
    ids = arrays["removed"].tobytes().decode().split("\n")[:-1]
    return dict(zip(ids, arrays["removed_at"].tolist(), strict=True))


def _listings(listings: list[_Listing], codes: Any) -> list[Fresh]:
    made, begin = [], 0
    for one in listings:
        end = begin + len(one.image_ids)
        made.append(Fresh(one.listing_id, one.event_time, one.profile, one.image_ids, codes[begin:end]))
        begin = end
    if begin != len(codes):
        raise ValueError(f"{len(codes)} codes for {begin} photos")
    return made
