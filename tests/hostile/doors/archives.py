"""Tar shards: spoilt ones, members with hostile names and sizes, labels that are deep, wide or no text."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator
from pathlib import Path
from random import Random

from schemas.errors import ConfigError
from tests.hostile.case import Input, fresh, spoilt
from tests.hostile.doors.tables import offer
from training.readers import read, read_photo

REFUSALS = (ConfigError, OSError)
MOST_MB = 300
MEMBERS = (
    "1.jpg",
    "./1.jpg",
    "/1.jpg",
    "../1.jpg",
    "a/../../1.jpg",
    "._1.jpg",
    "1",
    "1.",
    ".jpg",
    "é.jpg",
    "x" * 300 + ".jpg",
)
LABELS = (
    b'{"label": "a"}',
    b"{" * 50_000,
    b'{"a":' * 50_000,
    b'{"split": "../../out"}',
    b'{"path": "/etc/passwd", "label": "x"}',
    b'{"label": "\\ud800"}',
    b'{"label": NaN}',
    b'{"label": ' + b"9" * 5000 + b"}",
    b"\xff\xfe",
    b"null",
    b" " * 2_000_000,
)
KINDS = (tarfile.REGTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE)


def shard(*members: tuple[str, bytes, bytes]) -> bytes:
    """A tar of (name, content, type)."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as tar:
        for name, content, kind in members:
            info = tarfile.TarInfo(name)
            info.type, info.size = kind, len(content) if kind == tarfile.REGTYPE else 0
            info.linkname = "/etc/passwd" if kind in (tarfile.SYMTYPE, tarfile.LNKTYPE) else ""
            tar.addfile(info, io.BytesIO(content))
    return file.getvalue()


def honest(folder: Path) -> None:
    """An honest shard has its photo and its label."""
    if not (folder / "train.tar").exists():
        members = ("1.jpg", b"photo", tarfile.REGTYPE), ("1.json", b'{"label": "x"}', tarfile.REGTYPE)
        (folder / "train.tar").write_bytes(shard(*members))
    (row,) = read("webdataset", folder).rows
    assert (row["label"], read_photo(folder, row["path"])) == ("x", b"photo")


def inputs(rng: Random, folder: Path) -> Iterator[Input]:
    """Whatever is taken lies in a shard of the folder and has a split."""
    while True:
        own = fresh(folder)
        members = [("0.jpg", b"photo", tarfile.REGTYPE)]
        for _ in range(rng.randrange(1, 5)):
            kind = rng.choice((tarfile.REGTYPE, *KINDS))
            members.append((rng.choice(MEMBERS), b"photo", kind))
        members.append((rng.choice(("0.json", "1.json", "0.txt", "0.cls")), rng.choice(LABELS), tarfile.REGTYPE))
        rng.shuffle(members)
        data, what = shard(*members), "odd members"
        if rng.random() < 0.5:
            what, data = spoilt(data, rng)
        (own / rng.choice(("train-0.tar", "x.tar"))).write_bytes(data)
        yield Input(f"shard, {what}", lambda own=own: offer("webdataset", own))
