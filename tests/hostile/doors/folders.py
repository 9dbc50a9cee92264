"""Folders of classes: random trees of splits, junk, links, pipes, odd and very long names, and deep nests."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from random import Random

from schemas.errors import ConfigError
from tests.hostile.case import Input, fresh
from tests.hostile.doors.tables import offer
from tests.training.broken_data_sets import photos
from training.readers import read

REFUSALS = (ConfigError, OSError)
MOST_MB = 300
FOLDERS = (
    "train",
    "Training",
    "val",
    "test",
    "dev",
    "apple",
    "pear",
    "__MACOSX",
    ".git",
    "docs",
    "a b",
    "\x1b[2J",
    "x" * 200,
)
FILES = (
    "0.jpg",
    "1.JPG",
    "._0.jpg",
    "Thumbs.db",
    "notes.txt",
    "\udcff.jpg",
    "\n.jpg",
    "back\\slash.jpg",
    "2.jpeg",
    "x.jpg.exe",
)


def honest(folder: Path) -> None:
    """An honest tree has its classes."""
    if not (folder / "train").exists():
        photos(folder, "train/apple/0.jpg", "val/pear/1.jpg")
    rows = read("folder", folder).rows
    assert [(row["split"], row["label"]) for row in rows] == [("train", "apple"), ("val", "pear")]


def inputs(rng: Random, folder: Path) -> Iterator[Input]:
    """Whatever is taken lies in its folder and has a split and a class."""
    while True:
        own = fresh(folder)
        for _ in range(rng.randrange(1, 12)):
            parts = [rng.choice(FOLDERS) for _ in range(rng.randrange(0, 4))]
            photos(own, "/".join([*parts, rng.choice(FILES)]))
        extra = rng.choice(("nothing", "link up", "link out", "pipe", "deep", "links in a chain"))
        if extra == "link up":
            (own / "apple-link").symlink_to(own, target_is_directory=True)
        elif extra == "link out":
            (own / "gone.jpg").symlink_to(own / "nowhere")
        elif extra == "pipe":
            (own / "plum").mkdir()
            os.mkfifo(own / "plum/0.jpg")
        elif extra == "deep":
            photos(own, "/".join(["d"] * 600 + ["0.jpg"]))
        elif extra == "links in a chain":  # 2^16 ways to the last folder
            for level in range(16):
                (own / f"c{level}").mkdir()
            for level in range(15):
                for side in "ab":
                    (own / f"c{level}/{side}").symlink_to(own / f"c{level + 1}", target_is_directory=True)
            photos(own, "c15/0.jpg")
        yield Input(f"a tree with {extra}", lambda own=own: offer("folder", own))
