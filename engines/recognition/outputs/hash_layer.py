"""The hash layer: the linear layer whose signs are the hash, and how sure a photo is of each bit.

A packed hash keeps only signs. A caller that still has the embedding can compare it with packed hashes without
rounding it: a bit that was nearly the other way then counts little (Gordo, Perronnin, Gong & Lazebnik, "Asymmetric
distances for binary embeddings", 2014). Where both photos still have their embeddings, even in eight bits a number, the
cosine between them loses nothing that matters. The asymmetric distance estimates this cosine (`unrounded.py`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from engines.recognition.bundles.bundle import Bundle
from schemas.errors import BundleRefused

WEIGHT, BIAS = "hash.weight", "hash.bias"  # arrays in the parity file, if a linear layer makes the hash


@dataclass(frozen=True, eq=False)
class HashLayer:
    """`weight` float32 [bits, dim] and `bias` float32 [bits]: bit = weight · embedding + bias > 0."""

    weight: npt.NDArray[np.float32]
    bias: npt.NDArray[np.float32]

    def margins(self, embedding: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Return float32 [n, bits] for embeddings float32 [n, dim]: weight · embedding + bias. Its sign is the bit.

        Not by BLAS, whose threads wait busily for more: in a tagger that cost 9 ms of processor time a photo, this .1.
        """
        logits: npt.NDArray[np.float32] = np.einsum("nd,bd->nb", embedding, self.weight) + self.bias
        return logits.astype(np.float32)


def read_hash_layer(bundle: Bundle) -> HashLayer | None:
    """Return the bundle's hash layer, or None if the parity file has none.

    Raises:
        BundleRefused: weight or bias is missing or has the wrong shape, or they do not give the parity photos' hashes.
    """
    weight, bias = (bundle.expected.get(name) for name in (WEIGHT, BIAS))
    if weight is None and bias is None:
        return None
    manifest = bundle.manifest
    if weight is None or bias is None:
        raise BundleRefused(f"{manifest.parity.file}: {WEIGHT} and {BIAS} come together, one is missing; export again")
    shape = (manifest.hash.bits, manifest.embedding.dim)
    if weight.shape != shape or bias.shape != shape[:1]:
        found = f"{list(weight.shape)} and {list(bias.shape)}"
        raise BundleRefused(f"{manifest.parity.file}: {WEIGHT} and {BIAS} are {found}, not {list(shape)}; export again")
    layer = HashLayer(weight.astype(np.float32), bias.astype(np.float32))
    embedding = bundle.expected[manifest.embedding.output].astype(np.float32)
    codes = np.packbits(layer.margins(embedding) > 0, axis=1)
    flips = np.bitwise_count(codes ^ bundle.expected[manifest.hash.output].astype(np.uint8)).sum(1)
    if flips.max() > manifest.parity.hash_bits:
        raise BundleRefused(f"{manifest.parity.file}: {WEIGHT} is not the layer that made its hashes; export again")
    return layer


def in_eight_bits(rows: npt.NDArray[np.float32]) -> npt.NDArray[np.int8]:
    """Return embeddings or margins float32 [n, d] as int8 [n, d]: each row is scaled so that its largest number is
    ±127.

    The scale is not kept, because a cosine does not need it. A row of zeros stays one.
    """
    largest = np.maximum(np.abs(rows).max(axis=1, keepdims=True), np.finfo(np.float32).tiny)
    rounded: npt.NDArray[np.int8] = np.rint(rows * (127 / largest.astype(np.float64))).astype(np.int8)
    return rounded


def from_eight_bits(kept: npt.NDArray[np.int8]) -> npt.NDArray[np.float32]:
    """Return embeddings float32 [n, dim], L2-normalised, that `in_eight_bits` rounded to int8 [n, dim]. A row of zeros
    stays one."""
    rows = kept.astype(np.float32)
    rows /= np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), np.finfo(np.float32).tiny)
    return rows


def cosines(
    rows: npt.NDArray[np.float32], others: npt.NDArray[np.int8] | npt.NDArray[np.float32]
) -> npt.NDArray[np.float32]:
    """Return cosines float32 [q, g], from -1 to 1. They are 0 where a row has no direction.

    Args:
        rows: float32 [q, d].
        others: float32 [g, d], or int8 as `in_eight_bits` makes them.
    """
    theirs = others.astype(np.float32)
    length = np.linalg.norm(rows, axis=1)[:, None] * np.linalg.norm(theirs, axis=1)[None]
    products = np.einsum("qd,gd->qg", rows, theirs)  # not by BLAS, see `HashLayer.margins`
    alike: npt.NDArray[np.float32] = products / np.maximum(length, np.finfo(np.float32).tiny)
    return np.clip(alike, -1.0, 1.0)


def asymmetric(margins: npt.NDArray[np.float32], codes: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """Return distances float32 [q, g]: the sum of |margin| over differing bits.

    Args:
        margins: float32 [q, bits], not rounded.
        codes: uint8 [g, bits / 8], packed hashes.
    """
    signs = np.unpackbits(codes, axis=1).astype(np.float32) * 2 - 1
    distance: npt.NDArray[np.float32] = (np.abs(margins).sum(1, keepdims=True) - margins @ signs.T) / 2
    return distance
