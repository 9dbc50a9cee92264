"""Overlap of boxes: IoU and GIoU of pairs, as torch computes gradients of."""

from __future__ import annotations

import torch
from torch import Tensor

_SMALL = 1e-7


def iou(a: Tensor, b: Tensor) -> Tensor:
    """Intersection over union of pairs of boxes `[…, 4]` (left, top, right, bottom), `[…]` from 0 to 1."""
    shared, union = _areas(a, b)
    return shared / union


def giou_loss(a: Tensor, b: Tensor) -> Tensor:
    """1 - GIoU of pairs of boxes `[…, 4]`, `[…]` from 0 to 2 (Rezatofighi et al. 2019, algorithm 1)."""
    shared, union = _areas(a, b)
    low, high = torch.minimum(a[..., :2], b[..., :2]), torch.maximum(a[..., 2:], b[..., 2:])
    hull = (high - low).prod(-1).clamp(min=_SMALL)
    return 1 - shared / union + (hull - union) / hull


def _areas(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    low, high = torch.maximum(a[..., :2], b[..., :2]), torch.minimum(a[..., 2:], b[..., 2:])
    shared = (high - low).clamp(min=0).prod(-1)
    union = (a[..., 2:] - a[..., :2]).prod(-1) + (b[..., 2:] - b[..., :2]).prod(-1) - shared
    return shared, union.clamp(min=_SMALL)
