"""De-duplicate: photos with equal bytes, and photos that are one picture. The best one of each group stays.

The best one is the largest, sharpest, least compressed one with the fewest overlays. `score` weighs these in doublings.
A photo of the splits test, val and gallery comes before one of train, so that no copy of a photo that is measured
stays in training.
"""

from __future__ import annotations

import hashlib
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
from training.cleaning.copies.groups import NOBODY_SAID, Groups, Links
from training.cleaning.copies.hashes import distances, p_hash
from training.cleaning.copies.near_pairs import near_pairs
from training.cleaning.marks import Mark, Value
from training.readers.label_table import Row

INDEX = "index"  # folder of the hashes of the last run, below that of the fingerprints
STEP = "duplicates"
OVERLAY_WEIGHT = 16.0  # doublings that a picture full of border and strokes loses
COMPRESSION_WEIGHT = 0.5  # below 1, because a poor photo that was saved again at a high quality looks uncompressed
_JUDGED = 256  # groups whose photos are compared at once
_EACH_WITH_EACH = 64  # photos of the largest group in which any two may be compared; a comparison takes 0.5 ms
_READ = 4096  # fingerprints that are read at once: 4 MB
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
    groups = Groups(len(rows))
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
        groups.pair(pair)
    marking = _Marking(rows, prints, settings, product)
    several = groups.of_several()
    while some := list(islice(several, _JUDGED)):
        small = iter(marking.of_all([one for one in some if len(one) <= _EACH_WITH_EACH]))
        for members in some:
            yield from next(small) if len(members) <= _EACH_WITH_EACH else marking.of_linked(groups.links(members))


def score(record: NDArray[np.void]) -> float:
    """How good a photo is among its copies: one more for twice the area, four times the squared sharpness, or a quarter
    of the compression, and less for overlays."""
    area = max(1.0, float(record["width"]) * float(record["height"]))
    sharp = 0.5 * np.log2(1.0 + float(record["sharpness"]))
    compression = np.log2(max(1.0, float(record["compression"])))
    return float(np.log2(area) + sharp - COMPRESSION_WEIGHT * compression - OVERLAY_WEIGHT * float(record["overlay"]))


def _same_bytes(prints: Fingerprints, groups: Groups) -> NDArray[np.int64]:
    """Join readable photos with equal bytes, and return the numbers of the first of each, int64, in order. 8 bytes of a
    digest suffice to join; `_Marking` compares all of them."""
    readable = np.flatnonzero(prints.column("readable"))
    digests = prints.digests()[readable]
    _, first, inverse = np.unique(digests, return_index=True, return_inverse=True)
    owner = first[inverse.ravel()]
    for place in np.flatnonzero(owner != np.arange(len(readable))).tolist():
        groups.same_bytes(int(readable[owner[place]]), int(readable[place]))
    return np.sort(readable[first]).astype(np.int64)


class _Marking:
    """Chooses the best photo of each group, and marks those that are like it."""

    def __init__(self, rows: Sequence[Row], prints: Fingerprints, settings: DuplicateSettings, product: str) -> None:
        self._rows, self._prints, self._settings, self._product = rows, prints, settings, product

    def of_all(self, groups: Sequence[Sequence[int]]) -> list[list[Mark]]:
        """The marks of some groups. The best photo of a group stays; those that are like it are marked. What is left is
        a group of its own, so that no photo is marked for one that it does not resemble."""
        places = [place for members in groups for place in members]
        of = dict(zip(places, self._prints.take(places), strict=True))
        scores = {place: score(record) for place, record in of.items()}
        made: list[list[Mark]] = [[] for _ in groups]
        left = [
            (number, sorted(members, key=lambda place: self._rank(place, scores[place])))
            for number, members in enumerate(groups)
        ]
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
                    if not equal and like < self._settings.likeness:
                        rest.append(place)
                        continue
                    found = None if equal else (like, bits)
                    made[number].append(self._mark((place, scores[place]), (best, scores[best]), found))
                rests.append((number, rest))
            left = [one for one in rests if len(one[1]) > 1]
        return made

    def of_linked(self, links: Links) -> Iterator[Mark]:
        """The marks of one large group in the same way, but a photo is compared only with those that found it or one of
        its twins. So the time grows with the pairs, and not with the square of the group."""
        members = links.members.tolist()
        scores = [score(record) for start in range(0, len(members), _READ) for record in self._read(members, start)]
        order = sorted(range(len(members)), key=lambda i: self._rank(members[i], scores[i]))
        turn = np.empty(len(members), np.int64)
        turn[order] = np.arange(len(members))
        for best in order:
            if turn[best] < 0:  # it was marked
                continue
            near = links.near(best)
            near = near[turn[near] > turn[best]]
            if not len(near):
                continue
            records = self._prints.take(links.members[[best, *near]])
            equal = (records["sha256"][1:] == records["sha256"][0]).all(1)
            alike = links.likeness(best, near)
            ask = np.flatnonzero((alike == NOBODY_SAID) & ~equal)
            kept = np.repeat(records["small"][:1], len(near), axis=0)
            for some in np.split(ask, range(_EACH_WITH_EACH, len(ask), _EACH_WITH_EACH)):
                alike[some] = likeness(kept[some], records["small"][1:][some])
                if not (alike[some] >= self._settings.likeness).any():
                    break  # else thousands of different pictures with one hash would take the square of their number
            apart = distances(p_hash(kept), p_hash(records["small"][1:]))
            for i in np.flatnonzero(equal | (alike >= self._settings.likeness)).tolist():
                place = int(near[i])
                found = None if equal[i] else (float(alike[i]), int(apart[i]))
                yield self._mark((members[place], scores[place]), (members[best], scores[best]), found)
                turn[place] = -1

    def _read(self, members: list[int], start: int) -> NDArray[np.void]:
        return self._prints.take(members[start : start + _READ])

    def _rank(self, place: int, scored: float) -> tuple[int, float, int]:
        return _SPLITS.get(self._rows[place].get("split", ""), 9), -scored, place

    def _mark(self, photo: tuple[int, float], best: tuple[int, float], found: tuple[float, int] | None) -> Mark:
        """The mark of a photo, (place, score), that is like a better one; `found`: likeness and bits, None if the bytes
        are equal."""
        row, kept = self._rows[photo[0]], self._rows[best[0]]
        why: dict[str, Value] = {"score": round(photo[1], 2), "kept_score": round(best[1], 2)}
        if found is not None:
            why |= {"likeness": round(found[0], 3), "bits": found[1]}
        if (label := kept.get(self._product, "")) != row.get(self._product, ""):
            why["kept_product"] = label
        return Mark(
            step=STEP,
            what="same_bytes" if found is None else "near_duplicate",
            photo=row["path"],
            why=why,
            group="d" + hashlib.sha256(kept["path"].encode()).hexdigest()[:8],
            kept=kept["path"],
            product=row.get(self._product, ""),
        )
