"""Wrong photos whose product is found: planted ones, strangers, and a naive twin."""

from __future__ import annotations

import numpy as np
import pytest

from training.cleaning.marks import Mark
from training.cleaning.products.relabelling import RelabelSettings, relabel_marks

STRANGER = "nobody knows"


def planted(seed: int, products: int = 12) -> tuple[list[str], list[str], np.ndarray, np.ndarray]:
    """Labels, what each photo shows, float32 [n, 24] unit vectors, and which photos were left out as wrong.

    So many products of eight photos. Of each product, one photo shows the next product and one shows nothing known. One
    product more has two photos alone."""
    rng = np.random.default_rng(seed)
    labels = [f"p{k:02d}" for k in range(products) for _ in range(8)] + ["pair", "pair"]
    shows = labels.copy()
    wrong = np.zeros(len(labels), bool)
    for k in range(products):
        shows[8 * k], shows[8 * k + 1] = f"p{(k + 1) % products:02d}", f"{STRANGER} {k}"
        wrong[8 * k : 8 * k + 2] = True
    centres = {name: rng.normal(size=24) for name in dict.fromkeys(shows)}
    rows = np.stack([centres[name] for name in shows]) + rng.normal(size=(len(labels), 24)) * 0.45
    return labels, shows, (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32), wrong


def naive(labels: list[str], vectors: np.ndarray, wrong: np.ndarray, clear_by: float, radius: float) -> dict[int, str]:
    """Photo → new label, by loops over all labels."""
    found = {}
    for photo in np.flatnonzero(wrong):
        alike = []
        for name in dict.fromkeys(labels):
            theirs = [i for i, label in enumerate(labels) if label == name and not wrong[i]]
            if len(theirs) >= 3:
                cosines = sorted((float(vectors[i] @ vectors[photo]) for i in theirs), reverse=True)
                alike.append(((cosines[0] + cosines[1]) / 2, 2 - 2 * cosines[0], name))
        (best, apart, name), (second, *_) = sorted(alike, reverse=True)[:2]
        if best - second >= clear_by and apart < radius and name != labels[photo]:
            found[int(photo)] = name
    return found


def marks_of(labels: list[str], vectors: np.ndarray, wrong: np.ndarray, clear_by: float, radius: float) -> list[Mark]:
    paths = [f"{i}.jpg" for i in range(len(labels))]
    settings = RelabelSettings(clear_by=clear_by, radius=radius)
    return list(relabel_marks(paths, labels, vectors, wrong, strict=4.0, settings=settings)[1])


def new_labels(marks: list[Mark]) -> dict[int, str]:
    return {int(mark.photo.removesuffix(".jpg")): mark.into for mark in marks}


def test_photos_of_known_products_find_them_and_strangers_stay_out() -> None:
    labels, shows, vectors, wrong = planted(3)
    marks = marks_of(labels, vectors, wrong, 0.05, 0.6)
    assert new_labels(marks) == {8 * k: shows[8 * k] for k in range(12)}
    for mark in marks:
        kept = int(mark.kept.removesuffix(".jpg"))
        assert labels[kept] == mark.into
        assert not wrong[kept]
        assert labels[int(mark.photo.removesuffix(".jpg"))] == mark.product


@pytest.mark.parametrize(("clear_by", "radius"), [(0.0, 4.0), (0.05, 0.6), (0.2, 4.0), (0.0, 0.3)])
def test_the_same_as_loops_over_all_labels(clear_by: float, radius: float) -> None:
    for seed in range(4):
        labels, _, vectors, wrong = planted(seed)
        found = new_labels(marks_of(labels, vectors, wrong, clear_by, radius))
        assert found == naive(labels, vectors, wrong, clear_by, radius)


def test_a_photo_that_is_most_alike_to_its_own_label_is_left_out() -> None:
    """It lies outside the radius of its own product, but is nearer to it than to any other."""
    labels, _, vectors, wrong = planted(5)
    wrong = wrong.copy()
    wrong[2] = True
    assert 2 not in new_labels(marks_of(labels, vectors, wrong, 0.0, 4.0))


def test_nothing_is_said_without_two_products_or_without_wrong_photos() -> None:
    labels, _, vectors, wrong = planted(1)
    assert marks_of(["one"] * len(labels), vectors, wrong, 0.0, 4.0) == []
    assert marks_of(labels, vectors, np.zeros(len(labels), bool), 0.0, 4.0) == []
    assert marks_of([""] * len(labels), vectors, wrong, 0.0, 4.0) == []


def of_strangers(labels: list[str], vectors: np.ndarray, wrong: np.ndarray, clear_by: float) -> list[float]:
    """For each photo that is kept, how far it is from the product that it would go to if its own were unknown; none
    where the first two are nearly as alike."""
    found = []
    names = [name for name in dict.fromkeys(labels) if name != "pair"]
    for photo in np.flatnonzero(~wrong):
        if labels[photo] == "pair":
            continue
        alike = []
        for name in set(names) - {labels[photo]}:
            theirs = [i for i, label in enumerate(labels) if label == name and not wrong[i]]
            cosines = sorted((float(vectors[i] @ vectors[photo]) for i in theirs), reverse=True)
            alike.append(((cosines[0] + cosines[1]) / 2, 2 - 2 * cosines[0]))
        (best, apart), (second, _) = sorted(alike, reverse=True)[:2]
        if best - second >= clear_by:
            found.append(apart)
    return found


@pytest.mark.parametrize("strangers", [0.02, 0.05, 0.2])
def test_the_radius_lets_in_the_share_of_strangers_and_no_more(strangers: float) -> None:
    for seed in range(3):
        labels, _, vectors, wrong = planted(seed, products=8)  # few enough to be compared with all
        paths = [f"{i}.jpg" for i in range(len(labels))]
        settings = RelabelSettings(strangers=strangers)
        radius, _ = relabel_marks(paths, labels, vectors, wrong, strict=4.0, settings=settings)
        apart = of_strangers(labels, vectors, wrong, settings.clear_by)
        kept = sum(not out and label != "pair" for label, out in zip(labels, wrong, strict=True))
        assert sum(one < radius - 1e-5 for one in apart) == int(strangers * kept)
        strict, _ = relabel_marks(paths, labels, vectors, wrong, strict=0.1, settings=settings)
        assert strict == 0.1  # never wider than the de-noising's own


def test_two_labels_of_one_product_do_not_make_the_radius_small() -> None:
    labels, _, vectors, wrong = planted(2)
    paths = [f"{i}.jpg" for i in range(len(labels))]
    halved = [f"{name}~2" if name == "p03" and i % 2 else name for i, name in enumerate(labels)]
    whole, _ = relabel_marks(paths, labels, vectors, wrong, strict=4.0, settings=RelabelSettings())
    half, _ = relabel_marks(paths, halved, vectors, wrong, strict=4.0, settings=RelabelSettings())
    assert half > 0.8 * whole
