"""Cross-fitted scores against scikit-learn's logistic regression in a loop, and their independence of their photos."""

from __future__ import annotations

import numpy as np
from sklearn.linear_model import LogisticRegression

from training.bundle.probabilities.cross_fit import FOLDS, PULL, cross_fitted, folds_of

CLASSES = 3


def world(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Photos of three overlapping kinds, and features of different sizes."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, CLASSES, n)
    feature = np.eye(6)[labels] * 2 + rng.normal(0, 1, (n, 6))
    return (feature * [1, 5, 0.2, 1, 3, 1]).astype(np.float32), labels


def test_each_photo_is_scored_as_by_a_loop() -> None:
    feature, labels = world(300, 1)
    fold = folds_of(np.arange(300))
    found = cross_fitted(feature, labels, fold, CLASSES)
    for one in range(FOLDS):
        learnt = fold != one
        mean, spread = feature[learnt].mean(0), feature[learnt].std(0) + 1e-3
        twin = LogisticRegression(C=1 / (2 * PULL * learnt.sum()), max_iter=2000, tol=1e-8)
        twin.fit((feature[learnt] - mean) / spread, labels[learnt])
        wanted = twin.predict_proba((feature[~learnt] - mean) / spread)
        np.testing.assert_allclose(found[~learnt], wanted, atol=2e-3)


def test_a_photos_own_label_does_not_change_its_score() -> None:
    feature, labels = world(120, 2)
    fold = folds_of(np.arange(120))
    before = cross_fitted(feature, labels, fold, CLASSES)
    mine = fold == 3
    other = np.where(mine, (labels + 1) % CLASSES, labels)
    after = cross_fitted(feature, other, fold, CLASSES)
    np.testing.assert_array_equal(after[mine], before[mine])
    assert np.abs(after[~mine] - before[~mine]).max() > 0.01, "the other photos learnt from the changed labels"


def test_photos_without_a_label_are_scored_and_teach_nothing() -> None:
    feature, labels = world(120, 3)
    fold = folds_of(np.arange(120))
    before = cross_fitted(feature, labels, fold, CLASSES)
    strangers = np.concatenate([feature, feature[:10] + 50])
    unknown = np.concatenate([labels, np.full(10, -1)])
    after = cross_fitted(strangers, unknown, np.concatenate([fold, fold[:10]]), CLASSES)
    np.testing.assert_allclose(after[:120], before, atol=1e-6)
    np.testing.assert_allclose(after.sum(1), 1, atol=1e-5)
    nothing = cross_fitted(feature, np.full(120, -1), fold, CLASSES)
    np.testing.assert_allclose(nothing, 1 / CLASSES)


def test_photos_of_one_product_share_a_fold() -> None:
    products = np.repeat(np.arange(40) * 7, 3)
    fold = folds_of(products)
    assert (fold.reshape(40, 3) == fold.reshape(40, 3)[:, :1]).all()
    assert np.bincount(fold).tolist() == [24] * FOLDS
    assert folds_of(np.empty(0, np.int64)).tolist() == []
