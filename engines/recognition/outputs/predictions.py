"""An engine's answer for a batch: arrays with one row for each photo."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from engines.recognition.outputs.hash_layer import HashLayer, in_eight_bits
from engines.recognition.outputs.unrounded import Unrounded
from schemas import predictions as stored
from schemas.manifest import Head, Manifest

DIGITS = 4  # of a stored probability: finer than any calibration, and it keeps rows of JSON short


@dataclass(frozen=True, eq=False)
class HeadPredictions:
    """One head's best labels, calibrated, best first.

    Attributes:
        labels: int32 [n, k], the labels' `index` in the manifest's head.
        probabilities: float32 [n, k], calibrated, descending along a row.
        offered: bool [n, k], whether the head applies and the probability reaches the label's operating threshold.
    """

    labels: npt.NDArray[np.int32]
    probabilities: npt.NDArray[np.float32]
    offered: npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Predictions:
    """Predictions for n photos, in the order of the photos.

    Attributes:
        heads: by head id.
        embedding: float32 [n, manifest.embedding.dim], L2-normalised.
        hash: uint8 [n, 32], most significant bit first.
        layer: the hash layer, if the bundle has it.
        applicability: by domain id, p(applies), float32 [n]; None if the bundle has no applicability.
    """

    heads: dict[str, HeadPredictions]
    embedding: npt.NDArray[np.float32]
    hash: npt.NDArray[np.uint8]
    layer: HashLayer | None = None
    applicability: dict[str, npt.NDArray[np.float32]] | None = None

    def __len__(self) -> int:
        return len(self.hash)

    @staticmethod
    def concat(parts: Sequence[Predictions]) -> Predictions:
        """Join batches of one engine, in order. Raises ValueError if there are none."""
        if not parts:
            raise ValueError("parts: nothing to join; give at least one batch")
        heads = {
            head: HeadPredictions(
                np.concatenate([part.heads[head].labels for part in parts]),
                np.concatenate([part.heads[head].probabilities for part in parts]),
                np.concatenate([part.heads[head].offered for part in parts]),
            )
            for head in parts[0].heads
        }
        embedding = np.concatenate([part.embedding for part in parts])
        known = [part.applicability for part in parts if part.applicability is not None]
        applicability = {name: np.concatenate([one[name] for one in known]) for name in known[0]} if known else None
        codes = np.concatenate([part.hash for part in parts])
        return Predictions(heads, embedding, codes, parts[0].layer, applicability)

    def taken(self, at: npt.NDArray[np.int64]) -> Predictions:
        """Return the rows at the places `at`, int64 [m]."""
        heads = {
            name: HeadPredictions(one.labels[at], one.probabilities[at], one.offered[at])
            for name, one in self.heads.items()
        }
        applicability = self.applicability and {name: values[at] for name, values in self.applicability.items()}
        return Predictions(heads, self.embedding[at], self.hash[at], self.layer, applicability)

    def row(self, i: int, manifest: Manifest) -> stored.Predictions:
        """Return row i in the store's form: head id → label ids with probabilities, best first.

        Probabilities are rounded to 4 digits. No calibration is more exact, and a row is a third shorter.
        """
        result: stored.Predictions = {}
        for head in manifest.heads:
            mine = self.heads[head.id]
            triples = zip(
                mine.labels[i].tolist(), mine.probabilities[i].tolist(), mine.offered[i].tolist(), strict=True
            )
            result[head.id] = [
                stored.Prediction(label=head.labels[label].id, probability=round(probability, DIGITS), offered=offered)
                for label, probability, offered in triples
            ]
        return result

    def rows(self, manifest: Manifest) -> list[stored.Predictions]:
        """Return all rows in the form of `row`, in a third of the time."""
        found: list[stored.Predictions] = [{} for _ in range(len(self))]
        for head in manifest.heads:
            mine, ids = self.heads[head.id], [label.id for label in head.labels]
            # A float32 times 10⁴ is exact in float64, so this rounds as Python's `round` does.
            probabilities = np.round(mine.probabilities.astype(np.float64), DIGITS)
            columns = (values.ravel().tolist() for values in (mine.labels, probabilities, mine.offered))
            made = [
                stored.Prediction(label=ids[label], probability=chance, offered=offered)
                for label, chance, offered in zip(*columns, strict=True)
            ]
            top = mine.labels.shape[1]
            for i, row in enumerate(found):
                row[head.id] = made[i * top : (i + 1) * top]
        return found

    def applies(self, manifest: Manifest) -> list[list[str] | None]:
        """Return for each row the ids of the heads that apply, in the manifest's order; None for each row if the bundle
        has no applicability."""
        if self.applicability is None or manifest.applicability is None:
            return [None] * len(self)
        columns = [heads_apply(manifest, head, self.applicability) for head in manifest.heads]
        ids = [head.id for head in manifest.heads]
        everywhere = np.ones(len(self), np.bool_)
        table = np.stack([everywhere if column is None else column for column in columns], axis=1).tolist()
        return [[name for name, mine in zip(ids, row, strict=True) if mine] for row in table]

    def unrounded(self, i: int) -> Unrounded | None:
        """Return what row i was before its hash was rounded; None if the hash layer is unknown."""
        return None if self.layer is None else Unrounded(self.embedding[i], self.layer)

    def kept_embeddings(self) -> list[bytes | None]:
        """Return the embedding of each row in eight bits, 1 byte a number, as a stored row has it; None for each row if
        the hash layer is unknown, because searches then go by hashes alone."""
        if self.layer is None:
            return [None] * len(self)
        return [row.tobytes() for row in in_eight_bits(self.embedding)]

    def hash_hex(self, i: int) -> str:
        """Return the hash of row i in its form on the wire: 64 lower-case hex digits."""
        return bytes(self.hash[i]).hex()


def heads_apply(
    manifest: Manifest, head: Head, applicability: Mapping[str, npt.NDArray[np.float32]]
) -> npt.NDArray[np.bool_] | None:
    """Return for each photo whether a head applies, bool [n]; None if it applies to every photo.

    Args:
        manifest: has the thresholds of the domains.
        head: of the manifest.
        applicability: by domain id, p(applies), float32 [n].
    """
    if manifest.applicability is None or not head.domain:
        return None
    threshold = next(one.threshold for one in manifest.applicability.domains if one.id == head.domain)
    # as float32, so that a threshold taken from such a probability is reached by it
    result: npt.NDArray[np.bool_] = applicability[head.domain] >= np.float32(threshold)
    return result
