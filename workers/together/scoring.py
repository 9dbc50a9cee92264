"""How much two listings belong together, from how often they were together and how often each was there at all.

Raw counts favour what is everywhere, and a ratio favours what was seen once. So a prior is added: the score of a pair
is c / sqrt((a + PRIOR) · (b + PRIOR)), the cosine of the two listings' occasions, shrunk.
docs/benchmarks/products_prices.md compares it with raw counts, Jaccard's index and pointwise mutual information.
"""

from __future__ import annotations

import math

PRIOR = 5.0
"""Occasions that every listing is taken to have had without the other one."""


def shrunk_cosine(together: float, first: float, second: float) -> float:
    """The score of two listings that were on `first` and `second` occasions, on `together` of them together."""
    return together / math.sqrt((first + PRIOR) * (second + PRIOR))
