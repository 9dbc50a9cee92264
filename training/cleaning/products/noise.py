"""De-noise: find the photos under a product's label that show something else, by hierarchical DBSCAN.

As published for WeChat's "scan to identify": DBSCAN with a strict radius and 2 samples groups the photos under a label,
and the largest cluster is the product. Then the noise is looked at again, and what lies within a looser distance of
that cluster is taken back, because unusual photos of the right product are worth most. What remains is marked. Noise
is here everything outside the largest cluster, other clusters included. Last, `nearer` finds the photos that are kept
but nearer to another product.

Distances are squared L2 distances of unit vectors, 2 − 2 cos, from 0 to 4. The radii follow from the data: `radii`.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

import msgspec
import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from schemas.errors import ConfigError
from training.cleaning.marks import Mark, Value
from training.cleaning.products.nearer import nearer_elsewhere

Floats = NDArray[np.float32]
Share = Annotated[float, Meta(gt=0, lt=1)]
STEP = "noise"
SAMPLES = 2  # of DBSCAN, as published: a photo and one neighbour make a core
LADDER = 40  # radii that are tried
MOST_PHOTOS = 10_000  # of one product that are compared at once: 400 MB of distances
MOST_COMPARED = 500  # photos of one product that choose the radii, spread evenly over all
USUAL = 0.8  # of a label's photos have their next one within the distance at which two labels may be one product
MOST_JUDGED = 500  # products that choose the radii, spread evenly over all; more would not change them


class NoiseSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How many strangers, photos of other products, each radius may let in, and which products are judged."""

    strict_strangers: Share = 0.005  # of the photos of other products within the strict radius of a cluster
    loose_strangers: Share = 0.05  # of them within the loose radius
    min_photos: Annotated[int, Meta(ge=3)] = 3  # with fewer, nobody can say which photo is the wrong one
    nearer_by: Annotated[float, Meta(gt=0)] = 0.1  # to another product, as a difference of cosines
    most_mixed: Share = 0.5  # of the photos of a label that are nearer to another; more, and the two may be one product
    strict: float = 0.0  # squared L2 distance; 0 chooses it from the data
    loose: float = 0.0  # squared L2 distance; 0 chooses it from the data


@dataclass(frozen=True)
class Judged:
    """One radius: the share of strangers within it of a product's cluster, and the share of the product's own photos
    that are in the cluster (strict) or kept (loose)."""

    radius: float
    strangers: float
    kept: float


@dataclass(frozen=True)
class Radii:
    """The two radii and the ladders that they were chosen from, in order of the radius."""

    strict: float
    loose: float
    strict_ladder: list[Judged]
    loose_ladder: list[Judged]


