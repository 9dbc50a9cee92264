"""An EfficientNet-Lite trunk with a feature pyramid (Lin et al. 2017, Feature Pyramid Networks)."""

from __future__ import annotations

import math
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from training.network.lite_shapes import LITE, lite_stages
from training.network.trunk import EfficientNetLite, build_trunk

STRIDES = (8, 16, 32, 64)
_TAPS = (2, 4, 6)  # the stages whose ends have the strides 8, 16 and 32


class LitePyramid(nn.Module):
    """Trunk and pyramid: photos → one map of `channels` for each stride of STRIDES, the last one only if `coarse`.

    The first `frozen` blocks of the trunk, and its stem, are not trained, and nothing is kept of them for a backward
    pass.
    """

    def __init__(
        self,
        name: str = "efficientnet_lite0",
        channels: int = 64,
        frozen: int = 0,
        pretrained: bool = True,
        coarse: bool = True,
    ) -> None:
        super().__init__()
        trunk = cast(EfficientNetLite, build_trunk(name, pretrained))
        stages = lite_stages(*LITE[name])
        ends = [sum(stage[4] for stage in stages[: place + 1]) for place in _TAPS]
        self.stem, self.blocks = trunk.stem, trunk.blocks
        self.ends, self.frozen = ends, frozen
        widths = [stages[place][3] for place in _TAPS]
        self.lateral = nn.ModuleList(nn.Conv2d(width, channels, 1) for width in widths)
        self.smooth = nn.ModuleList(nn.Conv2d(channels, channels, 3, padding=1) for _ in widths)
        self.coarse = nn.Conv2d(channels, channels, 3, 2, 1) if coarse else None
        for conv in (*self.lateral, *self.smooth, *([self.coarse] if self.coarse else [])):
            nn.init.kaiming_uniform_(cast(Tensor, conv.weight), a=1)
            nn.init.zeros_(cast(Tensor, conv.bias))
        for parameter in self._frozen_parameters():
            parameter.requires_grad_(False)

    def _frozen_parameters(self) -> list[nn.Parameter]:
        if not self.frozen:
            return []
        blocks = [p for block in list(self.blocks)[: self.frozen] for p in block.parameters()]
        return [*self.stem.parameters(), *blocks]

    def trunk_parameters(self) -> list[nn.Parameter]:
        """The trunk's parameters that are trained."""
        parameters = [*self.stem.parameters(), *self.blocks.parameters()]
        return [parameter for parameter in parameters if parameter.requires_grad]

    def forward(self, photos: Tensor) -> list[Tensor]:
        """`float [n, 3, side, side]`, values from 0 to 255 → `[n, channels, side / stride, side / stride]` each."""
        x = self.stem((photos - 127.0) / 128.0)
        taps = []
        for number, block in enumerate(self.blocks, start=1):
            x = block(x)
            if number == self.frozen and torch.is_grad_enabled():
                x = x.detach()
            if number in self.ends:
                taps.append(x)
        maps = [lateral(tap) for lateral, tap in zip(self.lateral, taps, strict=True)]
        for place in (1, 0):
            maps[place] = maps[place] + F.interpolate(maps[place + 1], scale_factor=2.0, mode="nearest")
        maps = [smooth(one) for smooth, one in zip(self.smooth, maps, strict=True)]
        return maps if self.coarse is None else [*maps, self.coarse(F.relu(maps[-1]))]


def centres(side: int, stride: int, like: Tensor) -> Tensor:
    """The centres of the cells of a map in pixels of the photo: float `[cells, 2]`, x and y, row by row."""
    count = math.ceil(side / stride)
    along = (torch.arange(count, device=like.device, dtype=like.dtype) + 0.5) * stride
    y, x = torch.meshgrid(along, along, indexing="ij")
    return torch.stack((x.reshape(-1), y.reshape(-1)), 1)
