"""Whether the cosine of stored margins helps to group: `python -m benchmarks.listings.product_margins --data DATA`.

Two photos are near copies if few of their 256 bits differ. A stored row has the margin of each bit in eight bits, so
their cosine could confirm it. The photos and their changed copies are those of `benchmarks.listings.products`. Bits and
cosine are chosen together on validation photos: the most recall among the choices that join no different things. Then
both rules, with and without the cosine, group listings of test photos once.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from benchmarks.listings.product_photos import HARD, copies
from benchmarks.report import page, parser, table, versions, write_page
from engines.pixels import decode_photo
from engines.recognition import RecognitionEngine, build_engine, in_eight_bits
from training.readers import read
from workers.products.stars import components, stars

SHOPS = ("grocery", "fashion")
RADII = (28, 30, 32, 34, 36, 40, 44, 48, 56)
COSINES = (-1.0, 0.7, 0.75, 0.8, 0.84, 0.86, 0.88, 0.9, 0.92, 0.94, 0.96)
LISTINGS = {"val": 1_500, "test": 2_000}


@dataclass(frozen=True)
class Versions:
    """All versions of the photos: codes uint8 [n, 32], margins of length 1 float32 [n, 256], and whose they are."""

    codes: NDArray[np.uint8]
    margins: NDArray[np.float32]
    photo: NDArray[np.int64]
    product: NDArray[np.int64]


@dataclass(frozen=True)
class Counts:
    """Pairs of listings: in one group and right, wrong, of another photo of one product; and all right ones."""

    right: int
    wrong: int
    viewpoint: int
    copies: int


def look(engine: RecognitionEngine, data: Path, split: str, count: int, seed: int = 1) -> Versions:
    """The versions of `count` photos of a split, half of each shop, as `benchmarks.listings.products` draws them."""
    draw, names = random.Random(seed), dict[str, int]()
    codes, margins = list[NDArray[np.uint8]](), list[NDArray[np.int8]]()
    photo, product = list[int](), list[int]()
    for shop in SHOPS:
        rows = [row for row in read("csv", data / shop).rows if row["split"] == split]
        for row in draw.sample(rows, min(count // 2, len(rows))):
            with Image.open(data / shop / row["path"]) as opened:
                made = [one for one in copies(opened.convert("RGB")) if one.change != HARD]
            output = engine.infer(np.stack([decode_photo(one.data, engine.manifest.preprocess).pixels for one in made]))
            name = f"{shop}/{row.get('product') or row['path']}"
            number, thing = len(set(photo)), names.setdefault(name, len(names))
            assert output.layer is not None, "the bundle does not know its hash layer"
            for code, kept in zip(output.hash, in_eight_bits(output.layer.margins(output.embedding)), strict=True):
                codes.append(code)
                margins.append(kept)
                photo.append(number)
                product.append(thing)
    floats = np.stack(margins).astype(np.float32)
    floats /= np.linalg.norm(floats, axis=1, keepdims=True)
    return Versions(np.stack(codes), floats, np.array(photo), np.array(product))


def shown(found: Versions, count: int, seed: int) -> NDArray[np.int64]:
    """The version that each of `count` listings shows; half of the photos are rare."""
    draw = np.random.default_rng(seed)
    photos = int(found.photo.max()) + 1
    chosen = np.minimum(draw.integers(photos, size=count), draw.integers(photos, size=count))
    return np.array([draw.choice(np.flatnonzero(found.photo == one)) for one in chosen])


def count(found: Versions, listings: NDArray[np.int64], near: NDArray[np.bool_]) -> Counts:
    """Group listings by stars of near copies (bool [n, n] of versions), and count pairs."""
    having = {int(one): np.flatnonzero(listings == one) for one in np.unique(listings)}
    lists = {one: [int(i) for other in np.flatnonzero(near[one]) for i in having.get(int(other), ())] for one in having}
    links = {f"{i:05}": [f"{j:05}" for j in lists[int(one)] if j != i] for i, one in enumerate(listings)}
    right = wrong = viewpoint = 0
    for part in components(links, links.__getitem__):
        for group in stars(part, lambda *_: True, lambda _: 0):
            members = listings[[int(name) for name in group]]
            pairs = len(members) * (len(members) - 1) // 2
            same_photo, same_thing = _pairs(found.photo[members]), _pairs(found.product[members])
            right, wrong = right + same_photo, wrong + pairs - same_thing
            viewpoint += same_thing - same_photo
    return Counts(right, wrong, viewpoint, _pairs(found.photo[listings]))


def _pairs(numbers: NDArray[np.int64]) -> int:
    """How many pairs have equal numbers."""
    held = np.bincount(numbers)
    return int((held * (held - 1) // 2).sum())


def near_of(found: Versions, radius: int, cosine: float) -> NDArray[np.bool_]:
    """Which versions are near copies: bool [n, n]."""
    bits = np.bitwise_count(found.codes[:, None] ^ found.codes[None]).sum(2, dtype=np.int32)
    near: NDArray[np.bool_] = (bits <= radius) & (found.margins @ found.margins.T >= cosine)
    return near


def _row(rule: str, one: Counts) -> list[object]:
    precision = one.right / max(1, one.right + one.wrong)
    return [rule, f"{precision:.4f}", f"{one.right / one.copies:.3f}", one.wrong, one.viewpoint]


def measured(engine: RecognitionEngine, data: Path, photos: int) -> str:
    """Choose on validation photos, and look at test photos once."""
    val = look(engine, data, "val", photos // 2)
    listings = shown(val, LISTINGS["val"], 1)
    tried = {(r, c): count(val, listings, near_of(val, r, c)) for r in RADII for c in COSINES}
    bits = max((rule for rule, one in tried.items() if rule[1] == -1.0 and not one.wrong), key=lambda r: tried[r].right)
    both = max((rule for rule, one in tried.items() if not one.wrong), key=lambda rule: (tried[rule].right, -rule[0]))
    head = ["bits, cosine at least", "precision", "recall", "wrong pairs", "viewpoint pairs"]
    best = {r: max((c for c in COSINES if not tried[r, c].wrong), key=lambda c: tried[r, c].right) for r in RADII}
    chosen = [(r, c) for r in RADII for c in dict.fromkeys((-1.0, best[r]))]
    body = "Validation photos, for each number of bits without and with the best cosine that joins no different things."
    body += "\n\n" + table(head, [_row(_name(rule), tried[rule]) for rule in chosen])
    test = look(engine, data, "test", photos)
    listings = shown(test, LISTINGS["test"], 2)
    rules = dict.fromkeys((bits, (bits[0], best[bits[0]]), both))
    rows = [_row(_name(rule), count(test, listings, near_of(test, *rule))) for rule in rules]
    return f"{body}\n\nTest photos, with the rules that validation photos chose.\n\n" + table(head, rows)


def _name(rule: tuple[int, float]) -> str:
    return f"{rule[0]} bits" if rule[1] == -1.0 else f"{rule[0]} bits, {rule[1]:g}"


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and write the page."""
    made = parser(__doc__, tells="page", bundle=True)
    made.add_argument("--data", type=Path, required=True, help="folder with the folders grocery and fashion")
    made.add_argument("--photos", type=int, default=300, help="test photos; half as many of validation (default 300)")
    chosen = made.parse_args(arguments)
    engine = build_engine(chosen.bundle)
    try:
        body = measured(engine, chosen.data, chosen.photos)
    finally:
        engine.close()
    command = f"python -m benchmarks.listings.product_margins --data DATA --photos {chosen.photos}"
    write_page(page("Products: margins beside bits", command, versions("numpy"), body), chosen.out)


if __name__ == "__main__":
    main(sys.argv[1:])
