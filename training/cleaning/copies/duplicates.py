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
from training.cleaning.copies.fingerprints import Fingerprints
from training.cleaning.copies.flat_colours import marks_of_flat
from training.cleaning.copies.groups.joined import Groups
from training.cleaning.copies.groups.large_groups import LargeGroup
from training.cleaning.copies.groups.small_groups import marks_of_small
from training.cleaning.copies.large_arrays import first_of_equal
from training.cleaning.copies.marking import Marker
from training.cleaning.copies.near_pairs import near_pairs
from training.cleaning.marks import Mark
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
        yield from _marks(groups, prints, marker, settings)
    yield from marks_of_flat(np.flatnonzero(prints.column("flat")), prints, marker, settings.likeness)


def _marks(groups: Groups, prints: Fingerprints, marker: Marker, settings: DuplicateSettings) -> Iterator[Mark]:
    """The marks of all groups, some at a time."""
    bits, least = settings.bits, settings.likeness
    several = groups.of_several()
    while some := list(islice(several, _JUDGED)):
        small = iter(marks_of_small([one for one in some if len(one) <= _EACH_WITH_EACH], prints, marker, least))
        for members in some:
            if len(members) <= _EACH_WITH_EACH:
                yield from next(small)
            else:
                yield from LargeGroup(groups.links(members), prints, marker, bits=bits, least=least).marks()


def _same_bytes(prints: Fingerprints, groups: Groups) -> NDArray[np.int64]:
    """Join readable photos with equal bytes, and return the numbers of the first of each, int64, in order, without
    photos of one flat colour. 8 bytes of a digest suffice to join; the marks compare all of them."""
    readable = np.flatnonzero(prints.column("readable") > prints.column("flat"))
    first = first_of_equal(prints.digests()[readable, None])
    repeated = np.flatnonzero(first != np.arange(len(first)))
    for place in repeated.tolist():
        groups.same_bytes(int(readable[first[place]]), int(readable[place]))
    return np.delete(readable, repeated)
