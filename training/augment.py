"""Views of a photo, made in one batched pass: crop, turn, flip, light. Hue is left alone, as colour is a label."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class View:
    """How far a view may stray: least share of the area, most degrees of turn, strength of light changes."""

    least_area: float
    degrees: float
    light: float


# A weak view looks like what is served; the strong one is its partner in the contrastive term.
WEAK = View(least_area=0.75, degrees=4.0, light=0.08)
STRONG = View(least_area=0.35, degrees=15.0, light=0.25)


def augment(photos: Tensor, view: View, size: int, generator: torch.Generator) -> Tensor:
    """`uint8 [n, h, w, 3]` → `float [n, 3, size, size]`, values 0–255, channels last in memory."""
    n = len(photos)

    def draw(low: float, high: float) -> Tensor:
        return (torch.rand(n, generator=generator) * (high - low) + low).to(photos.device)

    x = photos.permute(0, 3, 1, 2).float()
    side = draw(view.least_area, 1.0).sqrt()
    stretch = draw(-0.15, 0.15).exp()
    wide, high = (side * stretch).clamp(max=1.0), (side / stretch).clamp(max=1.0)
    turn = draw(-view.degrees, view.degrees) * (math.pi / 180)
    flip = (draw(0.0, 1.0) < 0.5).float() * 2 - 1
    theta = torch.zeros(n, 2, 3, device=photos.device)
    theta[:, 0, 0], theta[:, 0, 1] = wide * turn.cos() * flip, -high * turn.sin()
    theta[:, 1, 0], theta[:, 1, 1] = wide * turn.sin() * flip, high * turn.cos()
    theta[:, 0, 2], theta[:, 1, 2] = draw(-1, 1) * (1 - wide), draw(-1, 1) * (1 - high)
    grid = F.affine_grid(theta, [n, 3, size, size], align_corners=False)
    x = F.grid_sample(x, grid, mode="bilinear", padding_mode="reflection", align_corners=False)
    mean = x.mean((1, 2, 3), keepdim=True)
    grey = x.mean(1, keepdim=True)
    colour = draw(1 - view.light, 1 + view.light).view(n, 1, 1, 1)
    contrast = draw(1 - view.light, 1 + view.light).view(n, 1, 1, 1)
    bright = draw(1 - view.light, 1 + view.light).view(n, 1, 1, 1)
    x = grey + (x - grey) * colour
    x = ((x - mean) * contrast + mean) * bright
    return x.clamp_(0, 255).contiguous(memory_format=torch.channels_last)
