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


def test_distillation_is_zero_for_the_teacher_itself_whatever_is_added() -> None:
    teacher = torch.randn(3, 9, generator=torch.Generator().manual_seed(9))
    assert losses.distillation(teacher + 5, teacher).item() == pytest.approx(0, abs=1e-5)
    # one sure teacher (p = 1), a student of two equal logits: log 2
    sure = torch.tensor([[50.0, -50.0]])
    assert losses.distillation(torch.zeros(1, 2), sure).item() == pytest.approx(math.log(2), rel=1e-5)


@pytest.mark.parametrize("temperature", [1.0, 2.5])
def test_distillation_against_its_definition(temperature: float) -> None:
    generator = torch.Generator().manual_seed(3)
    ours, theirs = (torch.randn(6, 5, generator=generator, dtype=torch.float64) for _ in range(2))
    counted = torch.tensor([True, False, True, True, False, True])
    expected = []
    for a, b in zip(ours[counted].numpy(), theirs[counted].numpy(), strict=True):
        p = np.exp(b / temperature) / np.exp(b / temperature).sum()
        q = np.exp(a / temperature) / np.exp(a / temperature).sum()
        expected.append(float((p * np.log(p / q)).sum()) * temperature**2)
    found = losses.distillation(ours, theirs, temperature, counted)
    assert float(found) == pytest.approx(np.mean(expected), rel=1e-9)
    none = torch.zeros(6, dtype=torch.bool)
    assert float(losses.distillation(ours, theirs, temperature, none)) == 0.0
