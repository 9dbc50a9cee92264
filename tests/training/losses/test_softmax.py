"""Each loss against a twin written with loops, cases worked by hand, and gradients where they could break."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from training import losses

torch.set_num_threads(1)


def unit(rows: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.normalize(rows)


def random_units(n: int, d: int, seed: int) -> torch.Tensor:
    return unit(torch.randn(n, d, generator=torch.Generator().manual_seed(seed)))


def log_softmax(row: list[float]) -> list[float]:
    top = max(row)
    total = math.log(sum(math.exp(v - top) for v in row)) + top
    return [v - total for v in row]


def test_smoothing_spreads_its_share_over_all_labels() -> None:
    row = [2.0, -1.0, 0.5, 0.0]
    logs = log_softmax(row)
    expected = -(0.8 * logs[2] + 0.2 * sum(logs) / 4)
    loss = losses.softmax_loss(torch.tensor([row]), torch.tensor([2]), smoothing=0.2)
    assert float(loss) == pytest.approx(expected, abs=1e-6)


def test_softmax_skips_photos_without_a_label() -> None:
    logits = torch.randn(5, 3, generator=torch.Generator().manual_seed(0))
    targets = torch.tensor([0, -1, 2, -1, 1])
    twin = [-log_softmax(logits[i].tolist())[int(t)] for i, t in enumerate(targets) if t >= 0]
    assert losses.softmax_loss(logits, targets).item() == pytest.approx(sum(twin) / len(twin), rel=1e-5)


@pytest.mark.parametrize("name", ["softmax", "multi_label", "arcface"])
def test_a_batch_without_labels_gives_zero_and_zero_gradient(name: str) -> None:
    x = random_units(3, 4, 1).requires_grad_()
    none = torch.full((3,), -1)
    value = {
        "softmax": lambda: losses.softmax_loss(x, none),
        "multi_label": lambda: losses.multi_label_softmax(x, torch.zeros(3, 4, dtype=torch.bool)),
        "arcface": lambda: losses.arcface(x, torch.randn(2, 4), none, 32.0, 0.3),
    }[name]()
    value.backward()
    assert value.item() == 0
    assert x.grad is not None
    assert x.grad.abs().max().item() == 0


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_multi_label_softmax_is_the_mean_over_positives(dtype: torch.dtype) -> None:
    logits = torch.randn(4, 6, generator=torch.Generator().manual_seed(2)).to(dtype)
    positives = torch.tensor([[1, 1, 0, 0, 0, 0], [0] * 6, [0, 0, 0, 0, 0, 1], [1, 0, 1, 0, 1, 1]]).bool()
    twin = []
    for row, marks in zip(logits.float().tolist(), positives.tolist(), strict=True):
        chosen = [-v for v, m in zip(log_softmax(row), marks, strict=True) if m]
        if chosen:
            twin.append(sum(chosen) / len(chosen))
    assert losses.multi_label_softmax(logits, positives).item() == pytest.approx(sum(twin) / len(twin), rel=1e-4)


def test_multi_label_softmax_by_hand() -> None:
    # two labels with equal logits, both positive: -log(1/2) whatever the logits are
    value = losses.multi_label_softmax(torch.full((1, 2), 3.0), torch.ones(1, 2))
    assert value.item() == pytest.approx(math.log(2), rel=1e-6)


def arcface_twin(x: np.ndarray, centres: np.ndarray, targets: list[int], scale: float, margin: float) -> float:
    total, count = 0.0, 0
    for row, target in zip(x, targets, strict=True):
        if target < 0:
            continue
        cosines = [float(row @ c / np.linalg.norm(c)) for c in centres]
        theta = math.acos(max(-1.0, min(1.0, cosines[target])))
        own = math.cos(theta + margin) if theta + margin < math.pi else cosines[target] - margin * math.sin(margin)
        logits = [scale * (own if i == target else c) for i, c in enumerate(cosines)]
        total, count = total - log_softmax(logits)[target], count + 1
    return total / count


@pytest.mark.parametrize("margin", [0.0, 0.25, 0.5])
def test_arcface_against_angles(margin: float) -> None:
    x, centres = random_units(6, 5, 3), torch.randn(4, 5, generator=torch.Generator().manual_seed(4)) * 3
    targets = [0, 3, -1, 2, 2, 1]
    twin = arcface_twin(x.numpy().astype(np.float64), centres.numpy().astype(np.float64), targets, 16.0, margin)
    assert losses.arcface(x, centres, torch.tensor(targets), 16.0, margin).item() == pytest.approx(twin, rel=1e-4)


def test_arcface_beyond_pi_goes_on_linearly() -> None:
    centres = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    x = unit(torch.tensor([[-1.0, 0.05]]))
    twin = arcface_twin(x.numpy().astype(np.float64), centres.numpy().astype(np.float64), [0], 8.0, 0.5)
    assert losses.arcface(x, centres, torch.tensor([0]), 8.0, 0.5).item() == pytest.approx(twin, rel=1e-4)


@pytest.mark.parametrize("cosine", [1.0, -1.0])
def test_arcface_gradient_is_finite_at_the_ends(cosine: float) -> None:
    x = torch.tensor([[cosine, 0.0]], requires_grad=True)
    losses.arcface(x, torch.eye(2), torch.tensor([0]), 32.0, 0.5).backward()
    assert x.grad is not None
    assert bool(torch.isfinite(x.grad).all())


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


def test_distillation_is_zero_for_the_teacher_itself_whatever_is_added() -> None:
    teacher = torch.randn(3, 9, generator=torch.Generator().manual_seed(9))
    assert losses.distillation(teacher + 5, teacher).item() == pytest.approx(0, abs=1e-5)
    # one sure teacher (p = 1), a student of two equal logits: log 2
    sure = torch.tensor([[50.0, -50.0]])
    assert losses.distillation(torch.zeros(1, 2), sure).item() == pytest.approx(math.log(2), rel=1e-5)


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
