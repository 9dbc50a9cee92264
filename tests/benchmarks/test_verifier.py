"""A new order of the first listings: what it moves, and that a verifier learns which figure tells right from wrong."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.networks.verifier import FIRST, Lists, Verifier, figure_names, places_of, recalls


def planted(seed: int, telling: int) -> Lists:
    """Forty lists whose right listing is larger in the figure `telling`, by more than the noise; five have none."""
    draw = np.random.default_rng(seed)
    figures = draw.standard_normal((40, FIRST, len(figure_names()))).astype(np.float32)
    right = np.zeros((40, FIRST), np.bool_)
    right[np.arange(35), draw.integers(0, FIRST, 35)] = True
    figures[right, telling] += 8
    return Lists(np.tile(np.arange(FIRST), (40, 1)), figures, right)


def test_the_places_are_those_of_lists_sorted_one_by_one() -> None:
    lists, draw = planted(1, 3), np.random.default_rng(2)
    ranks = np.where(lists.right.any(1), lists.right.argmax(1), 50)
    score = draw.standard_normal((40, FIRST)).astype(np.float32)
    expected = []
    for right, scores, rank in zip(lists.right, score, ranks, strict=True):
        ranked = sorted(range(FIRST), key=lambda i, scores=scores: -scores[i])  # type: ignore[misc]
        expected.append(ranked.index(int(right.argmax())) if right.any() else int(rank))
    assert places_of(lists, score, ranks).tolist() == expected
    assert places_of(lists, None, ranks).tolist() == ranks.tolist()


def test_recalls_by_hand() -> None:
    assert recalls(np.array([0, 1, 4, 9])) == pytest.approx((0.25, 0.75, (1 + 1 / 2 + 1 / 5 + 1 / 10) / 4))


@pytest.mark.parametrize("hidden", [0, 8])
def test_a_verifier_learns_the_figure_that_tells(hidden: int) -> None:
    taught = [planted(seed, 4) for seed in range(30, 60)]  # hidden units need many: a tenth of the pairs is right
    learnt = Verifier(range(len(figure_names())), hidden=hidden).fit(taught)
    lists = planted(7, 4)
    ranks = np.where(lists.right.any(1), lists.right.argmax(1), 50)
    assert recalls(places_of(lists, learnt(lists.figures), ranks))[0] >= 0.8  # 35 of 40 can be found
    assert recalls(ranks)[0] < 0.3
    blind = Verifier([0, 1], hidden=hidden).fit(taught)
    assert recalls(places_of(lists, blind(lists.figures), ranks))[0] < 0.4
