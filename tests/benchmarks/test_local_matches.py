"""Matching places of two photos: against a loop over places, and on a map that was moved."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.networks.local_matches import FIGURES, NEAR, Floats, matches

SIDE = 4


def drawn(seed: int, count: int = 1) -> tuple[Floats, Floats]:
    """Unit rows `[count, 16, 8]` and weights `[count, 16]` with a sum of 1."""
    draw = np.random.default_rng(seed)
    rows = draw.standard_normal((count, SIDE * SIDE, 8)).astype(np.float32)
    weights = draw.random((count, SIDE * SIDE)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=2, keepdims=True), weights / weights.sum(1, keepdims=True)


def naive(mine: Floats, weight: Floats, other: Floats, other_weight: Floats) -> list[float]:
    """The same, place by place."""
    count = len(mine)
    alike = [[float(a @ b) for b in other] for a in mine]
    nearest = [max(range(count), key=lambda j, i=i: alike[i][j]) for i in range(count)]  # type: ignore[misc]
    back = [max(range(count), key=lambda i, j=j: alike[i][j]) for j in range(count)]  # type: ignore[misc]
    matched = [i for i in range(count) if back[nearest[i]] == i]
    moves = {i: ((nearest[i] // SIDE - i // SIDE) / SIDE, (nearest[i] % SIDE - i % SIDE) / SIDE) for i in matched}
    median = [float(np.median([move[axis] for move in moves.values()])) for axis in (0, 1)]
    kept = [i for i in matched if all(abs(moves[i][axis] - median[axis]) <= NEAR for axis in (0, 1))]
    total = sum(float(weight[i]) for i in matched)
    return [
        sum(float(weight[i]) * max(alike[i]) for i in range(count)),
        sum(float(other_weight[j]) * max(alike[i][j] for i in range(count)) for j in range(count)),
        total,
        sum(float(weight[i]) * alike[i][nearest[i]] for i in matched) / total,
        sum(float(weight[i]) for i in kept) / total,
        sum(float(weight[i]) * alike[i][nearest[i]] for i in kept),
    ]


@pytest.mark.parametrize("seed", [1, 5, 9])
def test_as_the_loop_over_places(seed: int) -> None:
    (mine,), (weight,) = drawn(seed)
    theirs, their_weights = drawn(seed + 100, 3)
    found = matches(mine, weight, theirs, their_weights)
    for row, other, other_weight in zip(found, theirs, their_weights, strict=True):
        assert row.tolist() == pytest.approx(naive(mine, weight, other, other_weight), abs=1e-5)


def test_a_moved_map_matches_as_a_whole_and_a_shuffled_one_does_not_move_together() -> None:
    """Everything one column to the right: twelve of sixteen places keep a partner, and all moved alike."""
    (mine,), _ = drawn(3)
    even = np.full(SIDE * SIDE, 1 / (SIDE * SIDE), np.float32)
    moved = np.roll(mine.reshape(SIDE, SIDE, -1), 1, axis=1).reshape(SIDE * SIDE, -1)
    shuffled = mine[np.random.default_rng(0).permutation(len(mine))]
    found = dict(zip(FIGURES, matches(mine, even, np.stack([moved, shuffled]), np.stack([even, even])).T, strict=True))
    assert found["mutual"].tolist() == pytest.approx([1, 1])
    assert found["strength"].tolist() == pytest.approx([1, 1], abs=1e-5)
    assert found["together"][0] == pytest.approx(0.75)  # the last column comes back at the left
    assert found["together"][1] < 0.5
