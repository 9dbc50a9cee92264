"""Photos nearer to another label: planted ones, labels that are mixed, and a naive twin."""

from __future__ import annotations

import numpy as np
import pytest

from training.cleaning.products import nearer
from training.cleaning.products.nearer import Nearer, nearer_elsewhere


def cores_of(labels: np.ndarray) -> list[np.ndarray]:
    return [np.flatnonzero(labels == label) for label in range(labels.max() + 1)]


def naive(vectors: np.ndarray, labels: np.ndarray, least: float, most_mixed: float) -> dict[int, tuple[int, float]]:
    """The same with loops over single photos and no shortlist."""
    judged = [label for label in set(labels.tolist()) if (labels == label).sum() >= 3]

    def likeness(photo: int, label: int) -> float:
        others = [i for i in np.flatnonzero(labels == label) if i != photo]
        return float(np.mean(sorted(vectors[photo] @ vectors[i] for i in others)[-2:]))

    def share(one: int, other: int) -> float:
        members = np.flatnonzero(labels == one)
        return float(np.mean([likeness(i, other) > likeness(i, one) for i in members]))

    found = {}
    for photo, own in enumerate(labels.tolist()):
        if own not in judged:
            continue
        allowed = [o for o in judged if o != own and max(share(own, o), share(o, own)) <= most_mixed]
        by, other = max((likeness(photo, o) - likeness(photo, own), o) for o in allowed)
        if by >= least:
            found[photo] = other, by
    return found


def as_dict(found: Nearer) -> dict[int, tuple[int, float]]:
    return dict(zip(found.photos.tolist(), zip(found.others.tolist(), found.by.tolist(), strict=True), strict=True))


def test_planted_photos_are_found_and_two_labels_of_one_product_are_left_alone() -> None:
    """Six labels of ten photos. Labels 4 and 5 are one product; one photo of 0 shows 1, one of 2 shows 3; label 6 has
    two photos."""
    rng = np.random.default_rng(5)
    labels = np.array([label for label in range(6) for _ in range(10)] + [6, 6])
    shown = np.minimum(labels, 4)
    shown[labels == 6] = 5
    shown[[3, 25]] = 1, 3
    centres = rng.normal(size=(6, 32))
    rows = centres[shown] + rng.normal(size=(len(labels), 32)) * 0.6
    vectors = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    found = as_dict(nearer_elsewhere(vectors, cores_of(labels), least=0.1, most_mixed=0.3))
    assert {photo: other for photo, (other, _) in found.items()} == {3: 1, 25: 3}
    for least, most_mixed in ((0.1, 0.3), (0.02, 0.3), (0.02, 0.6)):
        found = as_dict(nearer_elsewhere(vectors, cores_of(labels), least=least, most_mixed=most_mixed))
        expected = naive(vectors, labels, least, most_mixed)
        assert {photo: other for photo, (other, _) in found.items()} == {p: o for p, (o, _) in expected.items()}
        for photo, (_, by) in found.items():
            assert abs(by - expected[photo][1]) < 1e-5


def test_one_label_has_nothing_to_compare_with() -> None:
    vectors = np.eye(4, dtype=np.float32)
    assert not len(nearer_elsewhere(vectors, [np.arange(4)], least=0.1, most_mixed=0.5).photos)


@pytest.mark.parametrize("at_once", [1, 7, 30])
def test_photos_that_are_compared_in_parts_give_the_same(at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three labels of 30 photos are up to 60 photos for each label; all at once is what the parts are compared with.
    Small whole numbers, whose products are exact in any order."""
    rng = np.random.default_rng(9)
    labels = np.repeat(np.arange(3), 30)
    vectors = rng.integers(-3, 4, (90, 16)).astype(np.float32)
    whole = nearer_elsewhere(vectors, cores_of(labels), least=0.1, most_mixed=1)
    monkeypatch.setattr(nearer, "_AT_ONCE", at_once)
    parts = nearer_elsewhere(vectors, cores_of(labels), least=0.1, most_mixed=1)
    assert len(whole.photos) > 10
    assert parts.photos.tolist() == whole.photos.tolist()
    assert parts.others.tolist() == whole.others.tolist()
    assert parts.by.tolist() == whole.by.tolist()
