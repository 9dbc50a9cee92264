"""Embeddings of shallower depths of the trunk, for a hard-aware cascade (`training/losses/cascade.py`). They are only
trained with: a bundle does not have them."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn


class ShallowEmbeddings(nn.Module):
    """One linear layer for each stage, on the mean over the stage's map. `channels` are those of the maps. GeM would
    lose the negative half of these maps, which end in a layer without activation."""

    def __init__(self, channels: Sequence[int], width: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(one, width) for one in channels)

    def forward(self, maps: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Maps `[n, c, h, w]`, one for each stage → unit rows `float32 [n, width]` for each."""
        return tuple(
            F.normalize(layer(stage.float().mean((2, 3)))) for layer, stage in zip(self.layers, maps, strict=True)
        )
