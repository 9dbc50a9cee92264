"""An index as one file: a zip of plain arrays and JSON (`.npz` without pickle), CRC-checked by zip itself."""

from __future__ import annotations

import os
import zipfile
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt

from engines.similarity.types import CODE_BYTES
from schemas.errors import GroknetError

FORMAT_VERSION = 1


class SnapshotRefused(GroknetError):
    """A snapshot that cannot be used; the index can always be rebuilt from its topic."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Contents:
    """All that an index holds: codes uint8 [n, 32] and image ids by row, `counts[i]` rows for listing i in turn."""

    epoch: str
    offsets: dict[str, int]
    codes: npt.NDArray[np.uint8]
    image_ids: list[str]
    counts: list[int]
    listing_ids: list[str]
    event_times: list[int]
    model_versions: list[str]
    states: list[str]
    categories: list[str | None]
    removed: dict[str, int]


class _Head(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything but the codes, as JSON."""

    format_version: int
    epoch: str
    offsets: dict[str, int]
    image_ids: list[str]
    counts: list[int]
    listing_ids: list[str]
    event_times: list[int]
    model_versions: list[str]
    states: list[str]
    categories: list[str | None]
    removed: dict[str, int]


def write_snapshot(path: Path, contents: Contents) -> None:
    """Write beside `path`, flush to the disk, then rename over it: a crash leaves the old file or the new one."""
    fields = {name: getattr(contents, name) for name in _Head.__struct_fields__ if name != "format_version"}
    head = msgspec.json.encode(_Head(format_version=FORMAT_VERSION, **fields))
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".tmp")
    with temporary.open("wb") as file:
        np.savez(file, head=np.frombuffer(head, np.uint8), codes=contents.codes)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)  # the rename itself must survive a power cut
    finally:
        os.close(folder)


def read_snapshot(path: Path) -> Contents:
    """Read a snapshot; raises FileNotFoundError, or SnapshotRefused when it is damaged or of another format."""
    try:
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            head = msgspec.json.decode(file["head"].tobytes(), type=_Head)
            codes = file["codes"]
    except FileNotFoundError:
        raise
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, msgspec.DecodeError) as error:
        raise SnapshotRefused(f"{path}: cannot be read ({error}); delete it to rebuild from the topic") from None
    columns = (head.event_times, head.model_versions, head.states, head.categories, head.counts)
    whole = (
        head.format_version == FORMAT_VERSION
        and codes.dtype == np.uint8
        and codes.shape == (len(head.image_ids), CODE_BYTES)
        and all(len(column) == len(head.listing_ids) for column in columns)
        and sum(head.counts) == len(head.image_ids)
    )
    if not whole:
        raise SnapshotRefused(f"{path}: format or lengths do not fit; delete it to rebuild from the topic")
    fields = {name: getattr(head, name) for name in _Head.__struct_fields__ if name != "format_version"}
    return Contents(codes=codes, **fields)
