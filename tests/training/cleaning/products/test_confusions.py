"""Each photo is judged by a head that was not fitted to it: compared with fitting the head again without the photo."""

from __future__ import annotations

import numpy as np

from training.cleaning.products.confusions import RIDGE, confusions, nearest_confusions, nearest_photos


def data(seed: int = 2) -> tuple[np.ndarray, list[str]]:
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(4, 12))
    labels = [f"p{i % 4}" for i in range(40)]
    rows = centres[[i % 4 for i in range(40)]] + rng.normal(size=(40, 12)) * 2.0
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32), labels


def test_the_answers_are_those_of_a_head_that_is_fitted_without_the_photo() -> None:
    from sklearn.linear_model import Ridge

    vectors, labels = data()
    found = confusions(vectors, labels)
    onehot = np.eye(4)[found.truth]
    for place in range(len(vectors)):
        others = np.arange(len(vectors)) != place
        head = Ridge(alpha=RIDGE).fit(vectors[others].astype(float), onehot[others])
        assert head.predict(vectors[place : place + 1].astype(float))[0].argmax() == found.said[place]
    assert 0 < (found.said != found.truth).mean() < 0.7  # some are confused


def test_pairs_are_counted_with_their_totals() -> None:
    vectors, labels = data()
    found = confusions(vectors, labels)
    counted = {}
    for truth, said in zip(found.truth.tolist(), found.said.tolist(), strict=True):
        if truth != said:
            counted[truth, said] = counted.get((truth, said), 0) + 1
    assert {(i, j): count for i, j, count, _ in found.pairs()} == counted
    assert {total for *_, total in found.pairs()} == {10}
    assert found.labels == ["p0", "p1", "p2", "p3"]


def test_the_nearest_photo_gives_its_label() -> None:
    rng = np.random.default_rng(8)
    rows = rng.normal(size=(40, 6))
    vectors = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    labels = [f"p{i % 5}" for i in range(40)]
    nearest = nearest_photos(vectors)
    apart = np.square(vectors[:, None] - vectors[None]).sum(2)
    np.fill_diagonal(apart, np.inf)
    assert nearest.tolist() == apart.argmin(1).tolist()
    found = nearest_confusions(nearest, labels)
    assert [found.labels[i] for i in found.said] == [labels[i] for i in nearest]
    assert [found.labels[i] for i in found.truth] == labels


def test_equal_photos_are_each_others_nearest() -> None:
    vectors = np.repeat(np.eye(3, dtype=np.float32), 2, axis=0)
    assert nearest_photos(vectors).tolist() == [1, 0, 3, 2, 5, 4]
