"""The catalyzer of GrokNet: a small network from embedding to hash, taught to rank neighbours and to use every bit.

Sablayrolles et al. 2019, "Spreading vectors for similarity search": a triplet rank loss keeps the nearest neighbours of
the input nearer than its 50th, and the Kozachenko-Leonenko term spreads the outputs over the sphere, where signs lose
least.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from training import losses
from training.bundle.hash_layers import Floats, itq
from training.losses import pairs

HIDDEN = 512
NEAR, FAR = 10, 50  # positives among the 10 nearest, the negative is the 50th (Sablayrolles et al. §4.1)
SPREAD = 0.02  # λ, GrokNet's order of size
RATE = 1e-4  # at 1e-3 the hidden layer learns the few thousand photos by heart: R@1 of others .23 in place of .37
MARGIN = 0.05  # the paper has 0; with the linear start most triplets are ranked rightly and would teach nothing


class Catalyzer(nn.Linear):
    """A linear layer plus a hidden layer's correction, `[n, d]` unit → hash logits `[n, bits]`; it begins linear."""

    def __init__(self, width: int, bits: int) -> None:
        super().__init__(width, bits)
        self.hidden, self.correction = nn.Linear(width, HIDDEN), nn.Linear(HIDDEN, bits)
        nn.init.zeros_(self.correction.weight)
        nn.init.zeros_(self.correction.bias)

    def forward(self, embedding: Tensor) -> Tensor:
        """Hash logits, whose signs are the bits."""
        corrected: Tensor = self.correction(torch.relu(self.hidden(embedding)))
        return super().forward(embedding) + corrected


def fit_catalyzer(
    embedding: Floats, bits: int, *, steps: int = 1000, batch: int = 256, rate: float = RATE, seed: int = 0
) -> Catalyzer:
    """Fit to `embedding float32 [n, d]`, unit rows, n > `FAR`; begins at ITQ. AdamW, cosine; the seed decides all."""
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        layer = Catalyzer(embedding.shape[1], bits)
    weight, bias = itq(embedding, bits, seed=seed)
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(weight))
        layer.bias.copy_(torch.from_numpy(bias))
    x, near, far = torch.from_numpy(embedding), *(torch.from_numpy(part) for part in neighbours(embedding))
    optimiser = torch.optim.AdamW(layer.parameters(), lr=rate, weight_decay=1e-4)
    plan = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    with torch.enable_grad():
        for _ in range(steps):
            rows = torch.randint(len(x), (min(batch, len(x)),), generator=generator)
            choice = torch.randint(NEAR, (len(rows),), generator=generator)
            triple = torch.cat([x[rows], x[near[rows, choice]], x[far[rows]]])
            anchor, positive, negative = losses.soft_bits(layer(triple)).chunk(3)
            loss = pairs.triplet_rank(anchor, positive, negative, MARGIN) + SPREAD * pairs.spreading(anchor)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            plan.step()
    return layer.eval()


def neighbours(embedding: Floats) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The `NEAR` nearest others `[n, NEAR]` of every row by cosine, and its `FAR`th `[n]`; 1,000 rows at a time."""
    near, far = [], []
    for start in range(0, len(embedding), 1000):
        cosine = embedding[start : start + 1000] @ embedding.T
        cosine[np.arange(len(cosine)), np.arange(len(cosine)) + start] = -2.0  # itself comes last
        order = np.argpartition(-cosine, [NEAR - 1, FAR - 1], axis=1)
        near.append(order[:, :NEAR])
        far.append(order[:, FAR - 1])
    return np.concatenate(near), np.concatenate(far)