def hierarchical_dbscan(apart: Floats, strict: float, loose: float) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which photos are in the largest cluster, and which are kept: those and the ones taken back. Both bool [n].

    Args:
        apart: float32 [n, n], distances between the photos under one label.
        strict: the radius of DBSCAN.
        loose: photos at most so far from a photo of the cluster are taken back.

    If no two photos are within the strict radius, there is no cluster: both are all False.
    """
    cluster = _largest(apart, strict)
    if not cluster.any():
        return cluster, cluster
    return cluster, cluster | (apart[:, cluster].min(1) <= loose)


def radii(groups: Sequence[Floats], settings: NoiseSettings) -> Radii:
    """Choose the radii that let in few strangers: the largest of a ladder that stays within the settings' shares.

    A stranger is a photo of another product. Its distance to a product's cluster is measured as if it lay under that
    label. Nothing needs to be known about which photos are wrong. The ladder are quantiles of the distances between
    photos under one label.

    Args:
        groups: for each product its embeddings, float32 [n, d], unit rows.
        settings: the shares.

    Radii that the settings name are taken as they are, and nothing is judged if they name both.

    Raises:
        ConfigError: there are fewer than two products with enough photos.
    """
    if settings.strict and settings.loose:
        return Radii(settings.strict, settings.loose, [], [])
    judged = [group for group in groups if len(group) >= settings.min_photos]
    if len(judged) < 2:
        raise ConfigError(
            f"noise: {len(judged)} products have {settings.min_photos} photos or more; radii are chosen by comparing "
            "products, so give two or more, or set strict and loose"
        )
    judged = [group[:: -(-len(group) // MOST_COMPARED)] for group in judged[:: -(-len(judged) // MOST_JUDGED)]]
    own = [squared(group, group) for group in judged]
    others = _strangers(judged, own)
    inner = np.concatenate([apart[np.triu_indices(len(apart), 1)] for apart in own])
    ladder = np.unique(np.quantile(inner, np.linspace(0.002, 0.9, LADDER))).tolist()
    strict_ladder = [_judge(radius, own, others, [_largest(apart, radius) for apart in own]) for radius in ladder]
    strict = settings.strict or _choose(strict_ladder, settings.strict_strangers, ladder[0])
    clusters = [_largest(apart, strict) for apart in own]
    loose_ladder = [_judge(radius, own, others, clusters) for radius in ladder if radius >= strict]
    least = loose_ladder[0].radius if loose_ladder else strict  # strict may be above all radii
    loose = settings.loose or _choose(loose_ladder, settings.loose_strangers, least)
    return Radii(strict, loose, strict_ladder, loose_ladder)


def noise_marks(
    paths: Sequence[str],
    products: Sequence[str],
    vectors: Floats,
    settings: NoiseSettings,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[Radii, Iterator[Mark]]:
    """The radii, and a mark for each photo that is not kept.

    Args:
        paths: of the photos.
        products: of the photos; photos without a product ("") are not judged.
        vectors: float32 [n, d], their embeddings, unit rows.
        settings: radii and bounds.
        progress: called with the products done and the products in all.

    Raises:
        ConfigError: as `radii`, or a product has more than `MOST_PHOTOS` photos.
    """
    groups = group_by_product(products)
    for product, places in groups.items():
        if len(places) > MOST_PHOTOS:
            raise ConfigError(
                f"noise: product {product!r} has {len(places)} photos, and at most {MOST_PHOTOS} can be compared at "
                "once; if it is no single product, leave its photos without a product, or split it"
            )
    chosen = radii([vectors[places] for places in groups.values()], settings)
    judged = [_judged(vectors, places, chosen, settings) for places in _counted(groups, progress)]
    cores = [
        places[kept] if cluster.any() else places[:0]
        for places, (cluster, kept) in zip(groups.values(), judged, strict=True)
    ]
    found = nearer_elsewhere(vectors, cores, least=settings.nearer_by, most_mixed=settings.most_mixed)
    names = list(groups)
    nearer = {
        int(photo): (names[other], float(by))
        for photo, other, by in zip(found.photos, found.others, found.by, strict=True)
    }
    return chosen, (
        mark
        for (product, places), (cluster, kept) in zip(groups.items(), judged, strict=True)
        if cluster.any()
        for mark in _marks(paths, vectors, (product, places, cluster, kept), nearer, chosen)
    )


def group_by_product(products: Sequence[str]) -> dict[str, NDArray[np.int64]]:
    """Product → places of its photos, int64, without the empty one, in order of name."""
    groups: dict[str, list[int]] = defaultdict(list)
    for place, product in enumerate(products):
        if product:
            groups[product].append(place)
    return {product: np.array(groups[product], np.int64) for product in sorted(groups)}


def squared(left: Floats, right: Floats) -> Floats:
    """Squared L2 distances of unit rows, float32 [n, m], from 0 to 4."""
    return np.asarray(np.maximum(2 - 2 * (left @ right.T), 0), np.float32)


def _counted(
    groups: Mapping[str, NDArray[np.int64]], progress: Callable[[int, int], None] | None
) -> Iterator[NDArray[np.int64]]:
    for done, places in enumerate(groups.values(), start=1):
        yield places
        if progress is not None:
            progress(done, len(groups))


def _judged(
    vectors: Floats, places: NDArray[np.int64], chosen: Radii, settings: NoiseSettings
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """The cluster of one label and what is kept; no cluster where nothing can be said."""
    if len(places) < settings.min_photos:
        nothing = np.zeros(len(places), np.bool_)
        return nothing, nothing
    return hierarchical_dbscan(squared(vectors[places], vectors[places]), chosen.strict, chosen.loose)


def _marks(
    paths: Sequence[str],
    vectors: Floats,
    group: tuple[str, NDArray[np.int64], NDArray[np.bool_], NDArray[np.bool_]],
    nearer: Mapping[int, tuple[str, float]],
    chosen: Radii,
) -> Iterator[Mark]:
    """The marks of one label: photos that are not kept, and photos that are nearer to another label."""
    product, places, cluster, kept = group
    inside = places[cluster]
    for place, keep in zip(places.tolist(), kept.tolist(), strict=True):
        if keep and place not in nearer:
            continue
        apart = squared(vectors[place : place + 1], vectors[inside])[0]
        apart[inside == place] = np.inf
        nearest = int(apart.argmin())
        why: dict[str, Value] = {
            "distance": round(float(apart[nearest]), 4),
            "strict": round(chosen.strict, 4),
            "loose": round(chosen.loose, 4),
            "cluster": len(inside),
            "photos": len(places),
        }
        if keep:
            why |= {"nearer_to": nearer[place][0], "nearer_by": round(nearer[place][1], 4)}
        yield Mark(
            step=STEP,
            what="noise",
            photo=paths[place],
            kept=paths[inside[nearest]],
            product=product,
            group="n" + hashlib.sha256(product.encode()).hexdigest()[:8],
            why=why,
        )


def _largest(apart: Floats, radius: float) -> NDArray[np.bool_]:
    """The largest cluster of DBSCAN, of equals the one whose photos are closest to each other; all False if none."""
    from sklearn.cluster import DBSCAN

    labels = DBSCAN(eps=max(radius, 1e-12), min_samples=SAMPLES, metric="precomputed").fit(apart).labels_
    clusters = [labels == label for label in range(labels.max() + 1)]
    if not clusters:
        return np.zeros(len(apart), np.bool_)
    return max(clusters, key=lambda one: (one.sum(), -apart[np.ix_(one, one)].mean()))


def _strangers(groups: Sequence[Floats], own: Sequence[Floats]) -> list[Floats]:
    """For each product the distances of one photo of every other product to its photos, float32 [photos, others]. The
    photo is the most central one of its product, which is hardly one of the wrong ones.

    Two labels that may be one product are no strangers to each other: the central photo of each is as near to a photo
    of the other label as most photos of that label are to their next one. Without this, one split product among few
    would decide the radii.
    """
    central = np.stack([group[apart.sum(1).argmin()] for group, apart in zip(groups, own, strict=True)])
    far = [squared(group, central) for group in groups]
    nearest = np.stack([apart.min(0) for apart in far])  # [label, the central photo of another]
    usual = np.array([np.quantile(_to_next(apart), USUAL) for apart in own])
    one = nearest <= usual[:, None]
    one &= one.T
    np.fill_diagonal(one, True)
    for place, same in enumerate(one):
        far[place] = far[place][:, ~same]
    return far


def _to_next(apart: Floats) -> Floats:
    """The distance of each photo to the nearest other one, float32 [n]."""
    return np.asarray(np.where(np.eye(len(apart), dtype=bool), np.inf, apart).min(1))


def _judge(
    radius: float, own: Sequence[Floats], others: Sequence[Floats], clusters: Sequence[NDArray[np.bool_]]
) -> Judged:
    """The share of strangers within the radius of the clusters, and the share of the own photos that are."""
    found = [(apart, far, one) for apart, far, one in zip(own, others, clusters, strict=True) if one.any()]
    if not found:
        return Judged(radius, 0.0, 0.0)
    strangers = np.concatenate([far[one].min(0) <= radius for _, far, one in found])
    kept = np.concatenate([apart[one].min(0) <= radius for apart, _, one in found])
    return Judged(radius, float(strangers.mean()) if len(strangers) else 0.0, float(kept.sum() / sum(map(len, own))))


def _choose(ladder: Sequence[Judged], strangers: float, least: float) -> float:
    """The largest radius that lets in at most so many strangers, or else the least one."""
    return max((one.radius for one in ladder if one.strangers <= strangers), default=least)
