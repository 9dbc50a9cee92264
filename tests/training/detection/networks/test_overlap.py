"""Overlap of boxes, against torchvision's."""

from __future__ import annotations

import pytest
import torch

from training.detection.networks.overlap import giou_loss, iou


def boxes(count: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    low = torch.rand(count, 2, generator=generator) * 10
    return torch.cat((low, low + 0.1 + torch.rand(count, 2, generator=generator) * 8), 1)


def test_iou_and_giou_equal_torchvisions() -> None:
    ops = pytest.importorskip("torchvision.ops")
    a, b = boxes(50, 0), boxes(50, 1)
    assert torch.allclose(iou(a, b), ops.box_iou(a, b).diagonal(), atol=1e-6)
    assert torch.allclose(giou_loss(a, b), 1 - ops.generalized_box_iou(a, b).diagonal(), atol=1e-6)


def test_boxes_without_an_area_give_a_finite_gradient() -> None:
    a = torch.tensor([[1.0, 1.0, 1.0, 1.0]], requires_grad=True)
    giou_loss(a, torch.tensor([[0.0, 0.0, 2.0, 2.0]])).sum().backward()
    assert a.grad is not None
    assert torch.isfinite(a.grad).all()
