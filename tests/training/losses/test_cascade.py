"""The hard-aware cascade against a loop over pairs that keeps lists, a case worked by hand, and who gets a gradient."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from training import losses

torch.set_num_threads(1)
PRODUCTS = [0, 0, 1, -1, 1, 1, 2, -1, 2, 0]
SHARES = (1.0, 0.5, 0.2)


def units(seed: int, n: int = len(PRODUCTS), d: int = 4) -> Tensor:
    x = torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return torch.nn.functional.normalize(x)


def naive(depths: list[Tensor], products: list[int], shares: tuple[float, ...], margin: float) -> float:
    """Pair by pair: every depth sorts the pairs that it was handed, and hands its hardest on."""
    total = 0.0
    for alike in (True, False):

        def cost(depth: int, pair: tuple[int, int], alike: bool = alike) -> float:
            apart = math.dist(depths[depth][pair[0]].tolist(), depths[depth][pair[1]].tolist())
            return apart**2 if alike else max(0.0, margin - apart) ** 2

        everyone = [
            (i, j)
            for i in range(len(products))
            for j in range(i + 1, len(products))
            if products[i] >= 0 and products[j] >= 0 and (products[i] == products[j]) == alike
        ]
        handed = everyone
        for depth, share in enumerate(shares):
            judge = max(0, depth - 1)
            wanted = max(1, round(share * len(everyone)))
            handed = sorted(handed, key=lambda pair, judge=judge: -cost(judge, pair))[:wanted]  # type: ignore[misc]
            paid = [value for value in (cost(depth, pair) for pair in handed) if value > 0]
            total += sum(paid) / max(len(paid), 1)
    return total / len(shares)


@pytest.mark.parametrize("shares", [SHARES, (0.6, 0.6, 0.1), (1.0, 1.0, 1.0)])
@pytest.mark.parametrize("margin", [0.7, 1.0, 1.9])
def test_is_the_loop_over_pairs(shares: tuple[float, ...], margin: float) -> None:
    depths = [units(seed) for seed in (1, 2, 3)]
    found = losses.hard_cascade(depths, torch.tensor(PRODUCTS), shares, margin)
    assert float(found) == pytest.approx(naive(depths, PRODUCTS, shares, margin), rel=1e-6)


def test_by_hand_the_deepest_sees_the_pair_that_the_shallower_ones_found_hardest() -> None:
    """Three photos of one product on a circle: half of three pairs is two (1.5 rounds to the even 2), a fifth is one.
    Depth 1 finds the pairs (0, 2), (1, 2), (0, 1) hard in this order; of its two hardest, depth 2 finds (1, 2) harder,
    and the deepest pays for that pair alone, though another is harder for it."""

    def circle(*degrees: float) -> Tensor:
        at = torch.tensor(degrees, dtype=torch.float64).deg2rad()
        return torch.stack([at.cos(), at.sin()], 1)

    depths = [circle(0, 10, 90), circle(0, 180, 60), circle(0, 30, 90)]
    at = [[2 - 2 * math.cos(math.radians(a)) for a in apart] for apart in ((10, 80, 90), (60, 120), (60,))]
    expected = sum(sum(costs) / len(costs) for costs in at) / 3
    assert float(losses.hard_cascade(depths, torch.tensor([4, 4, 4]), SHARES, 1.0)) == pytest.approx(expected, rel=1e-9)


def test_each_depth_has_the_gradient_of_its_own_pairs_alone() -> None:
    depths = [units(seed).requires_grad_() for seed in (1, 2, 3)]
    losses.hard_cascade(depths, torch.tensor(PRODUCTS), (1.0, 0.5, 0.01), 1.0).backward()
    moved = [(depth.grad.abs().sum(1) > 0).tolist() for depth in depths if depth.grad is not None]
    known = [p >= 0 for p in PRODUCTS]
    assert moved[0] == known
    assert sum(moved[1]) <= sum(known)
    assert 2 <= sum(moved[2]) <= 4  # one pair of a product and one of two
    assert not any(moved[2][i] for i in range(len(known)) if not known[i])


def test_the_hardest_of_equal_costs_are_the_first_ones_and_never_others_than_offered() -> None:
    cost = torch.tensor([[0.0, 2.0, 2.0], [9.0, 0.0, 2.0], [9.0, 9.0, 0.0]])
    among = torch.ones(3, 3, dtype=torch.bool).triu(1)
    assert losses.hardest(cost, among, torch.tensor(2)).nonzero().tolist() == [[0, 1], [0, 2]]
    assert losses.hardest(cost, among, torch.tensor(5)).equal(among)


@pytest.mark.parametrize("products", [[-1] * 4, [3, -1, -1, -1]])
def test_without_a_pair_it_is_a_zero_with_a_gradient(products: list[int]) -> None:
    depths = [units(seed, 4).requires_grad_() for seed in (1, 2, 3)]
    value = losses.hard_cascade(depths, torch.tensor(products), SHARES, 1.0)
    value.backward()
    assert float(value.detach()) == 0
    assert all(one.grad is not None and float(one.grad.abs().sum()) == 0 for one in depths)
