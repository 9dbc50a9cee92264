"""What goes with a listing, against planted occasions: how often a held-out listing is among the ten that are answered.

    python -m benchmarks.listings.goes_with

A shop has categories of products, and every product has listings of several sellers, which look alike (their hashes
are a few bits apart). Four products of a category are of one style and look more alike than the others do. A style
goes with a style of another category, and each of its products with three products of that. A cart has a product, some
of its partners, and popular listings by chance; popularity falls as 1 / rank. One listing of each held-out cart is
hidden, and the cart's first listing asks for it: a hit is the hidden listing, or another listing of the same product,
among ten. A popular listing that was hidden cannot be guessed, so no way reaches 1.

A tenth of the products is new: none of its listings is in the carts that are counted. They are the cold start, told
apart: their answers come from neighbours or categories.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.report import page, parser, table, write_page
from schemas.occasions import Occasion
from workers.together.counts import Counts, Pair
from workers.together.scoring import PRIOR, shrunk_cosine

TOP = 10
_CATEGORIES, _PRODUCTS, _OF_STYLE, _SELLERS, _PARTNERS = 20, 40, 4, 3, 3
_COLD = 0.1
_SUPPORT = 2
_NEIGHBOURS, _ENOUGH, _CLOSE_BITS = 100, 50, 82
_REMEMBERED = 400

Score = Callable[[Pair, int, int], float]
"""(pair, occasions of the listing asked about, all occasions) → score."""


def count(pair: Pair, own: int, everything: int) -> float:
    """How often the two were together."""
    return float(pair.together)


def jaccard(pair: Pair, own: int, everything: int) -> float:
    """Jaccard's index with a prior: c / (a + b - c + PRIOR)."""
    return pair.together / (own + pair.occasions - pair.together + PRIOR)


def shrunk_information(pair: Pair, own: int, everything: int) -> float:
    """Pointwise mutual information, shrunk: c / (c + PRIOR) · log(c · N / (a · b))."""
    lift = pair.together * everything / (own * pair.occasions)
    return pair.together / (pair.together + PRIOR) * math.log(max(lift, 1e-9))


def cosine(pair: Pair, own: int, everything: int) -> float:
    """What the search service uses."""
    return shrunk_cosine(pair.together, own, pair.occasions)


def cosine_with(prior: float) -> Score:
    """The same with another prior."""

    def score(pair: Pair, own: int, everything: int) -> float:
        return pair.together / math.sqrt((own + prior) * (pair.occasions + prior))

    return score


SCORES: dict[str, Score] = {
    "raw counts": count,
    "Jaccard with a prior": jaccard,
    "shrunk pointwise mutual information": shrunk_information,
    "shrunk cosine (ours)": cosine,
}


@dataclass(frozen=True)
class Town:
    """The planted shop. A listing is a number; `product` and `category` are by listing, `codes` are its 256 bits as
    bytes [n, 32]."""

    product: NDArray[np.int64]
    category: NDArray[np.int64]
    codes: NDArray[np.uint8]
    partners: list[list[int]]
    """By product, the products that go with it."""
    popularity: NDArray[np.float64]
    cold: frozenset[int]
    """Products that are in no counted cart."""


def _flips(rng: np.random.Generator, count: int, share: float) -> NDArray[np.uint8]:
    """Bits that differ from a centre, [count, 256]."""
    return (rng.random((count, 256)) < share).astype(np.uint8)


