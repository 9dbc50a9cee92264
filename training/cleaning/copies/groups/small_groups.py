"""The marks of small groups, in which the best photo is compared with all others."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from training.cleaning.copies.alignment import likeness
from training.cleaning.copies.fingerprints import Fingerprints
from training.cleaning.copies.hashes import picture_distances
from training.cleaning.copies.marking import Marker, Scored, score
from training.cleaning.marks import Mark, Value


def marks_of_small(
    groups: Sequence[NDArray[np.int64]], prints: Fingerprints, marker: Marker, least: float
) -> list[list[Mark]]:
    """The marks of some groups. The best photo of a group stays; those that are like it are marked. What is left is a
    group of its own, so that no photo is marked for one that it does not resemble."""
    if not groups:
        return []
    places = np.concatenate(groups).tolist()
    of = dict(zip(places, prints.take(places), strict=True))
    scored = {place: Scored(place, score(record)) for place, record in of.items()}
    made: list[list[Mark]] = [[] for _ in groups]
    left = [
        (number, sorted(members.tolist(), key=lambda place: marker.rank(scored[place])))
        for number, members in enumerate(groups)
    ]
    while left:
        pairs = [(members[0], place) for _, members in left for place in members[1:]]
        kept, other = (np.stack([of[pair[side]]["small"] for pair in pairs]) for side in (0, 1))
        alike, apart = likeness(kept, other).tolist(), picture_distances(kept, other).tolist()
        judged = iter(zip(alike, apart, strict=True))
        rests = []
        for number, (best, *others) in left:
            rest = []
            for place, (like, bits) in zip(others, judged, strict=False):
                equal = bool((of[place]["sha256"] == of[best]["sha256"]).all())
                if not equal and like < least:
                    rest.append(place)
                    continue
                why: dict[str, Value] | None = None if equal else {"likeness": round(like, 3), "bits": bits}
                made[number].append(marker.mark(scored[place], scored[best], why))
            rests.append((number, rest))
        left = [one for one in rests if len(one[1]) > 1]
    return made
