"""A hash layer that is fitted to rank neighbours and to use every bit; GrokNet calls it the catalyzer.

Sablayrolles et al. 2019, "Spreading vectors for similarity search": a triplet rank loss keeps the nearest neighbours of
an embedding nearer than its 50th neighbour, and the Kozachenko-Leonenko loss spreads the outputs over the sphere, where
rounding to signs loses least.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from training import losses
from training.bundle.hash_layers import Floats, itq

HIDDEN = 512
NEAR, FAR = 10, 50  # a positive is one of the 10 nearest, the negative is the 50th (Sablayrolles et al. §4.1)
SPREAD = 0.02  # λ, of the size that GrokNet uses
RATE = 1e-4  # at 1e-3 the hidden layer overfits the few thousand photos: R@1 of test photos .23 instead of .37
MARGIN = 0.05  # the paper has 0; after the linear start most triplets are ranked correctly and would teach nothing


class SpreadingLayer(nn.Linear):
    """A linear layer plus a correction by a hidden layer. The correction is 0 at first."""

    def __init__(self, width: int, bits: int) -> None:
        super().__init__(width, bits)
        self.hidden, self.correction = nn.Linear(width, HIDDEN), nn.Linear(HIDDEN, bits)
        nn.init.zeros_(self.correction.weight)
        nn.init.zeros_(self.correction.bias)

    def forward(self, embedding: Tensor) -> Tensor:
        """`float32 [n, d]`, unit rows → hash logits `float32 [n, bits]`, whose signs are the bits."""
        corrected: Tensor = self.correction(torch.relu(self.hidden(embedding)))
        return super().forward(embedding) + corrected


def fit_spreading_layer(
    embedding: Floats, bits: int, *, steps: int = 1000, batch: int = 256, rate: float = RATE, seed: int = 0
) -> SpreadingLayer:
    """Fit a layer to `embedding float32 [n, d]`, unit rows, n > `FAR`.

    It starts at ITQ and learns by AdamW with a cosine from `rate` to 0. The seed decides every draw.
    """
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        layer = SpreadingLayer(embedding.shape[1], bits)
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
            loss = losses.triplet_rank(anchor, positive, negative, MARGIN) + SPREAD * losses.spreading(anchor)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            plan.step()
    return layer.eval()


def neighbours(embedding: Floats) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """For every row of `embedding float32 [n, d]`: the places of its `NEAR` nearest other rows by cosine,
    `int64 [n, NEAR]`, and of the `FAR`th, `int64 [n]`.

    1,000 rows are compared at a time, so that memory grows with n and not with its square.
    """
    near, far = [], []
    for start in range(0, len(embedding), 1000):
        cosine = embedding[start : start + 1000] @ embedding.T
        cosine[np.arange(len(cosine)), np.arange(len(cosine)) + start] = -2.0  # a row is not its own neighbour
        order = np.argpartition(-cosine, [NEAR - 1, FAR - 1], axis=1)
        near.append(order[:, :NEAR])
        far.append(order[:, FAR - 1])
    return np.concatenate(near), np.concatenate(far)
