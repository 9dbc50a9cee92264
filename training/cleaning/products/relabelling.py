"""Relabel: a wrong photo of one product is often a right photo of another one, and goes there instead of being lost.

De-noising leaves the photos out that show something else than their product. Each of them is compared with all other
products, after labels of one product are merged. Its likeness to a product is the mean cosine to the two photos of it
that are most alike, as in `nearer`. It gets the label of the most alike product if

- the nearest photo of that product is within the strict radius of the de-noising, which hardly any photo of a product
  that nobody knows is, and
- the next product is clearly less alike. Its own label counts as a next product.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated

import msgspec
import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from training.cleaning.marks import Mark
from training.cleaning.products.nearer import LEAST_CORE, likeness, shortlists
from training.cleaning.products.noise import group_by_product

Floats = NDArray[np.float32]
Places = NDArray[np.int64]
STEP = "relabel"


class RelabelSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How sure it must be to which product a photo belongs."""

    clear_by: Annotated[float, Meta(ge=0)] = 0.05
    """The most alike product is so much more alike than the next one, as a difference of cosines."""
    radius: Annotated[float, Meta(ge=0, le=4)] = 0.0
    """Squared L2 distance to the product's nearest photo; 0 takes the strict radius of the de-noising."""


def relabel_marks(
    paths: Sequence[str],
    products: Sequence[str],
    vectors: Floats,
    wrong: NDArray[np.bool_],
    *,
    clear_by: float,
    radius: float,
) -> Iterator[Mark]:
    """A mark for each wrong photo whose product is found.

    Args:
        paths: of the photos that are kept, and of those that de-noising left out.
        products: of these photos, after merges. Photos without a product ("") are no photos of any.
        vectors: float32 [n, d], their embeddings, unit rows.
        wrong: bool [n], the photos that de-noising left out.
        clear_by: least difference of the cosines to the first and the second product.
        radius: largest squared L2 distance to the nearest photo of the product.
    """
    groups = group_by_product(["" if out else name for name, out in zip(products, wrong, strict=True)])
    names = [name for name, core in groups.items() if len(core) >= LEAST_CORE]
    photos = np.flatnonzero(wrong)
    if len(names) < 2 or not len(photos):
        return
    cores = [groups[name] for name in names]
    means = np.stack([vectors[core].mean(0) for core in cores])
    labels = shortlists(vectors[photos], means)
    count = labels.shape[1]
    alike = likeness(vectors, cores, np.repeat(photos, count), labels.ravel()).reshape(-1, count)
    order = np.argsort(-alike, axis=1, kind="stable")[:, :2]
    first, second = np.take_along_axis(alike, order, 1).T
    for number in np.flatnonzero(first - second >= clear_by):
        photo, label = int(photos[number]), int(labels[number, order[number, 0]])
        if names[label] == products[photo]:
            continue
        apart = np.maximum(2 - 2 * (vectors[cores[label]] @ vectors[photo]), 0)
        nearest = int(apart.argmin())
        if apart[nearest] <= radius:
            yield Mark(
                step=STEP,
                what="relabelled",
                photo=paths[photo],
                kept=paths[cores[label][nearest]],
                product=products[photo],
                into=names[label],
                why={
                    "distance": round(float(apart[nearest]), 4),
                    "radius": round(radius, 4),
                    "likeness": round(float(first[number]), 4),
                    "next": names[int(labels[number, order[number, 1]])],
                    "clear_by": round(float(first[number] - second[number]), 4),
                },
            )
