"""Which photos a batch has: permutations of each data set, cut into slices."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


class Stream:
    """An endless sequence of permutations of the photos `index int64 [n]`, in slices of `share`. `seed` decides it.
    With `products int64 [n]`, `together` photos of one product follow each other."""

    def __init__(
        self, index: NDArray[np.int64], share: int, seed: int, products: NDArray[np.int64] | None, together: int
    ) -> None:
        self._index, self._share, self._seed = index, share, seed
        self._products, self._together = products, together
        self._orders: dict[int, NDArray[np.int64]] = {}

    def slice(self, step: int) -> NDArray[np.int64]:
        """Photos `step · share` to `(step + 1) · share`."""
        places = np.arange(step * self._share, (step + 1) * self._share)
        passes, within = np.divmod(places, len(self._order(0)))
        used = {int(number): self._order(int(number)) for number in np.unique(passes)}
        self._orders = {0: self._orders[0]} | used
        return np.array([self._index[used[int(p)][w]] for p, w in zip(passes, within, strict=True)])

    def _order(self, number: int) -> NDArray[np.int64]:
        """Places of the photos in pass `number`. All passes have one length."""
        if number not in self._orders:
            draw = np.random.default_rng([self._seed, number])
            order = draw.permutation(len(self._index))
            self._orders[number] = (
                order if self._products is None else in_groups(order, self._products, self._together, draw)
            )
        return self._orders[number]


def in_groups(
    order: NDArray[np.int64], products: NDArray[np.int64], size: int, draw: np.random.Generator
) -> NDArray[np.int64]:
    """Sort a permutation `order int64 [n]` of photos into groups of `size` photos of one product, the groups in random
    order. `products int64 [n]` has each photo's product. A product whose photos do not fill its last group begins anew
    with its first ones, so one with a single photo has it `size` times."""
    sorted_order = order[np.argsort(products[order], kind="stable")]
    _, first, counts = np.unique(products[sorted_order], return_index=True, return_counts=True)
    groups = -(-counts // size)
    product = np.repeat(np.arange(len(counts)), groups)
    number = np.arange(groups.sum()) - np.repeat(np.cumsum(groups) - groups, groups)  # of the group in its product
    rank = (number[:, None] * size + np.arange(size)) % counts[product][:, None]
    return sorted_order[(first[product][:, None] + rank)[draw.permutation(len(rank))]].reshape(-1)
