"""The network on one page: trunk → GeM → { softmax and multi-label heads, 400-d embedding → 256 hash logits }.

GrokNet (KDD 2020): every head sits on the trunk feature, the metric losses share one L2-normalised embedding, and the
hash is a small layer behind the embedding (the *catalyzer*) whose signs are the bits.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from typing import Literal, NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from training.network.trunk import build_trunk

EMBEDDING = 400
BITS = 256


Groups = Mapping[str, tuple[str, Tensor]]
"""By head whose labels are groups of another head's: that head's id, and which share of each of its labels belongs to
each label of this one, `float [finer labels, labels]`, rows that sum to 1."""


class GeM(nn.Module):
    """Generalised mean over the map, `(mean x^p)^(1/p)` with a learned p, always in float32 (FP16 overflows)."""

    def __init__(self, p: float = 2.0, learnt: bool = True) -> None:
        super().__init__()
        self.p = nn.Parameter(torch.tensor(p), requires_grad=learnt)

    def forward(self, x: Tensor) -> Tensor:
        """`[n, c, h, w]` → `[n, c]`."""
        return x.float().clamp(min=1e-4).pow(self.p).mean((2, 3)).pow(1.0 / self.p)


class Outputs(NamedTuple):
    """What one forward gives: `feature [n, f]`, `logits` by head id, `embedding [n, 400]` unit, `bits [n, 256]`."""

    feature: Tensor
    logits: dict[str, Tensor]
    embedding: Tensor
    bits: Tensor


class Network(nn.Module):
    """Trunk, pooling, heads (`sizes`: head id → number of labels), embedding and catalyzer."""

    def __init__(
        self,
        trunk: str,
        sizes: Mapping[str, int],
        pretrained: bool = True,
        dropout: float = 0.0,
        pooling: Literal["gem", "average"] = "gem",
    ) -> None:
        super().__init__()
        self.dropout = dropout
        self.groups: Groups = {}  # of the exported graph alone
        self.bfloat16_trunk = False  # the trunk, nine tenths of the work, in bfloat16; heads and embedding stay float32
        self.trunk = build_trunk(trunk, pretrained)
        self.pool = GeM() if pooling == "gem" else GeM(1.0, learnt=False)  # p = 1 is the average
        # module names may not hold dots
        self.heads = nn.ModuleDict({_key(k): nn.Linear(self.trunk.features, n) for k, n in sizes.items()})
        self.head_ids = list(sizes)
        self.embed = nn.Linear(self.trunk.features, EMBEDDING)
        self.catalyzer = nn.Linear(EMBEDDING, BITS)
        nn.init.orthogonal_(self.catalyzer.weight)
        nn.init.zeros_(self.catalyzer.bias)

    def forward(self, photos: Tensor) -> Outputs:
        """`float [n, 3, h, w]`, RGB, values 0–255."""
        with torch.autocast(photos.device.type, torch.bfloat16) if self.bfloat16_trunk else nullcontext():
            maps = self.trunk(photos)
        feature = self.pool(maps)
        seen = F.dropout(feature, self.dropout, self.training)
        logits = {head: self.head(head)(seen) for head in self.head_ids}
        embedding = F.normalize(self.embed(feature))
        return Outputs(feature, logits, embedding, self.catalyzer(embedding))

    def head(self, head_id: str) -> nn.Linear:
        """The linear layer of a head."""
        return cast(nn.Linear, self.heads[_key(head_id)])

    def train(self, mode: bool = True) -> Network:
        """As usual, except that batch norm of a timm trunk stays frozen."""
        super().train(mode)
        for module in self.trunk.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.eval()
        return self


class Served(nn.Module):
    """The exported graph: `uint8 [n, h, w, 3]` → one probability array a head, embedding, packed hash.

    Where a head has a finer one (`Network.groups`), its probability is the mean of its own and of the finer one's: of
    each group the length of its members' probabilities, √Σ p², made to sum to 1. Their sum would favour groups of many,
    as smoothed labels leave a little to every member (the demo's 296 coarse validation photos: .932 by the head alone,
    .929 with sums, .939 with lengths).
    """

    weights: Tensor

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("weights", torch.tensor([128.0, 64, 32, 16, 8, 4, 2, 1]))

    def forward(self, photos: Tensor) -> tuple[Tensor, ...]:
        """Heads in declared order, then the embedding `float32 [n, 400]`, then the hash `uint8 [n, 32]`."""
        out = self.network(photos.permute(0, 3, 1, 2).float())
        own = {head: out.logits[head].float().softmax(1) for head in self.network.head_ids}
        heads = [self._with_finer(head, own) for head in self.network.head_ids]
        bits = (out.bits > 0).float().reshape(-1, BITS // 8, 8)
        packed = (bits * self.weights).sum(2).to(torch.uint8)
        return (*heads, out.embedding, packed)

    def _with_finer(self, head: str, own: Mapping[str, Tensor]) -> Tensor:
        if head not in self.network.groups:
            return own[head]
        finer, shares = self.network.groups[head]
        told = (own[finer].square() @ shares).sqrt()
        return (own[head] + told / told.sum(1, keepdim=True)) / 2


def _key(head: str) -> str:
    return head.replace(".", "__")
