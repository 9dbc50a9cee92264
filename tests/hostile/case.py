"""What a door of hostile inputs is. One module in `doors/` is one class of input.

A module has these names:

    REFUSALS            exceptions by which the door refuses; anything else that is raised is a crash
    MOST_MB             how far the process may grow over all inputs together
    inputs(rng, folder) endless `Input`s, which depend on the generator alone; `folder` is empty and writable
    honest(folder)      offers an honest input of the same door and checks the answer, beside each hostile one
    close()             ends what the door started; only doors that start something have it

To add a class, write such a module and add its name to `DOORS`.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import NamedTuple

DOORS = (
    "archives",
    "bundles",
    "events",
    "fetching",
    "folders",
    "parameters",
    "photos",
    "requests",
    "tables",
    "terminal",
)


class Input(NamedTuple):
    """One hostile input: what it is, and the call that offers it. The call raises AssertionError if what it gets breaks
    a promise of the door."""

    name: str
    offer: Callable[[], object]


def fresh(folder: Path) -> Path:
    """An empty folder below `folder`, with a number for a name."""
    made = folder / f"{sum(1 for _ in folder.iterdir()):05d}"
    made.mkdir()
    return made


def spoilt(data: bytes, rng: Random) -> tuple[str, bytes]:
    """`data` cut, with flipped bits, with a part repeated, left out, or overwritten; and what was done."""

    kind = rng.choice(("cut", "flipped", "repeated", "left out", "overwritten", "prefixed"))
    place = rng.randrange(max(1, len(data)))
    length = rng.choice((1, 4, 64, 1024))
    if kind == "cut":
        return f"cut at {place}", data[:place]
    if kind == "repeated":
        return f"{length} bytes at {place} repeated", data[: place + length] + data[place:]
    if kind == "left out":
        return f"{length} bytes at {place} left out", data[:place] + data[place + length :]
    if kind == "prefixed":
        return "zeros before it", bytes(length) + data
    changed = bytearray(data)
    for _ in range(rng.choice((1, 3, 20)) if kind == "flipped" else 1):
        at = rng.randrange(max(1, len(data)))
        if kind == "flipped" and data:
            changed[at] ^= 1 << rng.randrange(8)
        else:
            changed[at : at + length] = rng.randbytes(length)
    return f"{kind} near {place}", bytes(changed)
