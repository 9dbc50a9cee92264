"""The splits of a data set: how people spell them, and how a photo's name decides where nobody says."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence

from training.readers.label_table import Row

SPLITS = ("train", "val", "test", "gallery")
"""`gallery` are catalogue photos, which are trained on. No folder or shard name stands for it, only a cell."""

_SPELLINGS = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "dev": "val",
    "development": "val",
    "test": "test",
    "testing": "test",
    "gallery": "gallery",
}
TEST_SHARE = 0.05
"""The share of the photos that become test where their names decide. It is the same whatever the recipe sets aside for
validation, so that `groknet evaluate` never measures a photo that was trained on."""


def known_split(word: str) -> str | None:
    """The split that a word of a folder, a shard or a cell means, or None: `Training`, `valid`, `Test_Set`, `dev`.

    Upper case counts as lower case. A final `set`, `data` or `split` does not count.
    """
    plain = re.sub(r"[\s_-]+", "", word.casefold())
    return _SPELLINGS.get(plain) or _SPELLINGS.get(re.sub(r"(set|data|split)$", "", plain))


def chance(name: str) -> float:
    """A number in [0, 1) that depends on `name` alone, so that every machine sets the same photos aside."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") / 2.0**64


def split_by_name(name: str, validation: float) -> str:
    """The split of a photo in a data set without splits: the share `validation` is val, 5 % are test."""
    drawn = chance(name)
    return "val" if drawn < validation else "test" if drawn >= 1 - TEST_SHARE else "train"


def divide(rows: Sequence[Row], validation: float, why: str) -> str:
    """Give every row the split that its path decides, and return the sentence that says so. `why` begins it."""
    counts = dict.fromkeys(("train", "val", "test"), 0)
    for row in rows:
        row["split"] = split_by_name(row["path"], validation)
        counts[row["split"]] += 1
    numbers = ", ".join(f"{count} {split}" for split, count in counts.items())
    return f"{why}, so the name of each photo decides: {numbers}"
