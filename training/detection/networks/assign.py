"""Which cell of which map answers for which box (FCOS, Tian et al. 2019, section 3.2, with centre sampling)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from training.detection.networks.interface import Target

# A map answers for boxes whose farthest edge is so many strides from the cell. FCOS has 8 for the finest map; 5 brings
# the boxes of a 320-pixel photo to maps that see all of them.
_REACH = 5.0
_RADIUS = 1.5  # strides around the middle of a box


class Assigned(NamedTuple):
    """The cells of one photo.

    Attributes:
        has: bool [p], whether the cell answers for a box.
        weight: float [p], 0 for a cell within an ignored box that answers for none.
        edges: float [q, 4], the box in pixels of each cell that has one.
        kinds: int64 [q], its kind.
    """

    has: Tensor
    weight: Tensor
    edges: Tensor
    kinds: Tensor


def assign(places: Sequence[Tensor], strides: Sequence[int], target: Target, side: int) -> Assigned:
    """Assign the boxes of one photo to cells.

    A cell may answer for a box if it is within it, near its middle, and if the box has a size for the cell's map. If
    several boxes claim a cell, the smallest gets it.

    Args:
        places: for each map the centres of its cells in pixels, float [cells, 2].
        strides: of the maps, rising.
        target: the photo's boxes.
        side: of the photo in pixels.
    """
    points = torch.cat(list(places))
    stride = torch.cat([torch.full((len(at),), float(s)) for at, s in zip(places, strides, strict=True)]).to(points)
    first, last = stride == strides[0], stride == strides[-1]
    weight = torch.ones_like(stride)
    if len(target.ignored):
        weight[_inside(points, target.ignored * side).any(1)] = 0.0
    if not len(target.edges):
        return Assigned(torch.zeros_like(stride, dtype=torch.bool), weight, points.new_zeros(0, 4), target.kinds[:0])
    boxes = target.edges * side
    far = torch.maximum(points[:, None] - boxes[None, :, :2], boxes[None, :, 2:] - points[:, None]).amax(2)
    low = torch.where(first, 0.0, stride / 2 * _REACH)
    high = torch.where(last, float("inf"), stride * _REACH)
    fits = (far > low[:, None]) & (far <= high[:, None])
    middle = (boxes[:, :2] + boxes[:, 2:]) / 2
    near = ((points[:, None] - middle[None]).abs().amax(2)) < _RADIUS * stride[:, None]
    may = _inside(points, boxes) & near & fits
    area = (boxes[:, 2:] - boxes[:, :2]).prod(1)
    smallest = torch.where(may, area[None], torch.inf)
    least, which = smallest.min(1)
    has = torch.isfinite(least)
    weight[has] = 1.0
    return Assigned(has, weight, boxes[which[has]], target.kinds[which[has]])


def _inside(points: Tensor, boxes: Tensor) -> Tensor:
    """bool [p, k]: whether each point is within each box."""
    low, high = points[:, None] > boxes[None, :, :2], points[:, None] < boxes[None, :, 2:]
    return (low & high).all(2)
