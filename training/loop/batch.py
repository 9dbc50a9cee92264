"""A training batch as the losses see it: which photos, what is known of them, and what the networks answered."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from training import losses
from training.data.corpus import Corpus
from training.network.model import Outputs


@dataclass(frozen=True)
class Term:
    """A loss times the recipe's weight.

    Attributes:
        value: a float scalar.
        counted: how many of this rank's photos the mean is over. None if the loss is over all ranks' photos, and so
            has the same value on every rank.
    """

    value: Tensor
    counted: Tensor | None = None


@dataclass(frozen=True)
class Batch:
    """One batch. All tensors are on the device of the outputs.

    Attributes:
        corpus: what the photos are from.
        numbers: `int64 [n]`, the photos' numbers in the corpus.
        products: `int64 [n]`, −1 for no product.
        views: how many views of each photo went through the network.
        out: the network's outputs for the weak views of all photos, then for their strong views, in the same order.
        tutor: the tutor's outputs for the same views, in a run with a tutor.
    """

    corpus: Corpus
    numbers: Tensor
    products: Tensor
    views: int
    out: Outputs
    tutor: Outputs | None = None

    @property
    def device(self) -> torch.device:
        """Where the outputs are."""
        return self.out.feature.device

    @cached_property
    def codes(self) -> dict[str, Tensor]:
        """The unit rows that losses of similarity act on: `embedding`, `float32 [views · n, 400]`, and the softened
        `hash`, `float32 [views · n, 256]`."""
        return {"embedding": self.out.embedding, "hash": losses.soft_bits(self.out.bits)}

    def put(self, values: NDArray[np.generic]) -> Tensor:
        """This batch's rows of an array of the corpus, `[n, …]`; half precision becomes float32."""
        rows = self.corpus.placed(values, self.device)[self.numbers]
        return rows.float() if rows.dtype == torch.float16 else rows

    def of(self, datasets: Sequence[str]) -> Tensor:
        """`bool [n]`: which photos are of these data sets."""
        return self.put(self.corpus.members(tuple(datasets)))


def make_batch(corpus: Corpus, numbers: NDArray[np.int64], out: Outputs, tutor: Outputs | None = None) -> Batch:
    """The batch of the photos `numbers int64 [n]`, with the network's outputs (and a tutor's) for all views of them,
    `[views · n, …]`."""
    index = torch.from_numpy(numbers).to(out.feature.device)
    products = corpus.placed(corpus.products, out.feature.device)[index]
    return Batch(corpus, index, products, len(out.feature) // len(numbers), out, tutor)
