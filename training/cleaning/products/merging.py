"""Merge labels that are one product: as published, by the confusions of a classifier, from a high threshold downwards.

Photos of one product that two sellers gave two labels are taken for each other by any classifier. In each round the
labels are merged whose confusion p_ij = c_ij / n_i is above the threshold in both directions together; then the
classifier is fitted again to the merged labels, and the threshold is lowered. When the lowest threshold is reached,
rounds go on until nothing merges.

A linear classifier does not learn labels of two to five photos. So the label of each photo's nearest other photo counts
as a second classifier, with a higher lowest threshold of its own, and the more confused of the two decides.

A classifier also confuses two products that look alike. So the photos of two labels must be mixed as well: `mixing` has
the measures. The gap between them must be small, or no larger than chance makes it; and the gap with a steadier spread
must not be large.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

import msgspec
import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from training.cleaning.marks import Mark
from training.cleaning.products.confusions import Confusions, confusions, nearest_confusions, nearest_photos
from training.cleaning.products.mixing import chance, gap, steady_gap, typical_spread

Floats = NDArray[np.float32]
Share = Annotated[float, Meta(gt=0, le=1)]
STEP = "merge"
_MOST_ROUNDS = 100  # merges end long before: every round but the last at the lowest threshold merges something


class MergeSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When two labels are one product. `docs/benchmarks/cleaning.md` shows how the numbers were chosen."""

    highest: Share = 0.5  # share of confused photos at which the first round merges
    lowest: Share = 0.2  # share at which the last rounds merge
    # share of photos whose nearest one has the other label, at which the last rounds merge
    lowest_nearest: Share = 0.35
    lower_by: Share = 0.05  # how much the threshold falls after each round
    min_confused: Annotated[int, Meta(ge=1)] = 2  # photos of the two labels that are confused, at least
    most_gap: Share = 0.09  # between the photos of two labels, as a share
    # share of the other divisions of the photos that are as far apart; from here on, the gap is thought to be chance
    least_chance: Share = 0.1
    most_steady_gap: Share = 0.35  # the gap, with a spread that few photos do not change much


@dataclass(frozen=True)
class Mixed:
    """The measures of `mixing` for the photos of two labels. `chance` is None where the gap alone decides."""

    gap: float
    steady_gap: float
    chance: float | None


@dataclass(frozen=True)
class Merge:
    """One merge of a round.

    Attributes:
        product: the label that disappears; it has fewer photos.
        into: the label that it becomes.
        by: the classifier that decided: `linear`, or `nearest` for the label of the nearest photo.
        share: confused photos of both labels as a share of all their photos.
        p: p_ij of `product` towards `into`.
        p_back: p_ij of `into` towards `product`.
        confused: how many photos of the two were confused.
        mixed: what says that the photos of the two labels are mixed.
        round: from 1.
        threshold: of that round.
        photo: place of a photo of one label that was taken for the other's, of `product` where there is one.
        other: place of the nearest photo of the other label.
    """

    product: str
    into: str
    by: str
    share: float
    p: float
    p_back: float
    confused: int
    mixed: Mixed
    round: int
    threshold: float
    photo: int
    other: int


def merges(
    vectors: Floats,
    products: Sequence[str],
    settings: MergeSettings,
    *,
    progress: Callable[[int], None] | None = None,
) -> Iterator[Merge]:
    """Every merge, round by round.

    Args:
        vectors: float32 [n, d], embeddings of the photos, unit rows.
        products: n labels, none empty.
        settings: thresholds.
        progress: called with the number of each round that begins.
    """
    labels = list(products)
    threshold = settings.highest
    nearest = nearest_photos(vectors) if len(vectors) > 1 else np.empty(0, np.int64)
    for number in range(1, _MOST_ROUNDS + 1):
        if len(set(labels)) < 2:
            return
        if progress is not None:
            progress(number)
        found = {"linear": confusions(vectors, labels), "nearest": nearest_confusions(nearest, labels)}
        made = list(_round(vectors, found, settings, number, threshold))
        yield from made
        into = {merge.product: merge.into for merge in made}
        labels = [into.get(label, label) for label in labels]
        if threshold <= settings.lowest and not made:
            return
        threshold = max(settings.lowest, round(threshold - settings.lower_by, 6))


