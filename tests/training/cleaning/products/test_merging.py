"""Merges of planted halves, in rounds, and why each was made."""

from __future__ import annotations

import numpy as np

from training.cleaning.products.confusions import confusions
from training.cleaning.products.merging import MergeSettings, merge_marks, merges
from training.cleaning.products.mixing import gap


def planted() -> tuple[np.ndarray, list[str], list[str]]:
    """Twelve products; the first has three labels, the second and third have two, of unequal size."""
    rng = np.random.default_rng(4)
    centres = rng.normal(size=(12, 64))
    rows, labels = [], []
    for product in range(12):
        for number in range(18):
            rows.append(centres[product] + rng.normal(size=64) * 0.5)
            parts = {0: "abc"[number % 3], 1: "ab"[number % 2], 2: "ab"[number % 3 == 0]}
            labels.append(f"p{product:02d}{parts.get(product, '')}")
    vectors = np.array(rows)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors.astype(np.float32), labels, [f"{i}.jpg" for i in range(len(labels))]


def test_the_labels_of_one_product_become_one_and_others_do_not() -> None:
    vectors, labels, paths = planted()
    into = {mark.product: mark.into for mark in merge_marks(paths, labels, vectors, MergeSettings())}
    for _ in range(3):
        final = {into.get(label, label) for label in labels}
        labels = [into.get(label, label) for label in labels]
    assert len(final) == 12
    assert {label[:3] for label in final} == {f"p{i:02d}" for i in range(12)}


def test_a_merge_says_by_which_photos_and_numbers() -> None:
    vectors, labels, _ = planted()
    first = next(merges(vectors, labels, MergeSettings()))
    found = confusions(vectors, labels)
    small, large = found.labels.index(first.product), found.labels.index(first.into)
    forth = int(((found.truth == small) & (found.said == large)).sum())
    back = int(((found.truth == large) & (found.said == small)).sum())
    sizes = [labels.count(first.product), labels.count(first.into)]
    assert first.confused == forth + back
    assert first.share == (forth + back) / sum(sizes)
    assert (first.p, first.p_back) == (forth / sizes[0], back / sizes[1])
    assert sizes[0] <= sizes[1]
    assert {labels[first.photo], labels[first.other]} == {first.product, first.into}
    assert found.truth[first.photo] != found.said[first.photo]


def test_rounds_lower_the_threshold_and_end() -> None:
    vectors, labels, _ = planted()
    begun: list[int] = []
    found = list(merges(vectors, labels, MergeSettings(), progress=begun.append))
    assert begun == list(range(1, len(begun) + 1))
    assert [merge.threshold for merge in found] == sorted((merge.threshold for merge in found), reverse=True)
    assert all(merge.share >= merge.threshold for merge in found)
    assert list(merges(vectors[:5], ["a"] * 5, MergeSettings())) == []


def test_two_alike_photos_of_a_product_are_merged_and_one_wrong_photo_is_not() -> None:
    """A label of two photos has a gap by chance; a label of a right and a wrong photo has none because it is wide."""
    rng = np.random.default_rng(11)
    centres = np.eye(40)[:20]

    def near(product: int, count: int, noise: float = 0.12) -> np.ndarray:
        return centres[product] + rng.normal(size=(count, 40)) * noise

    rows = [near(product, 5) for product in range(18)]
    labels = [f"p{product:02d}" for product in range(18) for _ in range(5)]
    rows += [near(18, 5), near(18, 2, noise=0.03)]  # two photos that are alike by chance
    labels += ["split"] * 5 + ["split~2"] * 2
    rows += [np.concatenate([rows[0][:1] + 0.01, near(19, 1)])]
    labels += ["mixture"] * 2
    vectors = np.concatenate(rows)
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    mixture = vectors[-2:]
    assert gap(mixture, vectors[:5]) <= MergeSettings().most_gap
    found = list(merges(vectors, labels, MergeSettings(lowest_nearest=0.2)))
    assert [(merge.product, merge.into) for merge in found] == [("split~2", "split")]
    assert found[0].mixed.gap > MergeSettings().most_gap
    without = merges(vectors, labels, MergeSettings(lowest_nearest=0.2, most_steady_gap=1))
    assert {(merge.product, merge.into) for merge in without} == {("split~2", "split"), ("mixture", "p00")}
