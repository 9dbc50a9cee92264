"""Tables of labels: the known broken ones spoilt further, and tables of random cells in random dialects."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from random import Random

from schemas.errors import ConfigError
from tests.hostile.case import Input, fresh, spoilt
from tests.training.broken_data_sets import TABLES, photos
from training.readers import cautions, read, read_photo
from training.readers.splits import SPLITS

REFUSALS = (ConfigError, OSError)  # OSError: of single photos that are missing
MOST_MB = 300
CELLS = (
    "img/0.jpg",
    "img\\1.jpg",
    "/etc/passwd",
    "../outside.jpg",
    "img/../../outside.jpg",
    "img/pipe.jpg",
    "img/loop.jpg",
    "img",
    "https://shop.example/0.jpg",
    "C:\\0.jpg",
    "train",
    "TRAIN",
    "vali",
    "",
    " ",
    "0 0 1 1",
    "nan nan 1 1",
    "1e999 0 1 1",
    "\x1b[2J",
    "\u202egpj.exe",
    "=HYPERLINK(1)",
    '"',
    "a" * 140_000,
    "x\ny",
)
NAMES = ("path", "Path", "split", "box", "domain", "label", "", "label ", "\x1b[31m")


def honest(folder: Path) -> None:
    """An honest table has its rows."""
    if not (folder / "labels.csv").exists():
        photos(folder, "a.jpg", "b.jpg")
        (folder / "labels.csv").write_text("path,split,label\na.jpg,train,x\nb.jpg,test,y\n")
    rows = {row["path"]: (row["split"], row["label"]) for row in read("csv", folder).rows}
    assert rows == {"a.jpg": ("train", "x"), "b.jpg": ("test", "y")}


def inputs(rng: Random, folder: Path) -> Iterator[Input]:
    """Whatever is taken lies in its folder and has a split."""
    while True:
        own = fresh(folder)
        if rng.random() < 0.5:
            case = rng.choice([case for case in TABLES if case.name not in ("no table", "two tables", "another name")])
            case.make(own)
            file = next(path for path in own.iterdir() if path.is_file())
            what, data = spoilt(file.read_bytes(), rng)
            file.write_bytes(data)
            yield Input(f"{case.name}, {what}", lambda own=own: offer("csv", own))
            continue
        photos(own, "img/0.jpg", "img/1.jpg")
        (folder / "outside.jpg").write_bytes(b"secret")
        os.mkfifo(own / "img/pipe.jpg")
        (own / "img/loop.jpg").symlink_to("loop.jpg")
        names = ["path", *(rng.choice(NAMES) for _ in range(rng.randrange(4)))]
        separator = rng.choice((",", ";", "\t", "|"))
        most = rng.choice((len(CELLS), 3))  # with few kinds of cells some tables are taken
        rows = [[rng.choice(CELLS[:most]) for _ in names] for _ in range(rng.randrange(1, 9))]
        if rng.random() < 0.3:
            rng.choice(rows).append("one more")
        quoted = rng.random() < 0.7
        cells = [[_quoted(cell) if quoted else cell for cell in row] for row in (names, *rows)]
        text = rng.choice(("\n", "\r\n", "\r")).join(separator.join(row) for row in cells)
        (own / "labels.csv").write_bytes(text.encode(rng.choice(("utf-8", "utf-8-sig", "utf-16", "utf-16-le"))))
        yield Input(f"random cells with {separator!r}", lambda own=own: offer("csv", own))


def _quoted(cell: str) -> str:
    return '"' + cell.replace('"', '""') + '"'


def offer(reader: str, folder: Path) -> None:
    """Read a data set and its photos, and check what was promised of a row."""
    found = read(reader, folder)
    assert found.rows
    for row in found.rows:
        assert row["split"] in SPLITS
        assert ".." not in row["path"].split("/")
        assert not row["path"].startswith("/")
        assert all(isinstance(value, str) for value in row.values())
    cautions(found.rows)
    for row in found.rows:
        assert read_photo(folder, row["path"]) != b"secret"
