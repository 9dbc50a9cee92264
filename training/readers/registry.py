"""All readers, by the name that a recipe gives."""

from __future__ import annotations

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
    """The rows of `folder` in the layout that `reader` names.

    `validation` is the share of the training photos or products that become `val`, if the layout has none.

    Raises:
        ConfigError: there is no such reader, the folder has another layout, or it names no photo.
    """
    if reader not in READERS:
        raise ConfigError(f"reader {reader!r}: there are {', '.join(sorted(READERS))}")
    if not folder.is_dir():
        raise ConfigError(f"data: {folder} is no folder; name the folder of the data set")
    found = READERS[reader](folder, validation)
    if not found.rows:
        reasons = "; ".join(f"{name}: {why}" for name, why in list(found.skipped.items())[:3])
        raise ConfigError(f"data: {folder} has no photo in the layout {reader!r}{reasons and f' ({reasons})'}")
    return found