def merge_marks(
    paths: Sequence[str],
    products: Sequence[str],
    vectors: Floats,
    settings: MergeSettings,
    *,
    progress: Callable[[int], None] | None = None,
) -> Iterator[Mark]:
    """A mark for each merge. Arguments as of `merges`; photos without a product ("") are left out."""
    known = [place for place, product in enumerate(products) if product]
    for merge in merges(vectors[known], [products[place] for place in known], settings, progress=progress):
        yield Mark(
            step=STEP,
            what="same_product",
            product=merge.product,
            into=merge.into,
            photo=paths[known[merge.photo]],
            kept=paths[known[merge.other]],
            group="m" + hashlib.sha256(merge.into.encode()).hexdigest()[:8],
            why={
                "by": merge.by,
                "share": round(merge.share, 3),
                "p": round(merge.p, 3),
                "p_back": round(merge.p_back, 3),
                "confused": merge.confused,
                "gap": round(merge.mixed.gap, 3),
                "steady_gap": round(merge.mixed.steady_gap, 3),
                **({} if merge.mixed.chance is None else {"chance": round(merge.mixed.chance, 3)}),
                "round": merge.round,
                "threshold": merge.threshold,
            },
        )


def _round(
    vectors: Floats, found: Mapping[str, Confusions], settings: MergeSettings, number: int, threshold: float
) -> Iterator[Merge]:
    """The merges of one round, the most confused first. A label takes part in one merge, so that the next round judges
    the merged label anew. `found` has the confusions of each classifier."""
    least = {"linear": threshold, "nearest": max(threshold, settings.lowest_nearest)}
    candidates = sorted(
        ((share, pair, by) for by, one in found.items() for pair, share in _shares(one, settings, least[by]).items()),
        key=lambda one: (-one[0], one[1], one[2]),
    )
    confused = {by: _counts(one) for by, one in found.items()}
    totals = np.bincount(found["linear"].truth)
    typical = typical_spread(vectors, found["linear"].truth)
    taken: set[int] = set()
    for share, (i, j), by in candidates:
        if taken & {i, j}:
            continue
        one = found[by]
        mixed = _mixed(vectors[one.truth == i], vectors[one.truth == j], typical, settings)
        if mixed is None:
            continue
        taken |= {i, j}
        small, large = sorted((i, j), key=lambda label: (totals[label], label))
        forth, back = confused[by].get((small, large), 0), confused[by].get((large, small), 0)
        photo, other = _explained(vectors, one, small, large)
        yield Merge(
            product=one.labels[small],
            into=one.labels[large],
            by=by,
            share=share,
            p=forth / int(totals[small]),
            p_back=back / int(totals[large]),
            confused=forth + back,
            mixed=mixed,
            round=number,
            threshold=least[by],
            photo=photo,
            other=other,
        )


def _mixed(left: Floats, right: Floats, typical: float, settings: MergeSettings) -> Mixed | None:
    """The measures of two labels if they say that these are mixed, or else None."""
    steady = steady_gap(left, right, typical)
    if steady > settings.most_steady_gap:
        return None
    apart = gap(left, right)
    if apart <= settings.most_gap:
        return Mixed(apart, steady, None)
    by_chance = chance(left, right)
    return Mixed(apart, steady, by_chance) if by_chance >= settings.least_chance else None


def _counts(found: Confusions) -> dict[tuple[int, int], int]:
    return {(i, j): count for i, j, count, _ in found.pairs()}


def _shares(found: Confusions, settings: MergeSettings, least: float) -> dict[tuple[int, int], float]:
    """Pairs of labels, the smaller place first, and the share of their photos that one classifier confuses."""
    totals, counts = np.bincount(found.truth, minlength=len(found.labels)), _counts(found)
    shares = {}
    for i, j in {(min(pair), max(pair)) for pair in counts}:
        confused = counts.get((i, j), 0) + counts.get((j, i), 0)
        share = float(confused / (totals[i] + totals[j]))
        if confused >= settings.min_confused and share >= least:
            shares[i, j] = share
    return shares


def _explained(vectors: Floats, found: Confusions, small: int, large: int) -> tuple[int, int]:
    """The confused photo that is nearest to a photo of the other label, and that photo."""
    best = (-2.0, -1, -1)
    for own, theirs in ((small, large), (large, small)):
        confused = np.flatnonzero((found.truth == own) & (found.said == theirs))
        others = np.flatnonzero(found.truth == theirs)
        if len(confused):
            cosine = vectors[confused] @ vectors[others].T
            place = np.unravel_index(cosine.argmax(), cosine.shape)
            best = max(best, (float(cosine[place]), int(confused[place[0]]), int(others[place[1]])))
    return best[1], best[2]
