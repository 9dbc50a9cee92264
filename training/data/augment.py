"""Views of photos, made in one batched pass: crop, turn, flip, light, erasing. Hue stays, because colour is a label."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from training.data.erasing import AREA, erase, erase_cells
from training.recipe import View

_DRAWS = 14  # random numbers for a photo; drawn on the processor, so that a seed gives equal views on every device


def augment(photos: Tensor, view: View, size: int, generator: torch.Generator) -> Tensor:
    """`uint8 [n, h, w, 3]` → a view of each, `float32 [n, 3, size, size]`, values from 0 to 255, channels last in
    memory. `generator` decides all draws."""
    n = len(photos)
    draws = iter(torch.rand(_DRAWS, n, generator=generator).to(photos.device))

    def draw(low: float, high: float) -> Tensor:
        drawn: Tensor = next(draws)
        return drawn * (high - low) + low

    x = photos.permute(0, 3, 1, 2).float()
    side = draw(view.least_area, 1.0).sqrt()
    stretch = draw(-0.15, 0.15).exp()
    wide, high = (side * stretch).clamp(max=1.0), (side / stretch).clamp(max=1.0)
    turn = draw(-view.degrees, view.degrees) * (math.pi / 180)
    flip = (draw(0.0, 1.0) < view.flip).float() * -2 + 1
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
    if view.erase and view.erased == "box":
        area, shape = draw(*AREA), draw(-0.7, 0.7).exp()
        across, down = (area * shape).sqrt(), (area / shape).sqrt()
        left, top = draw(0.0, 1.0) * (1 - across), draw(0.0, 1.0) * (1 - down)
        # a photo that is not chosen loses a box of width 0
        right, bottom = left + across * (draw(0.0, 1.0) < view.erase), top + down
        x = erase(x, (left, top, right, bottom), mean)
    elif view.erase and view.erased == "cells":
        x = erase_cells(x, view.erase, generator, mean)
    return x.clamp_(0, 255).contiguous(memory_format=torch.channels_last)