def plant(rng: np.random.Generator) -> Town:
    """Draw the shop."""
    products = _CATEGORIES * _PRODUCTS
    of_product, styles = np.arange(products) // _PRODUCTS, np.arange(products) // _OF_STYLE
    bits = rng.integers(0, 2, (_CATEGORIES, 256), dtype=np.uint8)[of_product]
    bits = bits ^ _flips(rng, products // _OF_STYLE, 0.11)[styles]  # about 50 bits between two styles
    bits = bits ^ _flips(rng, products, 0.08)  # about 38 bits between two products of a style
    listings = np.repeat(np.arange(products), _SELLERS)
    seen = bits[listings] ^ _flips(rng, len(listings), 0.02)  # about 10 bits between two listings of a product
    popularity = 1 / (1 + rng.permutation(len(listings)))
    partners: list[list[int]] = []
    styles_of_category = _PRODUCTS // _OF_STYLE
    for style in range(products // _OF_STYLE):
        category = (style // styles_of_category + 1 + rng.integers(0, 3)) % _CATEGORIES
        other = int(category * styles_of_category + rng.integers(styles_of_category))  # the style that goes with it
        of_other = other * _OF_STYLE + np.arange(_OF_STYLE)
        for _ in range(_OF_STYLE):
            partners.append([int(one) for one in rng.choice(of_other, _PARTNERS, replace=False)])
    cold = frozenset(int(one) for one in rng.choice(products, int(_COLD * products), replace=False))
    return Town(
        listings, of_product[listings], np.packbits(seen, axis=1), partners, popularity / popularity.sum(), cold
    )


def carts(town: Town, number: int, rng: np.random.Generator, *, cold: bool) -> list[list[int]]:
    """Draw carts: a listing, one or two of its partners, and popular ones by chance. With `cold` the first listing is
    of a new product; otherwise no listing is."""
    listings = np.arange(len(town.product))
    new = np.isin(town.product, list(town.cold))
    first = town.popularity * (new if cold else ~new)
    known = town.popularity * ~new
    drawn = rng.choice(listings, number, p=first / first.sum())
    chance = iter(rng.choice(listings, 4 * number, p=known / known.sum()))
    found = []
    for one in drawn:
        cart = {int(one)}
        partners = [p for p in town.partners[town.product[one]] if p not in town.cold]
        for product in partners[: int(rng.integers(1, 3))]:
            cart.add(int(product * _SELLERS + rng.integers(_SELLERS)))
        cart.update(int(next(chance)) for _ in range(int(rng.integers(0, 4))))
        found.append([int(one), *sorted(cart - {int(one)})])
    return [cart for cart in found if len(cart) > 1]


def counted(carts_: Sequence[Sequence[int]]) -> Counts:
    """The counts of the search service, over these carts."""
    counts = Counts(len(carts_))
    for number, cart in enumerate(carts_):
        names = [str(one) for one in cart]
        counts.add(Occasion(occasion_id=f"o{number}", kind="cart", listing_ids=names, event_time=number + 1))
    return counts


class Nearest:
    """A brute force over the planted hashes: the distance of every listing, the nearest first, remembered."""

    def __init__(self, town: Town) -> None:
        self.town = town
        self._known: dict[int, list[tuple[int, int]]] = {}

    def of(self, listing: int) -> list[tuple[int, int]]:
        """(distance in bits, listing), without the listing itself."""
        if listing not in self._known:
            apart = np.bitwise_count(self.town.codes ^ self.town.codes[listing]).sum(axis=1)
            order = np.argsort(apart, kind="stable")
            self._known[listing] = [(int(apart[one]), int(one)) for one in order if one != listing][:_REMEMBERED]
        return self._known[listing]


class Answers:
    """Answers as `workers/search/find/goes_with.py` does."""

    def __init__(self, nearest: Nearest, counts: Counts, score: Score, *, ways: Sequence[str]) -> None:
        self._nearest, self._counts, self._score, self._ways = nearest, counts, score, ways
        self._town = nearest.town

    def of(self, listing: int) -> list[int]:
        """Ten listings."""
        chosen: list[int] = []
        for like in self._like(listing):
            for one in self._ranked(like):
                if one not in chosen and self._town.product[one] != self._town.product[listing]:
                    chosen.append(one)
            if len(chosen) >= TOP:
                break
        return chosen[:TOP]

    def _like(self, listing: int) -> Iterator[list[int]]:
        yield [listing]
        near = self._nearest.of(listing)
        if "neighbours" in self._ways:
            yield [one for apart, one in near if apart <= _CLOSE_BITS][:_NEIGHBOURS]
        if "categories" in self._ways:
            category = self._town.category
            yield [one for _, one in near if category[one] == category[listing]][:_NEIGHBOURS]

    def _ranked(self, like: Sequence[int]) -> list[int]:
        asked, occasions = [], 0
        for one in like:
            found = self._counts.occasions(str(one))
            if found:
                asked.append(str(one))
                occasions += found
            if occasions >= _ENOUGH:
                break
        pairs = [pair for pair in self._counts.pairs(asked) if pair.together >= _SUPPORT]
        everything = len(self._counts)
        pairs.sort(key=lambda pair: (-self._score(pair, occasions, everything), pair.listing_id))
        return [int(pair.listing_id) for pair in pairs]


def hits(
    town: Town, asked: Sequence[Sequence[int]], answer: Callable[[int], Sequence[int]], seed: int
) -> list[tuple[bool, bool]]:
    """For each cart, whether the hidden listing's product is in the answer to the cart's first listing, and whether it
    is a planted partner."""
    rng = np.random.default_rng(seed)
    found = []
    for cart in asked:
        hidden = town.product[cart[1 + int(rng.integers(len(cart) - 1))]]
        partner = int(hidden) in town.partners[town.product[cart[0]]]
        found.append((hidden in {town.product[one] for one in answer(cart[0])}, partner))
    return found


def told(found: Sequence[tuple[bool, bool]]) -> list[str]:
    """The share of hits, of all and of planted partners, each with the half width of its 95 % interval."""
    return [_share([hit for hit, _ in found]), _share([hit for hit, partner in found if partner])]


def _share(found: Sequence[bool]) -> str:
    share = float(np.mean(found))
    return f"{share:.3f} ± {1.96 * math.sqrt(share * (1 - share) / len(found)):.3f}"


def main() -> None:
    """Plant, count, ask, judge, print."""
    made = parser(__doc__, tells="page")
    made.add_argument("--carts", type=int, default=20_000, help="carts that are counted (default 20000)")
    made.add_argument("--asked", type=int, default=2_000, help="held-out carts of each kind (default 2000)")
    made.add_argument("--seed", type=int, default=24, help="of everything that is drawn (default 24)")
    options = made.parse_args()
    rng = np.random.default_rng(options.seed)
    town = plant(rng)
    known = carts(town, options.carts, rng, cold=False)
    counts = counted(known)
    warm, cold = (carts(town, options.asked, rng, cold=is_cold) for is_cold in (False, True))
    popular = [one for one, _ in Counter(one for cart in known for one in cart).most_common(TOP)]
    nearest = Nearest(town)
    ways: dict[str, Callable[[int], Sequence[int]]] = {"the most popular": lambda _: popular}
    tried = SCORES | {f"shrunk cosine, prior {prior}": cosine_with(prior) for prior in (20, 80)}
    for name, score in tried.items():
        ways[name] = Answers(nearest, counts, score, ways=("neighbours", "categories")).of
    ways["ours, counts alone"] = Answers(nearest, counts, cosine, ways=()).of
    rows = [
        [name, *(cell for asked in (warm, cold) for cell in told(hits(town, asked, answer, 1)))]
        for name, answer in ways.items()
    ]
    header = ["way", f"hit rate@{TOP}", "of planted partners", "cold start", "of planted partners"]
    write_page(
        page("What goes with a listing", "python -m benchmarks.listings.goes_with", "", table(header, rows)),
        options.out,
    )


if __name__ == "__main__":
    main()
