"""One consistent state of the index, which is searched without a lock."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from engines.similarity._flat import Codes
from engines.similarity._owners import read_owner
from engines.similarity._parts import Asked, Found, Owner, Sealed, Tail
from engines.similarity._profiles import Profiles
from engines.similarity.types import Neighbour, Where

Part = Sealed | Tail


@dataclass(frozen=True, eq=False, slots=True)
class View:
    """An immutable state: sealed parts, tails, and the numbers of codes and listings alive at this generation."""

    sealed: tuple[Sealed, ...]
    tails: tuple[Tail, ...]
    generation: int
    vectors: int
    listings: int

    @property
    def pending(self) -> int:
        """The number of codes in the tails."""
        return sum(tail.count for tail in self.tails)

    @property
    def rows(self) -> int:
        """The number of codes in all parts, including dead ones."""
        return self.pending + sum(len(part.codes) for part in self.sealed)

    def search(
        self, hashes: Codes, k: int, profiles: Profiles, where: Where | None, radius: int | None
    ) -> list[list[Neighbour]]:
        """Return up to k nearest codes of each of `hashes`, uint8 [q, 32]. Ties are ordered by listing id, then photo
        id, then box. With `radius`, only codes within that many bits count."""
        asked = Asked(self.generation, k, where, None if where is None else profiles.admitted(where))
        parts: list[Part] = [*self.sealed, *self.tails]
        by_part: list[list[Found]] = []
        for part in self.sealed:
            if radius is not None and radius <= part.codes.near:
                by_part.append([part.within(hashes[i : i + 1], radius, asked) for i in range(len(hashes))])
            else:
                by_part.append(part.closest(hashes, asked))
        by_part += [[tail.closest(hashes[i : i + 1], asked) for i in range(len(hashes))] for tail in self.tails]
        return [_ranked(parts, [found[i] for found in by_part], k, radius) for i in range(len(hashes))]


def _ranked(parts: list[Part], found: list[Found], k: int, radius: int | None) -> list[Neighbour]:
    """Return the k nearest rows of all parts. Ids are looked up only for these rows and their ties."""
    distances = np.concatenate([one.distances for one in found]) if found else np.empty(0, np.int32)
    rows = np.concatenate([one.rows for one in found]) if found else np.empty(0, np.int64)
    source = np.repeat(np.arange(len(found)), [len(one.rows) for one in found])
    farthest = 8 * 256 if radius is None else radius
    if len(distances) > k:
        farthest = min(farthest, int(np.partition(distances, k - 1)[k - 1]))
    near = distances <= farthest
    ranked: list[tuple[int, str, str]] = []
    for distance, row, part in zip(distances[near].tolist(), rows[near].tolist(), source[near].tolist(), strict=True):
        owner: Owner = parts[part].owner(row)
        ranked.append((distance, *owner))
    ranked.sort()
    return [_neighbour(*one) for one in ranked[:k]]


def _neighbour(distance: int, listing_id: str, text: str) -> Neighbour:
    image_id, box = read_owner(text)
    return Neighbour(listing_id, image_id, distance, box)
