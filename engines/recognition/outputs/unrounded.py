"""A photo before its hash was rounded, and how alike it is to what the store keeps of another photo.

All answers are cosines on one scale: 1 for the same direction, about 0 for two photos that chance has brought together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from engines.recognition.outputs.hash_layer import HashLayer, asymmetric, cosines, from_eight_bits


@dataclass(frozen=True, eq=False)
class Unrounded:
    """`embedding`, float32 [dim], L2-normalised, and the hash layer of its bundle."""

    embedding: npt.NDArray[np.float32]
    layer: HashLayer

    @property
    def margins(self) -> npt.NDArray[np.float32]:
        """How sure the photo is of each bit, float32 [bits]. Their signs are the hash."""
        found: npt.NDArray[np.float32] = self.layer.margins(self.embedding[None])[0]
        return found

    def to_embeddings(self, kept: npt.NDArray[np.int8]) -> npt.NDArray[np.float32]:
        """Cosines float32 [g] with embeddings of this bundle, kept as int8 [g, dim]. This is the most exact order. In
        the mean the cosine is nearly that of the margins."""
        found: npt.NDArray[np.float32] = cosines(self.embedding[None], kept)[0]
        return found

    def to_margins_of(self, kept: npt.NDArray[np.int8]) -> npt.NDArray[np.float32]:
        """Cosines float32 [g] of the margins with those of embeddings of this bundle, kept as int8 [g, dim]."""
        found: npt.NDArray[np.float32] = cosines(self.margins[None], self.layer.margins(from_eight_bits(kept)))[0]
        return found

    def to_margins(self, kept: npt.NDArray[np.int8]) -> npt.NDArray[np.float32]:
        """Cosines float32 [g] of the margins with others of this bundle, kept as int8 [g, bits]."""
        found: npt.NDArray[np.float32] = cosines(self.margins[None], kept)[0]
        return found

    def to_hashes(self, codes: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Estimated cosines float32 [g] of the margins with those behind the packed hashes uint8 [g, bits / 8]: 1 − 2 ·
        Σ |margin| of the bits that differ / Σ |margin|. For margins that are jointly normal it is the cosine in the
        mean."""
        margins = self.margins
        whole = max(float(np.abs(margins).sum()), 1e-12)
        alike: npt.NDArray[np.float32] = (1.0 - 2.0 * asymmetric(margins[None], codes)[0] / whole).astype(np.float32)
        return alike


def mean_of(photos: Sequence[Unrounded]) -> Unrounded:
    """The mean of several photos of one bundle. Its margins are the mean of theirs. Raises ValueError for none."""
    if not photos:
        raise ValueError("photos: none; give at least one")
    mean: npt.NDArray[np.float32] = np.stack([one.embedding for one in photos]).mean(axis=0, dtype=np.float32)
    return Unrounded(mean, photos[0].layer)
