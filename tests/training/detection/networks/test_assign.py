"""Which cell answers for which box, against a loop that reads like the rule."""

from __future__ import annotations

import torch

from training.detection.networks.assign import assign
from training.detection.networks.interface import Target
from training.detection.networks.pyramid import STRIDES, centres

SIDE = 128


def by_hand(edges: list[list[float]], ignored: list[list[float]]) -> tuple[list[int], list[float]]:
    """For each cell of all maps the box it answers for or -1, and its weight."""
    owners, weights = [], []
    for stride in STRIDES:
        for row in range(SIDE // stride):
            for column in range(SIDE // stride):
                x, y = (column + 0.5) * stride, (row + 0.5) * stride
                best, area = -1, float("inf")
                for number, (left, top, right, bottom) in enumerate(edges):
                    l, t, r, b = left * SIDE, top * SIDE, right * SIDE, bottom * SIDE  # noqa: E741
                    far = max(x - l, r - x, y - t, b - y)
                    low = 0 if stride == STRIDES[0] else stride / 2 * 5
                    high = float("inf") if stride == STRIDES[-1] else stride * 5
                    inside = l < x < r and t < y < b
                    near = max(abs(x - (l + r) / 2), abs(y - (t + b) / 2)) < 1.5 * stride
                    if inside and near and low < far <= high and (r - l) * (b - t) < area:
                        best, area = number, (r - l) * (b - t)
                hidden = any(l * SIDE < x < r * SIDE and t * SIDE < y < b * SIDE for l, t, r, b in ignored)  # noqa: E741
                owners.append(best)
                weights.append(0.0 if best < 0 and hidden else 1.0)
    return owners, weights


def test_assignment_is_that_of_the_rule() -> None:
    generator = torch.Generator().manual_seed(3)
    for count in (0, 1, 2, 9):
        low = torch.rand(count + 1, 2, generator=generator) * 0.7
        size = 0.05 + torch.rand(count + 1, 2, generator=generator) * 0.5
        edges = torch.cat((low, (low + size).clamp(max=1)), 1)
        target = Target(edges[:count], torch.arange(count), edges[count:])
        found = assign([centres(SIDE, s, edges) for s in STRIDES], STRIDES, target, SIDE)
        owners, weights = by_hand(edges[:count].tolist(), edges[count:].tolist())
        assert found.has.tolist() == [owner >= 0 for owner in owners]
        assert found.kinds.tolist() == [owner for owner in owners if owner >= 0]
        assert found.weight.tolist() == weights
        assert torch.allclose(found.edges, edges[found.kinds] * SIDE)
