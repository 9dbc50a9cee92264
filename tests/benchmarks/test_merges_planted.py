"""Plantings of split products: what is counted, and that merges of merges end in one label."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from benchmarks.cleaning import merges_planted
from benchmarks.cleaning.cleaning_truth import judge_merges
from benchmarks.cleaning.merges_planted import merged, no_two
from training.cleaning.products.merging import Merge, MergeSettings, Mixed


def rows(*photos: tuple[str, str]) -> list[dict[str, str]]:
    return [{"product": product, "truth": truth} for product, truth in photos]


def test_pairs_without_two_right_photos_are_counted() -> None:
    split = [("a", "a"), ("a", "a"), ("a~2", "a"), ("a~2", "b")]  # one right photo of a~2
    whole = [("b", "b"), ("b", "b"), ("b~2", "b"), ("b~2", "b")]
    alone = [("c~2", "c")]  # its first label has no photo, so there is nothing to merge
    assert no_two(rows(*split, *whole, *alone)) == 1


def test_a_label_that_is_merged_twice_ends_in_the_last_one(monkeypatch: pytest.MonkeyPatch) -> None:
    def merges(*_: object) -> Iterator[Merge]:
        for number, (product, into) in enumerate([("a", "b"), ("c", "d"), ("b", "d")], start=1):
            mixed = Mixed(0.0, 0.0, None)
            yield Merge(product, into, "linear", 1.0, 1.0, 1.0, 2, mixed, number, 0.5, 0, 1)

    monkeypatch.setattr(merges_planted, "merges", merges)
    vectors = np.zeros((0, 2), np.float32)
    assert merged([], vectors, MergeSettings()) == {"a": "d", "b": "d", "c": "d"}


def test_pairs_are_judged_through_the_label_they_end_in() -> None:
    some = rows(("a", "a"), ("a~2", "a"), ("b", "b"), ("b~2", "b"), ("c", "c"))
    found = judge_merges(some, {"a": "a~2", "c": "a~2"})
    assert (found["merged"], found["right"], found["wanted"]) == (3, 1, 2)  # a with a~2, and c with both
    assert (found["precision"], found["recall"]) == (0.3333, 0.5)
    assert found["missed"] == [["b", "b~2"]]
    assert found["wrong"] == [["a", "c"], ["a~2", "c"]]
