"""Pair losses against loops over pairs, cases worked by hand, an independent library, and gradients at the ends."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from torch import Tensor

from training import losses
from training.recipe import StandardPairs
from training.recipe.loss_entries import STANDARD_PARAMETERS

torch.set_num_threads(1)


DTYPES = [torch.float64, torch.float32, torch.bfloat16, torch.float16]


STANDARD: tuple[StandardPairs, ...] = tuple(STANDARD_PARAMETERS)


PRODUCTS = torch.tensor([0, 0, 1, -1, 1, 1, 2, -1])


def units(n: int, d: int, seed: int, dtype: torch.dtype = torch.float64) -> Tensor:
    x = torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return torch.nn.functional.normalize(x).to(dtype)


def double_margin_twin(
    x: np.ndarray,
    ids: list[int],
    *,
    alpha: float,
    positive: tuple[float, float],
    negative: tuple[float, float],
    w: float,
) -> float:
    alike, unlike = [], []
    for i in range(len(x)):
        for j in range(len(x)):
            if i == j or ids[i] < 0 or ids[j] < 0:
                continue
            distance = float(((x[i] - x[j]) ** 2).sum())
            if ids[i] == ids[j]:
                alike.append(max(0.0, (distance - positive[0]) / (positive[1] - positive[0])) ** alpha)
            else:
                unlike.append(max(0.0, (negative[1] - distance) / (negative[1] - negative[0])) ** alpha)
    return sum(alike) / max(len(alike), 1) + w * sum(unlike) / max(len(unlike), 1)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("alpha", "positive", "negative", "weight"),
    [(1.5, (0.1, 0.7), (0.0, 0.7), 10_000.0), (2.0, (0.3, 0.5), (0.2, 1.9), 3.0)],
)
def test_double_margin_is_the_loop_over_pairs(
    dtype: torch.dtype, alpha: float, positive: tuple[float, float], negative: tuple[float, float], weight: float
) -> None:
    x = units(8, 3, 1, dtype)
    value = losses.pairwise_double_margin(
        x, PRODUCTS, alpha=alpha, positive=positive, negative=negative, negative_weight=weight
    )
    # the twin sees what half precision kept; rows of half precision are no longer quite unit, which costs 2 − 2 cos
    tolerance = {torch.float64: 1e-9, torch.float32: 1e-5, torch.bfloat16: 5e-2, torch.float16: 1e-2}[dtype]
    twin = double_margin_twin(
        x.double().numpy(), PRODUCTS.tolist(), alpha=alpha, positive=positive, negative=negative, w=weight
    )
    assert value.item() == pytest.approx(twin, rel=tolerance)


def test_double_margin_by_hand() -> None:
    # 60° apart: D = 2 − 2 · ½ = 1; 90° apart: D = 2; 30° apart: D = 2 − √3 = .268
    at = [math.radians(angle) for angle in (0, 60, 90)]
    x = torch.tensor([[math.cos(a), math.sin(a)] for a in at], dtype=torch.float64)
    # positives (0, 1) both ways: (1 − .1) / .6 = 1.5, to the 1.5; of four negatives (0, 2) are beyond .7, (1, 2) within
    expected = 1.5**1.5 + 10_000 * ((0.7 - (2 - math.sqrt(3))) / 0.7) ** 1.5 * 2 / 4
    assert losses.pairwise_double_margin(x, torch.tensor([5, 5, 9])).item() == pytest.approx(expected, rel=1e-9)


def test_double_margin_is_nothing_within_both_margins() -> None:
    x = torch.eye(2, dtype=torch.float64)[[0, 0, 1, 1]]
    assert losses.pairwise_double_margin(x, torch.tensor([0, 0, 1, 1])).item() == 0


@pytest.mark.parametrize(("cap", "beyond"), [(False, 1.5**1.5), (True, 1.0)])
def test_double_margin_has_two_readings_beyond_the_second_margin(cap: bool, beyond: float) -> None:
    # 60° apart: D = 1, beyond p2 = .7; (1 − .1) / .6 = 1.5
    x = torch.tensor([[1.0, 0.0], [0.5, math.sqrt(0.75)]], dtype=torch.float64, requires_grad=True)
    value = losses.pairwise_double_margin(x, torch.tensor([5, 5]), cap=cap)
    value.backward()
    assert value.item() == pytest.approx(beyond, rel=1e-9)
    assert x.grad is not None
    assert (x.grad.abs().max().item() == 0) is cap


def test_a_cap_on_near_negatives() -> None:
    # 60° apart, D = 1, nearer than n1 = 1.2: (2 − 1) / .8 = 1.25 without the cap
    x = torch.tensor([[1.0, 0.0], [0.5, math.sqrt(0.75)]], dtype=torch.float64)
    pair = {"negative": (1.2, 2.0), "negative_weight": 1.0, "alpha": 1.0}
    found = [losses.pairwise_double_margin(x, torch.tensor([5, 6]), cap=cap, **pair).item() for cap in (False, True)]  # type: ignore[arg-type]
    assert found == pytest.approx([1.25, 1.0])


@pytest.mark.parametrize("cosine", [1.0, -1.0])
@pytest.mark.parametrize("same", [True, False])
def test_double_margin_gradient_is_finite_at_the_ends(cosine: float, same: bool) -> None:
    x = torch.tensor([[1.0, 0.0], [cosine, 0.0]], requires_grad=True)
    losses.pairwise_double_margin(x, torch.tensor([0, 0 if same else 1])).backward()
    assert x.grad is not None
    assert bool(torch.isfinite(x.grad).all())


@pytest.mark.slow
def test_double_margin_gradient_is_the_difference_quotient() -> None:
    x = units(6, 4, 2).requires_grad_()
    ids = torch.tensor([0, 0, 1, 1, -1, 2])
    assert torch.autograd.gradcheck(lambda e: losses.pairwise_double_margin(e, ids, negative=(0.1, 1.9)), (x,))


@pytest.mark.parametrize("name", ["double_margin", "spreading", *STANDARD])
def test_a_batch_without_pairs_gives_zero_and_zero_gradient(name: str) -> None:
    x = units(3, 4, 3, torch.float32)
    if name == "spreading":
        x = x[:1]
    x.requires_grad_()
    unknown = torch.full((len(x),), -1)
    if name == "spreading":
        value = losses.spreading(x)
    elif name == "double_margin":
        value = losses.pairwise_double_margin(x, unknown)
    else:
        value = losses.standard_pairs(name, x, unknown)  # type: ignore[arg-type]
    value.backward()
    assert value.item() == 0
    assert x.grad is not None
    assert x.grad.abs().max().item() == 0


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("margin", [0.0, 0.2])
def test_triplet_rank_is_the_loop_over_rows(dtype: torch.dtype, margin: float) -> None:
    a, p, n = (units(7, 5, seed, dtype) for seed in (4, 5, 6))
    rows = zip(a.double().numpy(), p.double().numpy(), n.double().numpy(), strict=True)
    twin = np.mean([max(0.0, np.linalg.norm(i - j) - np.linalg.norm(i - k) + margin) for i, j, k in rows])
    assert losses.triplet_rank(a, p, n, margin).item() == pytest.approx(twin, rel=1e-5)


def test_triplet_rank_by_hand() -> None:
    a = torch.tensor([[0.0, 0.0], [0.0, 0.0]])
    p, n = torch.tensor([[3.0, 4.0], [1.0, 0.0]]), torch.tensor([[0.0, 2.0], [0.0, 2.0]])
    assert losses.triplet_rank(a, p, n).item() == pytest.approx((5 - 2) / 2)  # the second row is ranked rightly


@pytest.mark.parametrize("dtype", DTYPES)
def test_spreading_is_the_loop_over_rows(dtype: torch.dtype) -> None:
    x = units(9, 4, 7, dtype)
    wide = x.double().numpy()
    twin = 0.0
    for i in range(len(wide)):
        twin -= math.log(min(float(np.linalg.norm(wide[i] - wide[j])) for j in range(len(wide)) if j != i)) / len(wide)
    assert losses.spreading(x).item() == pytest.approx(twin, rel=1e-2 if dtype == torch.bfloat16 else 1e-4)


def test_spreading_by_hand() -> None:
    # on the circle at 0°, 90°, 270°: the nearest other is √2 away for each
    x = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
    assert losses.spreading(x).item() == pytest.approx(-math.log(math.sqrt(2)), rel=1e-5)


@pytest.mark.parametrize("cosine", [1.0, -1.0])
@pytest.mark.parametrize("name", ["spreading", "triplet"])
def test_gradients_of_distances_are_finite_at_the_ends(name: str, cosine: float) -> None:
    x = torch.tensor([[1.0, 0.0], [cosine, 0.0]], requires_grad=True)
    value = losses.spreading(x) if name == "spreading" else losses.triplet_rank(x[:1], x[1:], -x[1:])
    value.backward()
    assert x.grad is not None
    assert bool(torch.isfinite(x.grad).all())


@pytest.mark.parametrize("dtype", DTYPES)
def test_supervised_contrastive_is_the_loop_over_anchors(dtype: torch.dtype) -> None:
    x = units(8, 5, 8, dtype)
    ids = [0, 0, 1, 1, 1, 2, 2, -1]  # an unknown photo stands in nobody's sum
    wide, terms = x.double().numpy(), []
    for i in range(7):
        others = [j for j in range(7) if j != i]
        total = sum(math.exp(float(wide[i] @ wide[j]) / 0.1) for j in others)  # 0.1: the library's temperature
        mine = [math.log(math.exp(float(wide[i] @ wide[j]) / 0.1) / total) for j in others if ids[j] == ids[i]]
        terms.append(-sum(mine) / len(mine))
    value = losses.standard_pairs("supervised_contrastive", x, torch.tensor(ids))
    # the library divides by the rows' lengths, which half precision leaves near 1
    tolerance = 1e-4 if dtype in (torch.float64, torch.float32) else 3e-2
    assert value.item() == pytest.approx(sum(terms) / len(terms), rel=tolerance)


def test_triplet_margin_by_hand() -> None:
    # anchors at 0° and 60° of one product, a stranger at 90°. Anchor 60°: 1 − 2 sin 15° + .05 = .532 violates;
    # anchor 0°: 1 − √2 + .05 < 0 does not, and the mean is over violating triplets alone
    at = [math.radians(angle) for angle in (0, 60, 90)]
    x = torch.tensor([[math.cos(a), math.sin(a)] for a in at])
    expected = 1 - 2 * math.sin(math.radians(15)) + 0.05
    assert losses.standard_pairs("triplet_margin", x, torch.tensor([4, 4, 7])).item() == pytest.approx(
        expected, rel=1e-5
    )


def test_standard_losses_take_parameters() -> None:
    # as by hand above, with a margin of .2
    at = [math.radians(angle) for angle in (0, 60, 90)]
    x = torch.tensor([[math.cos(a), math.sin(a)] for a in at])
    expected = 1 - 2 * math.sin(math.radians(15)) + 0.2
    value = losses.standard_pairs("triplet_margin", x, torch.tensor([4, 4, 7]), {"margin": 0.2})
    assert value.item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("name", STANDARD)
def test_every_parameter_that_a_recipe_may_name_is_the_librarys(name: StandardPairs) -> None:
    x = units(6, 4, 3, torch.float32)
    for parameter in STANDARD_PARAMETERS[name]:
        losses.standard_pairs(name, x, torch.tensor([0, 0, 1, 1, 2, 2]), {parameter: 0.4})


def hadsell_twin(x: np.ndarray, ids: list[int]) -> float:
    """Positives pay their distance, negatives what they lack of a margin of 1. Pairs that pay nothing do not count."""
    paid: dict[bool, list[float]] = {True: [], False: []}
    for i, j in itertools.combinations(range(len(x)), 2):
        far = float(np.linalg.norm(x[i] - x[j]))
        same = ids[i] == ids[j]
        paid[same].append(far if same else max(0.0, 1.0 - far))
    return sum(float(np.mean([v for v in values if v > 0])) for values in paid.values())


def lifted_twin(x: np.ndarray, ids: list[int], margin: float = 1.0) -> float:
    """Song et al. 2016, eq. 4: every positive pair against all negatives of both of its photos."""
    far = np.linalg.norm(x[:, None] - x[None], axis=2)
    losses = []
    for i, j in itertools.combinations(range(len(x)), 2):
        if ids[i] == ids[j]:
            others = [far[a, k] for a in (i, j) for k in range(len(x)) if ids[k] != ids[a]]
            term = math.log(sum(math.exp(margin - d) for d in others)) + far[i, j]
            losses.append(max(0.0, term) ** 2)
    return sum(losses) / (2 * len(losses))


def test_contrastive_and_lifted_structure_are_loops_over_pairs() -> None:
    x, ids = units(7, 3, 21), [0, 0, 1, 1, 1, 2, 2]
    for name, twin in (("contrastive", hadsell_twin), ("lifted_structure", lifted_twin)):
        value = losses.standard_pairs(name, x, torch.tensor(ids))  # type: ignore[arg-type]
        assert value.item() == pytest.approx(twin(x.numpy(), ids), rel=1e-4), name


def batch_hard_twin(x: np.ndarray, ids: list[int], margin: float) -> float:
    paid = []
    for i in range(len(x)):
        far = [float(np.linalg.norm(x[i] - x[j])) for j in range(len(x)) if j != i and ids[j] == ids[i] >= 0]
        near = [float(np.linalg.norm(x[i] - x[j])) for j in range(len(x)) if ids[i] >= 0 <= ids[j] != ids[i]]
        if far and near:
            paid.append(max(0.0, max(far) - min(near) + margin))
    return float(np.mean(paid)) if paid else 0.0


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("margin", [0.0, 0.5])
def test_batch_hard_triplet_is_the_loop_over_photos(dtype: torch.dtype, margin: float) -> None:
    x, ids = units(8, 3, 22, dtype), PRODUCTS.tolist()
    expected = batch_hard_twin(x.double().numpy(), ids, margin)
    tolerance = 5e-2 if dtype == torch.bfloat16 else 1e-2
    assert losses.batch_hard_triplet(x, PRODUCTS, margin).item() == pytest.approx(expected, rel=tolerance)
    assert expected > 0


def test_batch_hard_triplet_by_hand() -> None:
    # photos at 0°, 60° and 180°: from 0° the positive is 1 away and the negative 2, from 60° it is 1 and √3
    x = torch.tensor([[1.0, 0.0], [0.5, math.sqrt(0.75)], [-1.0, 0.0]])
    value = losses.batch_hard_triplet(x, torch.tensor([4, 4, 7]), 1.5)
    assert value.item() == pytest.approx((0.5 + (2.5 - math.sqrt(3))) / 2, rel=1e-5)


def test_batch_hard_triplet_without_a_triplet_is_nothing() -> None:
    x = units(3, 4, 23).requires_grad_()
    value = losses.batch_hard_triplet(x, torch.tensor([0, 1, -1]), 0.5)
    value.backward()
    assert value.item() == 0
    assert x.grad is not None
    assert x.grad.abs().max().item() == 0


@pytest.mark.parametrize("name", STANDARD)
@pytest.mark.parametrize("cosine", [1.0, -1.0])
def test_standard_gradients_are_finite_at_the_ends(name: StandardPairs, cosine: float) -> None:
    x = torch.tensor([[1.0, 0.0], [cosine, 0.0], [0.0, 1.0], [0.0, cosine]], requires_grad=True)
    losses.standard_pairs(name, x, torch.tensor([0, 0, 1, 1])).backward()
    assert x.grad is not None
    assert bool(torch.isfinite(x.grad).all())


def unit(rows: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.normalize(rows)


def random_units(n: int, d: int, seed: int) -> torch.Tensor:
    return unit(torch.randn(n, d, generator=torch.Generator().manual_seed(seed)))


def log_softmax(row: list[float]) -> list[float]:
    top = max(row)
    total = math.log(sum(math.exp(v - top) for v in row)) + top
    return [v - total for v in row]


def contrastive_twin(
    a: np.ndarray, b: np.ndarray, t: float, *, same: np.ndarray, m: np.ndarray, old: np.ndarray
) -> float:
    total = 0.0
    for first, second, pairs in ((a, b, same), (b, a, same.T)):
        for i in range(len(first)):
            logits = [float(first[i] @ second[i]) / t]
            logits += [float(first[i] @ second[j]) / t for j in range(len(second)) if j != i and not pairs[i, j]]
            logits += [float(first[i] @ m[j]) / t for j in range(len(m)) if not old[i, j]]
            total -= log_softmax(logits)[0]
    return total / (2 * len(a))


def test_contrastive_leaves_products_of_its_own_out() -> None:
    a, b, memory = random_units(5, 8, 5), random_units(5, 8, 6), random_units(7, 8, 7)
    products = torch.tensor([0, 0, 1, -1, -1])
    same = (products[:, None] == products[None]) & (products[:, None] >= 0) | torch.eye(5, dtype=torch.bool)
    old = torch.rand(5, 7, generator=torch.Generator().manual_seed(8)) < 0.4
    value = losses.contrastive(a, b, temperature=0.2, same=same, memory=memory, same_memory=old)
    twin = contrastive_twin(a.numpy(), b.numpy(), 0.2, same=same.numpy(), m=memory.numpy(), old=old.numpy())
    assert value.item() == pytest.approx(twin, rel=1e-4)


def test_relational_of_one_photo_is_nothing() -> None:
    feature = torch.ones(1, 3, requires_grad=True)
    value = losses.relational(feature, torch.ones(1, 5))
    value.backward()
    assert value.item() == 0
    assert feature.grad is not None
    assert not feature.grad.any()


def test_relational_compares_pairs_only() -> None:
    ours, theirs = random_units(4, 3, 10), random_units(4, 6, 11)
    twin = [
        (float(ours[i] @ ours[j]) - float(theirs[i] @ theirs[j])) ** 2 for i in range(4) for j in range(4) if i != j
    ]
    # lengths do not count
    assert losses.relational(ours * 7, theirs * 3).item() == pytest.approx(sum(twin) / len(twin), rel=1e-4)


def test_soft_bits_keep_the_signs() -> None:
    logits = torch.randn(4, 256, generator=torch.Generator().manual_seed(12)) / 16
    soft = losses.soft_bits(logits)
    assert torch.equal(soft > 0, logits > 0)
    assert soft.norm(dim=1).tolist() == pytest.approx([1.0] * 4, rel=1e-5)
