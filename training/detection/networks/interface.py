"""What every detector network gives, so that one loop trains them and one export serves them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from torch import Tensor, nn


class Target(NamedTuple):
    """What is known of one photo.

    Attributes:
        edges: float32 [k, 4], left, top, right, bottom of each box in shares of the photo.
        kinds: int64 [k], places in the list of kinds; 0 is `product`, a box whose kind nobody knows.
        ignored: float32 [j, 4], boxes that are neither product nor background.
    """

    edges: Tensor
    kinds: Tensor
    ignored: Tensor


class Dense(NamedTuple):
    """Every box that a network proposes for n photos, before non-maximum suppression.

    Attributes:
        boxes: float32 [n, p, 4], left, top, right, bottom in shares, within 0 and 1.
        scores: float32 [n, p], how sure the network is that the box holds a product, 0 to 1.
        kinds: float32 [n, p, k], the probability of each kind but `product`; k may be 0.
    """

    boxes: Tensor
    scores: Tensor
    kinds: Tensor


class DetectorNetwork(nn.Module):
    """A network that learns boxes. Photos are float32 [n, 3, side, side], RGB, values from 0 to 255."""

    def losses(self, photos: Tensor, targets: Sequence[Target]) -> dict[str, Tensor]:
        """The terms whose sum is minimised, each a scalar."""
        raise NotImplementedError

    def dense(self, photos: Tensor) -> Dense:
        """Every proposed box, in evaluation mode."""
        raise NotImplementedError

    def trunk_parameters(self) -> Iterator[nn.Parameter]:
        """The parameters that begin at published weights; they learn at the trunk's rate."""
        raise NotImplementedError
