"""Hierarchical DBSCAN against a naive twin, and radii against counts by hand."""

from __future__ import annotations

import numpy as np
import pytest

from schemas.errors import ConfigError
from training.cleaning.products.noise import NoiseSettings, hierarchical_dbscan, noise_marks, radii, squared


def naive(apart: np.ndarray, strict: float, loose: float) -> tuple[set[int], set[int]]:
    """With two samples, a cluster is a set of photos that are linked by steps of at most the strict radius."""
    unseen, clusters = set(range(len(apart))), []
    while unseen:
        cluster, waiting = set(), [min(unseen)]
        while waiting:
            one = waiting.pop()
            if one in cluster:
                continue
            cluster.add(one)
            waiting += [other for other in unseen if apart[one, other] <= strict]
        unseen -= cluster
        if len(cluster) > 1:
            clusters.append(cluster)
    if not clusters:
        return set(), set()
    most = max(map(len, clusters))
    largest = [c for c in clusters if len(c) == most]
    cluster = min(largest, key=lambda c: apart[np.ix_(sorted(c), sorted(c))].mean())
    back = {i for i in range(len(apart)) if min(apart[i, j] for j in cluster) <= loose}
    return cluster, cluster | back


def unit(rows: np.ndarray) -> np.ndarray:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


@pytest.mark.parametrize("seed", range(20))
def test_the_clusters_are_those_of_a_naive_twin(seed: int) -> None:
    rng = np.random.default_rng(seed)
    vectors = unit(rng.normal(size=(rng.integers(1, 30), 3)))
    apart = squared(vectors, vectors)
    for strict, loose in ((0.05, 0.2), (0.2, 0.2), (0.001, 0.5), (3.9, 4.0)):
        cluster, kept = hierarchical_dbscan(apart, strict, loose)
        expected = naive(apart, strict, loose)
        assert (set(np.flatnonzero(cluster)), set(np.flatnonzero(kept))) == expected


def planted(seed: int = 7) -> tuple[list[str], list[str], np.ndarray, set[str]]:
    """Ten products around directions of their own, each with eight photos of it and two of another."""
    rng = np.random.default_rng(seed)
    centres = unit(rng.normal(size=(10, 32)))
    paths, products, rows, wrong = [], [], [], set()
    for product in range(10):
        for number in range(10):
            owner = product if number < 8 else (product + number) % 10
            path = f"{product}/{number}.jpg"
            paths.append(path)
            products.append(f"p{product}")
            rows.append(centres[owner] + rng.normal(size=32) * 0.06)
            if owner != product:
                wrong.add(path)
    return paths, products, unit(np.array(rows)), wrong


@pytest.mark.parametrize("split", [(0,), (3, 8)])
def test_a_product_with_two_labels_does_not_decide_the_radii(split: tuple[int, ...]) -> None:
    """Photos of the two labels are near each other, so as strangers they would allow next to no radius among so few
    products, and nothing would be a cluster."""
    paths, products, vectors, wrong = planted()
    halved = [f"{p}~2" if int(p[1:]) in split and i % 2 else p for i, p in enumerate(products)]
    whole, _ = noise_marks(paths, products, vectors, NoiseSettings())
    chosen, marks = noise_marks(paths, halved, vectors, NoiseSettings())
    assert {mark.photo for mark in marks} == wrong
    assert chosen.strict > 0.7 * whole.strict


def test_two_labels_of_one_product_alone_have_no_strangers() -> None:
    rng = np.random.default_rng(2)
    vectors = unit(np.eye(16)[0] + rng.normal(size=(12, 16)) * 0.05)
    chosen, marks = noise_marks([f"{i}.jpg" for i in range(12)], ["a", "b"] * 6, vectors, NoiseSettings())
    assert list(marks) == []
    assert {one.strangers for one in chosen.strict_ladder} == {0.0}


def test_planted_strangers_are_marked_and_the_mark_names_the_nearest_photo_of_the_product() -> None:
    paths, products, vectors, wrong = planted()
    chosen, marks = noise_marks(paths, products, vectors, NoiseSettings())
    found = list(marks)
    assert {mark.photo for mark in found} == wrong
    assert 0 < chosen.strict <= chosen.loose < 1.5
    for mark in found:
        place, kept = paths.index(mark.photo), paths.index(mark.kept)
        own = [i for i, p in enumerate(paths) if p.startswith(mark.photo[0]) and p not in wrong]
        apart = squared(vectors[place : place + 1], vectors[own])[0]
        assert own[int(apart.argmin())] == kept
        assert mark.why["distance"] == pytest.approx(apart.min(), abs=1e-3)


def test_a_ladder_counts_strangers_and_own_photos() -> None:
    _, products, vectors, _ = planted()
    groups = [vectors[[i for i, p in enumerate(products) if p == name]] for name in sorted(set(products))]
    chosen = radii(groups, NoiseSettings())
    one = next(entry for entry in chosen.strict_ladder if entry.radius == chosen.strict)
    centres = [group[squared(group, group).sum(1).argmin()] for group in groups]
    kept = strangers = 0
    for place, group in enumerate(groups):
        cluster = sorted(naive(squared(group, group), one.radius, 0)[0])
        kept += len(cluster)
        for other, centre in enumerate(centres):
            if other != place:
                strangers += squared(centre[None], group[cluster]).min() <= one.radius
    assert one.kept == pytest.approx(kept / len(vectors))
    assert one.strangers == pytest.approx(strangers / 90)
    assert one.strangers <= NoiseSettings().strict_strangers


def test_one_product_is_refused_unless_the_radii_are_given() -> None:
    vectors = unit(np.random.default_rng(1).normal(size=(5, 4)))
    with pytest.raises(ConfigError, match="two or more"):
        radii([vectors], NoiseSettings())
    chosen = radii([vectors], NoiseSettings(strict=0.3, loose=0.5))
    assert (chosen.strict, chosen.loose, chosen.strict_ladder, chosen.loose_ladder) == (0.3, 0.5, [], [])


def test_a_strict_radius_above_the_whole_ladder_is_the_loose_one_as_well() -> None:
    _, products, vectors, _ = planted()
    groups = [vectors[[i for i, p in enumerate(products) if p == name]] for name in sorted(set(products))]
    chosen = radii(groups, NoiseSettings(strict=3.9))
    assert (chosen.strict, chosen.loose, chosen.loose_ladder) == (3.9, 3.9, [])


def test_a_product_with_too_many_photos_to_compare_is_named() -> None:
    count = 10_001
    vectors = np.zeros((count, 2), np.float32)
    with pytest.raises(ConfigError, match="product 'crowd' has 10001 photos, and at most 10000"):
        noise_marks(["a.jpg"] * count, ["crowd"] * count, vectors, NoiseSettings(strict=0.1, loose=0.2))


def test_some_photos_of_a_large_product_choose_the_radii() -> None:
    """Of 1,200 photos every third, as if only these were there."""
    rng = np.random.default_rng(3)
    groups = [unit(centre + rng.normal(size=(1_200, 8)) * 0.1) for centre in rng.normal(size=(3, 8))]
    assert radii(groups, NoiseSettings()) == radii([group[::3] for group in groups], NoiseSettings())


def test_photos_without_product_and_tiny_products_are_not_judged() -> None:
    paths, products, vectors, wrong = planted()
    products = ["" if path in wrong else product for path, product in zip(paths, products, strict=True)]
    products[0] = "tiny"
    _, marks = noise_marks(paths, products, vectors, NoiseSettings())
    assert list(marks) == []
