"""De-duplicate: photos with equal bytes, and photos that are one picture. The best one of each group stays.

The best one is the largest, sharpest, least compressed one with the fewest overlays. `score` weighs these in doublings.
A photo of the splits test, val and gallery comes before one of train, so that no copy of a photo that is measured
stays in training.
"""

from __future__ import annotations

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
from training.cleaning.copies.groups import Groups
from training.cleaning.copies.hashes import distances, p_hash
from training.cleaning.copies.large_arrays import first_of_equal
from training.cleaning.copies.large_groups import LargeGroup
from training.cleaning.copies.marking import Marker, Scored, score
from training.cleaning.copies.near_pairs import near_pairs
from training.cleaning.marks import Mark, Value
from training.readers.label_table import Row

INDEX = "index"  # folder of the hashes of the last run, below that of the fingerprints
_JUDGED = 256  # groups whose photos are compared at once
_EACH_WITH_EACH = 64  # photos of the largest group in which any two may be compared; a comparison takes 0.5 ms


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
    folder = prints.folder / INDEX
    marker = Marker(rows, prints, product)
    with Groups(len(rows), folder, large=_EACH_WITH_EACH) as groups:
        pairs = near_pairs(
            prints.small,
            _same_bytes(prints, groups),
            folder,
            bits=settings.bits,
            least_likeness=settings.likeness,
            workers=workers,
            engine=engine,
            progress=progress,
        )
        for pair in pairs:
            groups.pair(pair)
        several = groups.of_several()
        while some := list(islice(several, _JUDGED)):
            small = iter(_marks_of_small([one for one in some if len(one) <= _EACH_WITH_EACH], prints, marker, settings))
            for members in some:
                if len(members) <= _EACH_WITH_EACH:
                    yield from next(small)
                else:
                    yield from LargeGroup(groups.links(members), prints, marker, settings.likeness).marks()


def _same_bytes(prints: Fingerprints, groups: Groups) -> NDArray[np.int64]:
    """Join readable photos with equal bytes, and return the numbers of the first of each, int64, in order. 8 bytes of a
    digest suffice to join; the marks compare all of them."""
    readable = np.flatnonzero(prints.column("readable"))
    first = first_of_equal(prints.digests()[readable, None])
    repeated = np.flatnonzero(first != np.arange(len(first)))
    for place in repeated.tolist():
        groups.same_bytes(int(readable[first[place]]), int(readable[place]))
    return np.delete(readable, repeated)


def _marks_of_small(
    groups: Sequence[NDArray[np.int64]], prints: Fingerprints, marker: Marker, settings: DuplicateSettings
) -> list[list[Mark]]:
    """The marks of some groups. The best photo of a group stays; those that are like it are marked. What is left is a
    group of its own, so that no photo is marked for one that it does not resemble."""
    if not groups:
        return []
    places = np.concatenate(groups).tolist()
    of = dict(zip(places, prints.take(places), strict=True))
    scored = {place: Scored(place, score(record)) for place, record in of.items()}
    made: list[list[Mark]] = [[] for _ in groups]
    left = [
        (number, sorted(members.tolist(), key=lambda place: marker.rank(scored[place])))
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
                if not equal and like < settings.likeness:
                    rest.append(place)
                    continue
                why: dict[str, Value] | None = None if equal else {"likeness": round(like, 3), "bits": bits}
                made[number].append(marker.mark(scored[place], scored[best], why))
            rests.append((number, rest))
        left = [one for one in rests if len(one[1]) > 1]
    return made
