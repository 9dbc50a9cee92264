"""Parts of a photo are filled with its mean colour, so that a network does not rely on one part of a product.

Three ways: a box at a random place (random erasing, Zhong et al. 2020), cells of a grid (Bernoulli erasing), and a box
where the network looks most (after adversarial erasing, Wei et al. 2017).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

CELLS = 8  # cells along each side of the grid
CELL_SHARE = 0.15  # of the cells of a chosen photo that are filled: about as much as a random box on average
AREA = (0.02, 0.2)  # least and largest share of a box (Zhong et al. 2020 have 0.4 for the largest)


Box = tuple[Tensor, Tensor, Tensor, Tensor]
"""Left, top, right and bottom of a box in each photo, `[n]` each, in shares of the side."""


def erase(photos: Tensor, box: Box, mean: Tensor) -> Tensor:
    """Fill one box in each photo. `photos float [n, 3, h, w]` are square, `mean` is `[n, 1, 1, 1]`. A box of width 0
    changes nothing."""
    left, top, right, bottom = box
    at = (torch.arange(photos.shape[-1], device=photos.device) + 0.5) / photos.shape[-1]
    rows = (at >= top[:, None]) & (at < bottom[:, None])
    columns = (at >= left[:, None]) & (at < right[:, None])
    return torch.where(rows[:, None, :, None] & columns[:, None, None, :], mean, photos)


def erase_cells(photos: Tensor, probability: float, generator: torch.Generator, mean: Tensor) -> Tensor:
    """Fill every cell of a grid with probability `CELL_SHARE`, in a photo that is chosen with `probability`. Shapes as
    in `erase`."""
    n, side = len(photos), photos.shape[-1]
    drawn = torch.rand(n, CELLS, CELLS, generator=generator) < CELL_SHARE
    drawn &= (torch.rand(n, generator=generator) < probability)[:, None, None]
    mask = F.interpolate(drawn[:, None].float(), (side, side), mode="nearest").to(photos.device) > 0
    return torch.where(mask, mean, photos)


def erase_salient(photos: Tensor, maps: Tensor, probability: float, generator: torch.Generator) -> Tensor:
    """Fill a box around the place where the network's map is largest, in a photo that is chosen with `probability`.

    `photos float [n, 3, h, w]`; `maps [n, c, h', w']` is the trunk's map of these photos, of which the sum over
    channels counts, without negative values. Wei et al. 2017 take the class's own map; the sum needs no class and no
    second backward pass. The box is square, and its area is drawn between the shares of `AREA`.
    """
    n, high, wide = len(photos), maps.shape[-2], maps.shape[-1]
    place = maps.clamp(min=0).sum(1).flatten(1).argmax(1)
    half = ((torch.rand(n, generator=generator) * (AREA[1] - AREA[0]) + AREA[0]).sqrt() / 2).to(photos.device)
    chosen = (torch.rand(n, generator=generator) < probability).to(photos.device)
    x = (place % wide + 0.5) / wide
    y = (place.div(wide, rounding_mode="floor") + 0.5) / high
    half = half * chosen
    mean = photos.mean((1, 2, 3), keepdim=True)
    return erase(photos, (x - half, y - half, x + half, y + half), mean).contiguous(memory_format=torch.channels_last)
