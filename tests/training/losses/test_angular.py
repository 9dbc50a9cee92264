"""Multi-label ArcFace against angles in loops, by hand, and where it must agree with its kin and with a library."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from torch import Tensor

from training import losses
from training.losses.angular import with_margin

torch.set_num_threads(1)


DTYPES = [torch.float64, torch.float32, torch.bfloat16, torch.float16]


TOLERANCE = {torch.float64: 1e-6, torch.float32: 1e-4, torch.bfloat16: 5e-2, torch.float16: 1e-2}


POSITIVES = torch.tensor([[1, 0, 0, 0], [1, 1, 0, 0], [0, 0, 0, 0], [1, 1, 0, 1], [0, 0, 1, 1]]).bool()


def draw(n: int, d: int, seed: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def units(n: int, d: int, seed: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.nn.functional.normalize(draw(n, d, seed)).to(dtype)


def twin(x: np.ndarray, centres: np.ndarray, positives: np.ndarray, scale: float, margin: float) -> float:
    totals = []
    for row, marks in zip(x, positives, strict=True):
        if not marks.any():
            continue
        logits = []
        for centre, positive in zip(centres, marks, strict=True):
            cosine = float(row @ centre / np.linalg.norm(centre))
            theta = math.acos(max(-1.0, min(1.0, cosine)))
            if positive:
                cosine = math.cos(theta + margin) if theta + margin < math.pi else cosine - 1 + math.cos(margin)
            logits.append(scale * cosine)
        total = math.log(sum(math.exp(v) for v in logits))
        totals.append(sum(total - v for v, positive in zip(logits, marks, strict=True) if positive) / marks.sum())
    return float(np.mean(totals))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("scale", "margin"), [(16.0, 0.0), (16.0, 0.3), (4.0, 1.2)])
def test_multi_label_arcface_is_the_loop_over_queries(dtype: torch.dtype, scale: float, margin: float) -> None:
    x, centres = units(5, 3, 1, dtype), draw(4, 3, 2, dtype) * 3
    expected = twin(x.double().numpy(), centres.double().numpy(), POSITIVES.numpy(), scale, margin)
    value = losses.multi_label_arcface(x, centres, POSITIVES, scale, margin)
    assert value.item() == pytest.approx(expected, rel=TOLERANCE[dtype])


@pytest.mark.parametrize("dtype", DTYPES)
def test_arcface_holds_over_dtypes(dtype: torch.dtype) -> None:
    x, centres, targets = units(5, 3, 3, dtype), draw(4, 3, 4, dtype), torch.tensor([0, 3, -1, 2, 2])
    marks = np.eye(5, dtype=bool)[targets.numpy()][:, :4]  # −1 takes the last row, which has no mark left of it
    expected = twin(x.double().numpy(), centres.double().numpy(), marks, 16.0, 0.3)
    assert losses.arcface(x, centres, targets, 16.0, 0.3).item() == pytest.approx(expected, rel=TOLERANCE[dtype])


def test_multi_label_arcface_by_hand() -> None:
    # between two centres at 0° and 60°, both its queries, a third centre opposite: cos 30° twice, pushed to cos 60°
    at = [math.radians(angle) for angle in (0, 60, 210)]
    centres = torch.tensor([[math.cos(a), math.sin(a)] for a in at]) * torch.tensor([[1.0], [7.0], [2.0]])
    x = torch.tensor([[math.cos(math.pi / 6), 0.5]])
    value = losses.multi_label_arcface(x, centres, torch.tensor([[1, 1, 0]]), 2.0, math.pi / 6)
    expected = math.log(2 * math.exp(2 * 0.5) + math.exp(2 * -1)) - 2 * 0.5
    assert value.item() == pytest.approx(expected, rel=1e-5)


def test_one_query_a_photo_is_arcface() -> None:
    x, centres = units(6, 5, 5), draw(4, 5, 6)
    targets = torch.tensor([0, 3, -1, 2, 2, 1])
    marks = torch.zeros(6, 4)
    marks[targets >= 0, targets[targets >= 0]] = 1
    many = losses.multi_label_arcface(x, centres, marks, 32.0, 0.5)
    assert many.item() == pytest.approx(losses.arcface(x, centres, targets, 32.0, 0.5).item(), rel=1e-9)


@pytest.mark.parametrize("cosine", [1.0, -1.0])
def test_gradient_is_finite_at_the_ends(cosine: float) -> None:
    x, centres = torch.tensor([[cosine, 0.0]], requires_grad=True), torch.eye(2, requires_grad=True)
    losses.multi_label_arcface(x, centres, torch.ones(1, 2), 32.0, 0.5).backward()
    for gradient in (x.grad, centres.grad):
        assert gradient is not None
        assert bool(torch.isfinite(gradient).all())


def test_gradient_is_the_difference_quotient() -> None:
    x, centres = units(5, 3, 7).requires_grad_(), draw(4, 3, 8).requires_grad_()
    assert torch.autograd.gradcheck(lambda e, c: losses.multi_label_arcface(e, c, POSITIVES, 4.0, 0.3), (x, centres))


@pytest.mark.parametrize("name", ["arcface", "multi_label_arcface"])
def test_a_batch_without_labels_touches_the_centres_with_zero(name: str) -> None:
    x, centres = units(3, 4, 9), draw(2, 4, 10).requires_grad_()
    if name == "arcface":
        losses.arcface(x, centres, torch.full((3,), -1), 32.0, 0.3).backward()
    else:
        losses.multi_label_arcface(x, centres, torch.zeros(3, 2), 32.0, 0.3).backward()
    assert centres.grad is not None
    assert centres.grad.abs().max().item() == 0


def test_arcface_agrees_with_an_independent_library() -> None:
    from pytorch_metric_learning.losses import ArcFaceLoss

    x, centres, targets = (
        units(6, 5, 11, torch.float32),
        draw(4, 5, 12, torch.float32),
        torch.tensor([0, 3, 1, 2, 2, 1]),
    )
    library = ArcFaceLoss(num_classes=4, embedding_size=5, margin=math.degrees(0.25), scale=16)
    with torch.no_grad():
        library.W.copy_(centres.T)
    assert losses.arcface(x, centres, targets, 16.0, 0.25).item() == pytest.approx(library(x, targets).item(), rel=1e-4)


def unit(rows: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.normalize(rows)


def random_units(n: int, d: int, seed: int) -> torch.Tensor:
    return unit(torch.randn(n, d, generator=torch.Generator().manual_seed(seed)))


def log_softmax(row: list[float]) -> list[float]:
    top = max(row)
    total = math.log(sum(math.exp(v - top) for v in row)) + top
    return [v - total for v in row]


def arcface_twin(x: np.ndarray, centres: np.ndarray, targets: list[int], scale: float, margin: float) -> float:
    total, count = 0.0, 0
    for row, target in zip(x, targets, strict=True):
        if target < 0:
            continue
        cosines = [float(row @ c / np.linalg.norm(c)) for c in centres]
        theta = math.acos(max(-1.0, min(1.0, cosines[target])))
        own = math.cos(theta + margin) if theta + margin < math.pi else cosines[target] - 1 + math.cos(margin)
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


@pytest.mark.parametrize("margin", [0.25, 0.5, 1.2])
def test_arcface_does_not_jump_where_the_angle_passes_pi(margin: float) -> None:
    """Seen along the angle: the value is the same on both sides of π − margin, and never rises."""
    angle = torch.linspace(0, math.pi, 10_001, dtype=torch.float64)
    shifted = with_margin(angle.cos(), margin)
    steps = shifted.diff()
    assert steps.max().item() <= 1e-9
    assert steps.min().item() >= -1e-3  # no step is larger than a cosine's own


@pytest.mark.parametrize("cosine", [1.0, -1.0])
def test_arcface_gradient_is_finite_at_the_ends(cosine: float) -> None:
    x = torch.tensor([[cosine, 0.0]], requires_grad=True)
    losses.arcface(x, torch.eye(2), torch.tensor([0]), 32.0, 0.5).backward()
    assert x.grad is not None
    assert bool(torch.isfinite(x.grad).all())


def margin_twin(x: np.ndarray, centres: np.ndarray, targets: list[int], scale: float, kind: str) -> float:
    """The three losses that differ from ArcFace in the own class's logit, from angles."""
    total, count = 0.0, 0
    for row, target in zip(x, targets, strict=True):
        if target < 0:
            continue
        cosines = [float(row @ c / np.linalg.norm(c)) for c in centres]
        theta = math.acos(cosines[target])
        piece = int(3 * theta // math.pi)
        own = {
            "normalised_softmax": cosines[target],
            "cosface": cosines[target] - 0.35,
            "sphereface": (-1) ** piece * math.cos(3 * theta) - 2 * piece,
        }[kind]
        total -= log_softmax([scale * (own if i == target else c) for i, c in enumerate(cosines)])[target]
        count += 1
    return total / count


def margin_loss(kind: str, x: Tensor, centres: Tensor, targets: Tensor, scale: float) -> Tensor:
    if kind == "normalised_softmax":
        return losses.normalised_softmax(x, centres, targets, scale)
    if kind == "cosface":
        return losses.cosface(x, centres, targets, scale, 0.35)
    return losses.sphereface(x, centres, targets, scale, 3)


KINDS = ["normalised_softmax", "cosface", "sphereface"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_losses_with_another_margin_are_loops_over_angles(kind: str, dtype: torch.dtype) -> None:
    x, centres, targets = units(40, 5, 31, dtype), draw(6, 5, 32, dtype), [*range(6), -1, *[1, 4, 0] * 11]
    expected = margin_twin(x.double().numpy(), centres.double().numpy(), targets, 8.0, kind)
    value = margin_loss(kind, x, centres, torch.tensor(targets), 8.0)
    assert value.item() == pytest.approx(expected, rel=TOLERANCE[dtype])


def test_sphereface_by_hand() -> None:
    # own centre at 60°, doubled to 120°; the other at 90° stays: logits −1/2 and 0, times 2
    x, centres = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.5, math.sqrt(0.75)], [0.0, 3.0]])
    value = losses.sphereface(x, centres, torch.tensor([0]), 2.0, 2)
    assert value.item() == pytest.approx(math.log(1 + math.exp(1)), rel=1e-5)


def test_sphereface_costs_more_the_farther_a_photo_is() -> None:
    # the other centre is at 90° to every one of these photos
    angles = torch.linspace(0.01, math.pi - 0.01, 200)
    x = torch.stack([angles.cos(), angles.sin(), torch.zeros(200)], 1)
    centres = torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.0, 2.0]])
    values = [losses.sphereface(row[None], centres, torch.tensor([0]), 1.0, 3).item() for row in x]
    assert all(farther > nearer for nearer, farther in itertools.pairwise(values))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("cosine", [1.0, -1.0])
def test_gradients_with_another_margin_are_finite_at_the_ends(kind: str, cosine: float) -> None:
    x, centres = torch.tensor([[cosine, 0.0]], requires_grad=True), torch.eye(2, requires_grad=True)
    margin_loss(kind, x, centres, torch.tensor([0]), 32.0).backward()
    for gradient in (x.grad, centres.grad):
        assert gradient is not None
        assert bool(torch.isfinite(gradient).all())
