"""Writing labels.csv files with weak labels. A file that somebody else made is never overwritten."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from engines.files import replacing
from schemas.errors import ConfigError
from training.readers.label_table import Row

SOURCE = "source"  # every table that is written here has this column


def refuse_foreign(out: Path) -> None:
    """Raise ConfigError if `out` exists and was not written by this room."""
    if out.is_file() and SOURCE not in out.read_text("utf-8-sig").partition("\n")[0].strip().split(","):
        raise ConfigError(f"--out {out}: this file was not made by this command; name another file")


def way(out: Path, photos: Path) -> Path:
    """The relative path from the folder of `out` to the folder of the photos.

    Raises:
        ConfigError: it leads out of the folder of `out`, where no reader follows.
    """
    found = Path(os.path.relpath(photos.absolute(), out.absolute().parent))
    if found.parts[:1] == ("..",):
        raise ConfigError(
            f"--out {out}: the photos must lie in the folder of the table, or below it, so not in {photos}"
        )
    return found


def write_table(out: Path, columns: Sequence[str], rows: Iterable[Row]) -> None:
    """Replace the table `out`; it appears whole or not at all."""
    out.parent.mkdir(parents=True, exist_ok=True)
    with replacing(out) as part, part.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, restval="")
        writer.writeheader()
        writer.writerows(rows)
