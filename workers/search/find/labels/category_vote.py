"""The category by the detector's class and the nearest listings, an idea of WeChat's search by image.

The 20 nearest listings vote, and so does the class of the box. A neighbour at d bits has the weight
exp(-(d - nearest) / SCALE_BITS), scaled so that all of them have 1 - W together; the class has W times its confidence.
W is `search.category_vote`. The vote is an answer of its own: it changes neither `offered` nor `categories`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from workers.search.answers import VotedCategory
from workers.search.find.labels.vote import VOTERS, Ballot, last_part

ANY_KIND = "product"
"""The class that says only that there is a product. It has no vote."""
_SCALE_BITS = 4.0  # as `workers/search/find/labels/vote.py`
_DIGITS = 4


def vote_with_class(
    kind: str | None, confidence: float, ballots: Sequence[Ballot], weight: float
) -> list[VotedCategory]:
    """Every category with a vote, the best first; equal ones by name.

    Args:
        kind: the detector's class of the box; None, or ANY_KIND, has no vote.
        confidence: the detector's, 0 to 1.
        ballots: similar listings, in any order.
        weight: W, 0 to 1.
    """
    voting = sorted((b for b in ballots if b.category), key=lambda b: (b.distance, b.listing_id))[:VOTERS]
    near = {b: math.exp((voting[0].distance - b.distance) / _SCALE_BITS) for b in voting}
    total = sum(near.values())
    shares: dict[str, float] = {}
    for ballot, value in near.items():
        shares[str(ballot.category)] = shares.get(str(ballot.category), 0.0) + value / total
    own = kind if kind not in (None, ANY_KIND) else None
    mine = weight * confidence if own else 0.0
    if own is not None:
        spelled = next((name for name in shares if last_part(name) == last_part(own)), own)
        shares.setdefault(spelled, 0.0)
    else:
        spelled = ""
    most = mine + (1 - weight) * (1.0 if total else 0.0)
    if not most:
        return []
    counted = [
        VotedCategory(
            category=name,
            share=round(((1 - weight) * share + (mine if name == spelled else 0.0)) / most, _DIGITS),
            detector=round(confidence, _DIGITS) if name == spelled else 0.0,
            neighbours=round(share, _DIGITS),
        )
        for name, share in shares.items()
    ]
    return sorted(counted, key=lambda one: (-one.share, one.category))
