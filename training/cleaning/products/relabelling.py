"""Relabel: a wrong photo of one product is often a right photo of another one, and goes there instead of being lost.

De-noising leaves the photos out that show something else than their product. Each of them is compared with all other
products, after labels of one product are merged. Its likeness to a product is the mean cosine to the two photos of it
that are most alike, as in `nearer`. It gets the label of the most alike product if

- the nearest photo of that product is within a radius, and
- the next product is clearly less alike. Its own label counts as a next product.

Crawled photos often show a product that the folder does not have. The radius follows from that: if the product of a
photo that is kept were unknown, the photo would be such a stranger, and might go to another product. Of all photos that
are kept, the radius lets in a small share.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated

import msgspec
import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from training.cleaning.marks import Mark
from training.cleaning.products.nearer import LEAST_CORE, elsewhere, likeness, shortlists
from training.cleaning.products.noise import Share, group_by_product

Floats = NDArray[np.float32]
Places = NDArray[np.int64]
STEP = "relabel"


class RelabelSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How sure it must be to which product a photo belongs."""

    clear_by: Annotated[float, Meta(ge=0)] = 0.05
    """The most alike product is so much more alike than the next one, as a difference of cosines."""
    radius: Annotated[float, Meta(ge=0, le=4)] = 0.0
    """Squared L2 distance to the product's nearest photo; 0 chooses it from the data."""
    strangers: Share = 0.05
    """Of the photos of a product that nobody knows, so many may get a label by the chosen radius."""
    most_mixed: Share = 0.5
    """Of the photos of a label that are nearer to another one; more, and the two may be one product. Such a pair does
    not count when the radius is chosen."""


def relabel_marks(
    paths: Sequence[str],
    products: Sequence[str],
    vectors: Floats,
    wrong: NDArray[np.bool_],
    *,
    strict: float,
    settings: RelabelSettings,
) -> tuple[float, Iterator[Mark]]:
    """The radius, and a mark for each wrong photo whose product is found.

    Args:
        paths: of the photos that are kept, and of those that de-noising left out.
        products: of these photos, after merges. Photos without a product ("") are no photos of any.
        vectors: float32 [n, d], their embeddings, unit rows.
        wrong: bool [n], the photos that de-noising left out.
        strict: the strict radius of the de-noising; the chosen radius is not larger.
        settings: radius and bounds.
    """
    groups = group_by_product(["" if out else name for name, out in zip(products, wrong, strict=True)])
    cores = {name: core for name, core in groups.items() if len(core) >= LEAST_CORE}
    photos = np.flatnonzero(wrong)
    if len(cores) < 2 or not len(photos):
        return settings.radius, iter(())
    radius = settings.radius or _radius(vectors, list(cores.values()), strict, settings)
    return radius, _marks(paths, products, vectors, photos, cores=cores, clear_by=settings.clear_by, radius=radius)


def _radius(vectors: Floats, cores: Sequence[Places], strict: float, settings: RelabelSettings) -> float:
    """The largest radius below which the share of strangers stays, but not above the strict one."""
    seen = elsewhere(vectors, cores, settings.most_mixed)
    best, first, second = _two_best(seen.alike)
    clear = (first - second >= settings.clear_by) & (first > -1)
    labels = np.take_along_axis(seen.labels, best[:, None], 1)[:, 0]
    apart = np.sort(_apart(vectors, cores, seen.photos[clear], labels[clear]))
    allowed = int(settings.strangers * len(seen.photos))
    return min(strict, float(apart[allowed])) if allowed < len(apart) else strict


def _marks(
    paths: Sequence[str],
    products: Sequence[str],
    vectors: Floats,
    photos: Places,
    *,
    cores: dict[str, Places],
    clear_by: float,
    radius: float,
) -> Iterator[Mark]:
    """The marks of the wrong `photos`; see `relabel_marks`."""
    names, places = list(cores), list(cores.values())
    labels = shortlists(vectors[photos], np.stack([vectors[core].mean(0) for core in places]))
    count = labels.shape[1]
    alike = likeness(vectors, places, np.repeat(photos, count), labels.ravel()).reshape(-1, count)
    best, first, second = _two_best(alike)
    for number in np.flatnonzero(first - second >= clear_by).tolist():
        photo, label = int(photos[number]), int(labels[number, best[number]])
        if names[label] == products[photo]:
            continue
        cosines = vectors[places[label]] @ vectors[photo]
        nearest = int(cosines.argmax())
        apart = max(0.0, 2 - 2 * float(cosines[nearest]))
        if apart < radius:
            yield Mark(
                step=STEP,
                what="relabelled",
                photo=paths[photo],
                kept=paths[places[label][nearest]],
                product=products[photo],
                into=names[label],
                why={
                    "distance": round(apart, 4),
                    "radius": round(radius, 4),
                    "likeness": round(float(first[number]), 4),
                    "clear_by": round(float(first[number] - second[number]), 4),
                },
            )


def _two_best(alike: Floats) -> tuple[Places, Floats, Floats]:
    """The place of the largest value of each row, that value, and the next one; -1 where there is only one."""
    padded = np.pad(alike, ((0, 0), (0, 1)), constant_values=-1)
    order = np.argsort(-padded, axis=1, kind="stable")[:, :2]
    first, second = np.take_along_axis(padded, order, 1).T
    return order[:, 0], first, second


def _apart(vectors: Floats, cores: Sequence[Places], photos: Places, labels: Places) -> Floats:
    """The squared distance of each photo to the nearest photo of the label at its place, float32 [n]."""
    if not len(photos):
        return np.empty(0, np.float32)
    return np.maximum(2 - 2 * likeness(vectors, cores, photos, labels, count=1), 0)
