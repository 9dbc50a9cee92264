"""The marks of photos of one flat colour, as placeholders are. They have no edges, and their hashes are noise, so two
of them are copies if their colours are nearly equal.

Each photo looks up its colour in a grid. So the time grows with the number of photos, however many are equal.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

import numpy as np
from numpy.typing import NDArray

from training.cleaning.copies.alignment import APART
from training.cleaning.copies.fingerprints import Fingerprints
from training.cleaning.copies.marking import Marker, Scored
from training.cleaning.marks import Mark, Value

Colour = tuple[int, int, int]
_READ = 4096  # fingerprints that are read at once
_AROUND = tuple(product((-1, 0, 1), repeat=3))


def marks_of_flat(photos: NDArray[np.int64], prints: Fingerprints, marker: Marker, least: float) -> Iterator[Mark]:
    """The marks of flat photos. The best photo stays, and those of its colour are marked; of the others the best stays,
    and so on.

    Args:
        photos: numbers of the photos, int64 [n].
        prints: the fingerprints.
        marker: ranks photos and makes marks.
        least: the least likeness of two copies. It is 1 for equal colours and 0 for two that differ by `APART` levels
            of a channel.
    """
    order, scores = marker.best_first(photos)
    colours = _Colours(int((1 - least) * APART))
    for start in range(0, len(order), _READ):
        places = order[start : start + _READ]
        numbers = photos[places]
        said = prints.values("colour", numbers).tolist()
        best = np.array([colours.best(place, tuple(colour)) for place, colour in zip(places, said, strict=True)])
        equal = (prints.values("sha256", numbers) == prints.values("sha256", photos[best])).all(1)
        apart = np.ptp([said, prints.values("colour", photos[best])], axis=0).max(1)
        for i in np.flatnonzero(places != best).tolist():
            photo, kept = (Scored(int(photos[at]), float(scores[at])) for at in (places[i], best[i]))
            why: dict[str, Value] = {"likeness": round(1 - float(apart[i]) / APART, 3), "levels": int(apart[i])}
            yield marker.mark(photo, kept, None if equal[i] else why)


class _Colours:
    """The colours of the photos that stay, in cubes of the size of the largest difference, so that a colour has to look
    only into its own cube and the 26 around it."""

    def __init__(self, most: int) -> None:
        """`most`: levels by which each channel of two copies differs at most."""
        self._most = most
        self._cubes: dict[Colour, list[tuple[int, Colour]]] = {}  # the turns and colours of photos that stay
        self._owner: dict[Colour, int] = {}  # colour → the turn of the photo that stays for it
        self._places: list[int] = []  # of the photos that stay, by turn

    def best(self, place: int, colour: Colour) -> int:
        """The place of the first photo that stays and has nearly this colour, or `place` if there is none."""
        owner = self._owner.get(colour)
        if owner is None:
            owner = self._owner[colour] = self._found(place, colour)
        return self._places[owner]

    def _found(self, place: int, colour: Colour) -> int:
        red, green, blue = (level // (self._most + 1) for level in colour)
        around = (self._cubes.get((red + i, green + j, blue + k), ()) for i, j, k in _AROUND)
        near = [turn for cube in around for turn, other in cube if self._are_near(colour, other)]
        if near:
            return min(near)
        turn = len(self._places)
        self._places.append(place)
        self._cubes.setdefault((red, green, blue), []).append((turn, colour))
        return turn

    def _are_near(self, one: Colour, other: Colour) -> bool:
        return max(abs(a - b) for a, b in zip(one, other, strict=True)) <= self._most
