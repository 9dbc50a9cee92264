"""The photos to clean, from a folder, a table or tar shards, with an account of every file that is none."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from schemas.errors import ConfigError
from training.cleaning.packed_rows import PackedRows
from training.readers import read
from training.readers.found_rows import Found, photos_below
from training.readers.label_table import Row
from training.readers.photo_paths import photo_path
from training.readers.splits import known_split

TREE = "tree"
"""The layout of `photos below a folder`: a photo's product is the folder that it lies in, below a folder of a split."""
_TABLE = "labels.csv"


@dataclass(frozen=True)
class Source:
    """What there is to clean.

    Attributes:
        folder: of the photos; paths are relative to it.
        reader: the layout that it was read as.
        rows: of the photos, in an order that depends on names alone. Every row has a `path`; boxes are left out. Rows
            are copies: changing one changes nothing here.
        skipped: file, line or sample → why it is no photo.
        notes: sentences that a person should know.
        junk: hidden files and files of the system, which nothing reads.
    """

    folder: Path
    reader: str
    rows: PackedRows
    skipped: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    junk: int = 0


def open_source(folder: Path, reader: str = "") -> Source:
    """Read what lies in `folder`, as `read_any` does. A photo that several rows name counts once, by its first row.

    Raises:
        ConfigError: there is no photo in it, or it is not of the layout.
    """
    chosen = _chosen(folder, reader)
    if chosen == TREE:
        found = Found()
        rows = PackedRows(_tree(folder, found))  # a folder names each photo once
        _need_photos(folder, len(rows), found)
        return Source(folder, chosen, rows, found.skipped, found.notes, found.junk)
    _, found = read_any(folder, chosen)
    rows = PackedRows(_first_of_each(found.rows))
    notes = list(found.notes)
    if len(rows) < len(found.rows):
        notes.append(
            f"{len(found.rows) - len(rows)} rows name a photo that an earlier row names; only the first counts"
        )
    return Source(folder, chosen, rows, dict(found.skipped), notes, found.junk)


def read_any(folder: Path, reader: str = "") -> tuple[str, Found]:
    """The layout of `folder`, and its rows. Without a reader, a labels.csv is read as a table, a folder with tar files
    as WebDataset shards, and anything else as a tree of photos.

    Raises:
        ConfigError: there is no photo in it, or it is not of the layout.
    """
    chosen = _chosen(folder, reader)
    if chosen != TREE:
        return chosen, read(chosen, folder, validation=0.0)
    found = Found()
    found.rows.extend(_tree(folder, found))
    _need_photos(folder, len(found.rows), found)
    return chosen, found


def _chosen(folder: Path, reader: str) -> str:
    """The layout that is asked for, or the one that the folder has."""
    if not folder.is_dir():
        raise ConfigError(f"data: {folder} is no folder; name the folder of the photos")
    return reader or _layout(folder)


def _layout(folder: Path) -> str:
    if (folder / _TABLE).is_file():
        return "csv"
    return "webdataset" if any(folder.glob("*.tar")) else TREE


def _tree(folder: Path, found: Found) -> Iterator[Row]:
    """Every photo below the folder. Its product is the folder it lies in, relative to `folder` or to a split's. What is
    no photo goes into `found`."""
    for path in photos_below(folder, found):
        try:
            inside = photo_path(folder, path)
        except ValueError as error:
            found.skipped[path] = str(error)
            continue
        parts = inside.split("/")[:-1]
        split = known_split(parts[0]) if parts else None
        product = "/".join(parts[1:] if split else parts)
        yield {"path": inside, "split": split or "train", "product": product}


def _need_photos(folder: Path, count: int, found: Found) -> None:
    if not count:
        reasons = "; ".join(f"{name}: {why}" for name, why in list(found.skipped.items())[:3])
        raise ConfigError(f"data: there is no JPEG, PNG or WebP file in {folder}{reasons and f' ({reasons})'}")


def _first_of_each(rows: Iterable[Row]) -> Iterator[Row]:
    """The rows without those that name a photo again."""
    named: set[str] = set()
    for row in rows:
        if row["path"] not in named:
            named.add(row["path"])
            yield row
