"""De-duplicate: photos with equal bytes, and photos that are one picture. The best one of each group stays.

The best one is the largest, sharpest, least compressed one with the fewest overlays. `score` weighs these in doublings.
A photo of the splits test, val and gallery comes before one of train, so that no copy of a photo that is measured
stays in training.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Annotated

import msgspec
import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from training.bulk import Engine
from training.cleaning.copies.alignment import likeness
from training.cleaning.copies.fingerprints import Fingerprints
from training.cleaning.copies.hashes import distances, p_hash
from training.cleaning.copies.near_pairs import near_pairs
from training.cleaning.marks import Mark, Value, What
from training.readers.label_table import Row

INDEX = "index"  # folder of the hashes of the last run, below that of the fingerprints
STEP = "duplicates"
OVERLAY_WEIGHT = 16.0  # doublings that a picture full of border and strokes loses
COMPRESSION_WEIGHT = 0.5  # below 1, because a poor photo that was saved again at a high quality looks uncompressed
_JUDGED = 256  # groups whose photos are compared at once
_SPLITS = {"test": 0, "val": 1, "gallery": 2}  # the smaller the number, the sooner a photo stays


class DuplicateSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What counts as one picture. `docs/benchmarks/cleaning.md` shows how both numbers were chosen."""

    bits: Annotated[int, Meta(ge=0, le=128)] = 64  # largest distance of two hashes that are looked at
    likeness: Annotated[float, Meta(gt=0, le=1)] = 0.75  # least likeness of the edges of two copies


def duplicate_marks(
    rows: Sequence[Row],
    prints: Fingerprints,
    settings: DuplicateSettings,
    *,
    product: str = "product",
    workers: int = 1,
    engine: Engine = "pool",
    progress: Callable[[int, int], None] | None = None,
) -> Iterator[Mark]:
    """The marks of all photos that are another one's duplicate, in groups.

    Args:
        rows: of the photos, in the order of `prints`.
        prints: their fingerprints. Photos that could not be read are in no group.
        settings: what counts as one picture.
        product: column whose values a mark mentions where they differ.
        workers: processes that compare.
        engine: what runs them.
        progress: called with the photos that were compared and the photos in all.
    """
    groups = _Groups(len(rows))
    distinct = _same_bytes(prints, groups)
    pairs = near_pairs(
        prints.small,
        distinct,
        prints.folder / INDEX,
        bits=settings.bits,
        least_likeness=settings.likeness,
        workers=workers,
        engine=engine,
        progress=progress,
    )
    for pair in pairs:
        groups.join(pair.left, pair.right)
    several = groups.of_several()
    while some := list(islice(several, _JUDGED)):
        yield from _marks_of(some, rows, prints, settings, product)


def score(record: NDArray[np.void]) -> float:
    """How good a photo is among its copies: one more for twice the area, four times the squared sharpness, or a quarter
    of the compression, and less for overlays."""
    area = max(1.0, float(record["width"]) * float(record["height"]))
    sharp = 0.5 * np.log2(1.0 + float(record["sharpness"]))
    compression = np.log2(max(1.0, float(record["compression"])))
    return float(np.log2(area) + sharp - COMPRESSION_WEIGHT * compression - OVERLAY_WEIGHT * float(record["overlay"]))


def _same_bytes(prints: Fingerprints, groups: _Groups) -> NDArray[np.int64]:
    """Join readable photos with equal bytes, and return the numbers of the first of each, int64, in order. 8 bytes of a
    digest suffice to join; `_marks_of` compares all of them."""
    readable = np.flatnonzero(prints.column("readable"))
    digests = prints.digests()[readable]
    _, first, inverse = np.unique(digests, return_index=True, return_inverse=True)
    owner = first[inverse.ravel()]
    for place in np.flatnonzero(owner != np.arange(len(readable))).tolist():
        groups.join(int(readable[owner[place]]), int(readable[place]))
    return np.sort(readable[first]).astype(np.int64)


def _marks_of(
    groups: Sequence[Sequence[int]],
    rows: Sequence[Row],
    prints: Fingerprints,
    settings: DuplicateSettings,
    product: str,
) -> Iterator[Mark]:
    """The marks of some groups, in order. The best photo of a group stays; those that are like it are marked. What is
    left is a group of its own, so that no photo is marked for one that it does not resemble."""
    places = [place for members in groups for place in members]
    of = dict(zip(places, prints.take(places), strict=True))
    scores = {place: score(record) for place, record in of.items()}

    def rank(place: int) -> tuple[int, float, int]:
        return _SPLITS.get(rows[place].get("split", ""), 9), -scores[place], place

    made: list[list[Mark]] = [[] for _ in groups]
    left = [(number, sorted(members, key=rank)) for number, members in enumerate(groups)]
    while left:
        pairs = [(members[0], place) for _, members in left for place in members[1:]]
        kept, other = (np.stack([of[pair[side]]["small"] for pair in pairs]) for side in (0, 1))
        alike, apart = likeness(kept, other).tolist(), distances(p_hash(kept), p_hash(other)).tolist()
        judged = iter(zip(alike, apart, strict=True))
        rests = []
        for number, (best, *others) in left:
            rest = []
            for place, (like, bits) in zip(others, judged, strict=False):
                equal = bool((of[place]["sha256"] == of[best]["sha256"]).all())
                if not equal and like < settings.likeness:
                    rest.append(place)
                    continue
                why: dict[str, Value] = {"score": round(scores[place], 2), "kept_score": round(scores[best], 2)}
                if not equal:
                    why |= {"likeness": round(like, 3), "bits": bits}
                what: What = "same_bytes" if equal else "near_duplicate"
                made[number].append(_mark(rows[place], rows[best], what, why, product))
            rests.append((number, rest))
        left = [one for one in rests if len(one[1]) > 1]
    for marks in made:
        yield from marks


def _mark(row: Row, best: Row, what: What, why: dict[str, Value], product: str) -> Mark:
    if (label := best.get(product, "")) != row.get(product, ""):
        why["kept_product"] = label
    return Mark(
        step=STEP,
        what=what,
        photo=row["path"],
        why=why,
        group="d" + hashlib.sha256(best["path"].encode()).hexdigest()[:8],
        kept=best["path"],
        product=row.get(product, ""),
    )


class _Groups:
    """Which places belong together, by union and find."""

    def __init__(self, count: int) -> None:
        self._parent = np.arange(count)

    def join(self, one: int, other: int) -> None:
        a, b = self._root(one), self._root(other)
        if a != b:
            self._parent[max(a, b)] = min(a, b)

    def of_several(self) -> Iterator[list[int]]:
        """The groups of two or more, each in order, in the order of their first members."""
        parent = self._parent
        touched = np.flatnonzero(parent != np.arange(len(parent)))
        groups: dict[int, list[int]] = defaultdict(list)
        for place in touched.tolist():
            groups[self._root(place)].append(place)
        for root in sorted(groups):
            yield [root, *groups[root]]

    def _root(self, place: int) -> int:
        parent = self._parent
        while parent[place] != place:
            parent[place] = parent[parent[place]]
            place = int(parent[place])
        return place
