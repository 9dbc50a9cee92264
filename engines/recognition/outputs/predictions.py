"""An engine's answer for a batch: arrays with one row for each photo."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from engines.recognition.outputs.hash_layer import HashLayer
from schemas import predictions as stored
from schemas.manifest import Manifest

DIGITS = 4  # of a stored probability: finer than any calibration, and it keeps rows of JSON short


@dataclass(frozen=True, eq=False)
class HeadPredictions:
    """One head's best labels, calibrated, best first.

    Attributes:
        labels: int32 [n, k], the labels' `index` in the manifest's head.
        probabilities: float32 [n, k], calibrated, descending along a row.
        offered: bool [n, k], whether the probability reaches the head's operating threshold.
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
    """

    heads: dict[str, HeadPredictions]
    embedding: npt.NDArray[np.float32]
    hash: npt.NDArray[np.uint8]
    layer: HashLayer | None = None

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
        return Predictions(heads, embedding, np.concatenate([part.hash for part in parts]), parts[0].layer)

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

    def margins(self, i: int) -> npt.NDArray[np.float32] | None:
        """Return how sure row i is of each bit, float32 [bits]; None if the hash layer is unknown."""
        return None if self.layer is None else self.layer.margins(self.embedding[i : i + 1])[0]

    def hash_hex(self, i: int) -> str:
        """Return the hash of row i in its form on the wire: 64 lower-case hex digits."""
        return bytes(self.hash[i]).hex()
