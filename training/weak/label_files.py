"""The labels.csv files that weak labels are written to: found again by their recipe, and never over somebody's own."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from schemas.errors import ConfigError
from training.readers.label_table import Row

SOURCE = "source"  # the column that every table made here has


def refuse_foreign(out: Path) -> None:
    """Raise ConfigError when `out` is a table that was not made here."""
    if out.is_file() and SOURCE not in out.read_text("utf-8-sig").partition("\n")[0].strip().split(","):
        raise ConfigError(f"--out {out}: a table that was not made here; name another file")


def way(out: Path, photos: Path) -> Path:
    """How to get from the folder of `out` to the photos: what comes before every path in it."""
    return Path(os.path.relpath(photos.absolute(), out.absolute().parent))


def write_table(out: Path, columns: Sequence[str], rows: Iterable[Row]) -> None:
    """Write beside and rename, so that there is never half a table."""
    out.parent.mkdir(parents=True, exist_ok=True)
    part = out.with_name(out.name + ".part")
    with part.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, restval="")
        writer.writeheader()
        writer.writerows(rows)
    part.replace(out)
