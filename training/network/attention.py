"""Attention over the trunk's map: which channels and which places count (Roy et al. 2018, scSE)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from training.network.lite_shapes import AttentionKind

REDUCTION = 16  # of the channels in between (Hu et al. 2018); Roy et al. have 2, which costs eight times as much here


class Attention(nn.Module):
    """Weighs a map `[n, c, h, w]` by channel, by place, or by both. The shape stays.

    By channel (cSE): the mean of each channel, a bottleneck with ReLU, and a sigmoid give a factor for each channel.
    By place (sSE): a 1 × 1 convolution to one channel and a sigmoid give a factor for each place. Both: the mean of the
    two results; Roy et al. 2018 take the sum.

    Factors are twice the sigmoid, and the last layers start at zero. So a new layer changes nothing, and a trunk with
    published weights starts where it was.
    """

    def __init__(self, channels: int, kind: AttentionKind) -> None:
        super().__init__()
        self.down = self.up = self.place = None
        if kind in {"channel", "both"}:
            self.down = nn.Linear(channels, max(8, channels // REDUCTION))
            self.up = nn.Linear(self.down.out_features, channels)
            _start_at_zero(self.up)
        if kind in {"spatial", "both"}:
            self.place = nn.Conv2d(channels, 1, 1)
            _start_at_zero(self.place)

    def forward(self, x: Tensor) -> Tensor:
        """`[n, c, h, w]` → `[n, c, h, w]`, of any float type."""
        weighed = []
        if self.down is not None and self.up is not None:
            by_channel = 2.0 * torch.sigmoid(self.up(F.relu(self.down(x.mean((2, 3))))))
            weighed.append(x * by_channel[:, :, None, None])
        if self.place is not None:
            weighed.append(x * (2.0 * torch.sigmoid(self.place(x))))
        return weighed[0] if len(weighed) == 1 else (weighed[0] + weighed[1]) / 2


def _start_at_zero(layer: nn.Linear | nn.Conv2d) -> None:
    nn.init.zeros_(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
