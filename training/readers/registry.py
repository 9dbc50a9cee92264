"""All readers, by the name that a recipe gives."""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping
from pathlib import Path

from schemas.errors import ConfigError
from training.readers.found_rows import Found
from training.readers.layouts.aliproducts import read_aliproducts
from training.readers.layouts.class_folders import read_tree
from training.readers.layouts.csv_table import read_csv
from training.readers.layouts.inshop import read_inshop
from training.readers.layouts.products10k import read_products10k
from training.readers.layouts.rp2k import read_rp2k
from training.readers.layouts.sop import read_sop
from training.readers.layouts.webdataset import read_webdataset
from training.readers.photo_paths import is_there, photo_path

Reader = Callable[[Path, float], Found]
"""(folder, share of the training photos or products that become `val` if the layout has none) → rows."""

READERS: Mapping[str, Reader] = {
    "csv": read_csv,
    "folder": read_tree,
    "webdataset": read_webdataset,
    "aliproducts": read_aliproducts,
    "inshop": read_inshop,
    "sop": read_sop,
    "products10k": read_products10k,
    "rp2k": read_rp2k,
}


def read(reader: str, folder: Path, validation: float = 0.05) -> Found:
    """The rows of `folder` in the layout that `reader` names: the one door for training, evaluation, `data check` and
    packing. Every row has a `path` inside the folder and a `split` of `SPLITS`.

    `validation` is the share of the training photos or products that become `val`, if the layout has none.

    Raises:
        ConfigError: there is no such reader, the folder has another layout or can be read in two ways, or none of the
            photos that it names exists.
    """
    if reader not in READERS:
        raise ConfigError(f"reader {reader!r}: there are {', '.join(sorted(READERS))}")
    if not folder.is_dir():
        raise ConfigError(f"data: {folder} is no folder; name the folder of the data set")
    found = _readable(reader, folder, validation)
    _keep_inside(folder, found)
    if not found.rows:
        reasons = "; ".join(f"{name}: {why}" for name, why in list(found.skipped.items())[:3])
        raise ConfigError(f"data: {folder} has no photo in the layout {reader!r}{reasons and f' ({reasons})'}")
    if not any(is_there(folder, row["path"]) for row in found.rows):
        raise ConfigError(
            f"data: not one of the {len(found.rows)} photos that {folder} names exists; the first is "
            f"{found.rows[0]['path']!r}, and paths are relative to the folder"
        )
    return found


def _readable(reader: str, folder: Path, validation: float) -> Found:
    """What the layout's reader found; files that are no text, or that cannot be opened, are refused by name."""
    try:
        return READERS[reader](folder, validation)
    except OSError as error:
        raise ConfigError(f"data: {error.filename or folder} cannot be read: {error.strerror or error}") from None
    except (UnicodeError, csv.Error, RecursionError) as error:
        raise ConfigError(f"data: {folder} cannot be read as {reader!r}: {error}; download it again") from None


def _keep_inside(folder: Path, found: Found) -> None:
    """Move rows whose photo lies outside the folder to `found.skipped`: a data set shares its own photos alone."""
    kept = []
    for row in found.rows:
        try:
            row["path"] = photo_path(folder, row["path"])
            kept.append(row)
        except ValueError as error:
            found.skipped[row["path"]] = str(error)
    found.rows = kept
