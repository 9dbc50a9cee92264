"""Price suggestions against planted prices, whose true interval is known.

    python -m benchmarks.listings.prices

Every product has log-normal prices: a middle of its category and of its own, and a spread of its own from 5 to 50 %.
Sellers ask prices of it in three currencies. Some prices are absurd (a cent, 999999, a slipped decimal point), and one
seller may flood a product with equal listings. One more price is drawn and has to lie in the suggested interval. The
ideal interval is the planted 90 % of that draw. `coverage` counts these draws, `width` is the mean of the interval's
width in logarithms over the ideal one's, and `point` the mean absolute error of the point over that of the planted
middle.

Other ways to an interval see the same votes of sellers: weighted quantiles, and split-conformal, whose factor is
learned on as many other products.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal

import numpy as np
from numpy.typing import NDArray

from benchmarks.report import page, parser, table, write_page
from schemas.events import Price
from workers.price.interval import near, weighted_median
from workers.price.money import amount_of
from workers.price.suggest import Offer, Suggestion, suggest

SUPPORT = 5
_BETWEEN = 0.4  # standard deviation of products' middles in one category, in logarithms
_CURRENCIES = {"EUR": (0.7, 1.0), "USD": (0.2, 1.1), "JPY": (0.1, 160.0)}  # share of sellers, units for one euro
_Z = 1.6448536269514722  # 90 % of a normal distribution are within so many standard deviations
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Case:
    """What is planted for a set of products."""

    name: str
    sellers: tuple[int, int]
    """The fewest and the most sellers of the product itself."""
    neighbours: int = 0
    outliers: float = 0.0
    """Share of absurd prices."""
    flood: int = 0
    """Listings of one more seller, who asks four times the price."""
    heavy: bool = False
    """Laplace's distribution in the place of the normal one, with the same standard deviation."""


CASES = (
    Case("5 to 40 sellers", (8, 60)),
    Case("the same, 5 % absurd prices", (8, 60), outliers=0.05),
    Case("the same, one seller floods it with 40 listings", (8, 60), outliers=0.05, flood=40),
    Case("5 to 8 sellers", (8, 10), outliers=0.05),
    Case("prices with heavy tails (Laplace)", (8, 60), outliers=0.05, heavy=True),
    Case("no other seller, 30 neighbours", (0, 0), neighbours=30, outliers=0.05),
    Case("1 to 3 other sellers, 30 neighbours", (2, 4), neighbours=30, outliers=0.05),
)


@dataclass(frozen=True)
class Planted:
    """One product: the offers, the price to be covered as a logarithm of euros, and the ideal interval's half width."""

    offers: list[Offer]
    truth: float
    middle: float
    half: float


def plant(case: Case, rng: np.random.Generator) -> Planted:
    """Draw one product of a case."""
    category, spread = rng.normal(3.5, 1.0), rng.uniform(0.05, 0.5)
    own = rng.normal(category, _BETWEEN)
    offers = list(
        _offers(case, rng, own, spread, product=None, sellers=int(rng.integers(case.sellers[0], case.sellers[1] + 1)))
    )
    for number in range(case.neighbours):
        middle = rng.normal(category, _BETWEEN)
        offers += _offers(case, rng, middle, spread, product=f"p{number}", sellers=int(rng.integers(1, 6)))
    if case.flood:
        price = Price(amount=amount_of(own + math.log(4), "EUR", "nearest"), currency="EUR")
        offers += [Offer(f"flood-{i}", price, "flooder", 3, None) for i in range(case.flood)]
    if case.neighbours:  # the best that is possible with so many prices of the product itself
        count = len({one.seller for one in offers if one.product is None and one.price.currency == "EUR"})
        between = 1 / (1 / _BETWEEN**2 + count / spread**2)
        return Planted(offers, _draw(case, rng, own, spread), category, _Z * math.sqrt(spread**2 + between))
    half = -spread / math.sqrt(2) * math.log(0.1) if case.heavy else _Z * spread
    return Planted(offers, _draw(case, rng, own, spread), own, half)


def _draw(case: Case, rng: np.random.Generator, middle: float, spread: float) -> float:
    return float(rng.laplace(middle, spread / math.sqrt(2)) if case.heavy else rng.normal(middle, spread))


def _offers(
    case: Case, rng: np.random.Generator, middle: float, spread: float, *, product: str | None, sellers: int
) -> Iterator[Offer]:
    shares = [share for share, _ in _CURRENCIES.values()]
    for number in range(sellers):
        currency = str(rng.choice(list(_CURRENCIES), p=shares))
        log = _draw(case, rng, middle, spread) + math.log(_CURRENCIES[currency][1])
        amount = amount_of(log, currency, "nearest")
        if rng.random() < case.outliers:
            amount = str(rng.choice(["0.01", "999999", amount_of(log + math.log(100), currency, "nearest")]))
        listings = 1 if rng.random() < 0.8 else int(rng.integers(2, 6))
        distance = int(rng.integers(0, 24) if product is None else rng.integers(25, 82))
        name = f"{product or 'own'}-{number}"
        for copy in range(listings):
            yield Offer(f"{name}-{copy}", Price(amount=amount, currency=currency), name, distance, product)


Ends = tuple[float, float, float]
"""The ends of an interval and its point, as natural logarithms of euros."""


def ours(planted: Planted) -> Ends | None:
    """The suggestion of the search service."""
    found = suggest(planted.offers, support=SUPPORT, currency="EUR")
    return None if found is None else _ends(found)


def _ends(found: Suggestion) -> Ends:
    low, high, point = (math.log(Decimal(text)) for text in (found.low, found.high, found.point))
    return low, high, point


def _votes(planted: Planted) -> tuple[Floats, Floats]:
    """One price of each seller (his first) and its weight, without the far ones."""
    first = {one.seller: one for one in reversed(planted.offers) if one.price.currency == "EUR"}
    logs = np.array([math.log(Decimal(one.price.amount)) for one in first.values()])
    weights = np.array([1.0 if one.product is None else 2.0 ** (-one.distance / 32) for one in first.values()])
    keep = near(logs, weights)
    return logs[keep], weights[keep]


def quantiles(planted: Planted) -> Ends | None:
    """Weighted quantiles at 5, 50 and 95 %, linear between the middles of the weights."""
    logs, weights = _votes(planted)
    order = np.argsort(logs)
    places = (np.cumsum(weights[order]) - weights[order] / 2) / weights.sum()
    low, point, high = np.interp([0.05, 0.5, 0.95], places, logs[order])
    return float(low), float(high), float(point)


def conformal(factor: float) -> Callable[[Planted], Ends]:
    """Median ± factor · robust spread."""

    def ends(planted: Planted) -> Ends:
        point, spread = _robust(planted)
        return point - factor * spread, point + factor * spread, point

    return ends


def _robust(planted: Planted) -> tuple[float, float]:
    logs, weights = _votes(planted)
    point = weighted_median(logs, weights)
    return point, max(1.4826 * weighted_median(np.abs(logs - point), weights), 0.01)


def learned_factor(products: Sequence[Planted]) -> float:
    """The conformal quantile of |truth − median| over the spread (Lei et al. 2018), for 90 %."""
    scores = sorted(abs(one.truth - point) / spread for one in products for point, spread in [_robust(one)])
    return scores[min(len(scores), math.ceil(0.9 * (len(scores) + 1))) - 1]


def judge(products: Sequence[Planted], way: Callable[[Planted], Ends | None]) -> tuple[float, float, float, float]:
    """Share of products with a suggestion, coverage, width over the ideal one, and error of the point."""
    inside, widths, errors, best = 0, [], [], []
    for one in products:
        found = way(one)
        if found is None:
            continue
        low, high, point = found
        inside += low <= one.truth <= high
        widths.append((high - low) / (2 * one.half))
        errors.append(abs(point - one.truth))
        best.append(abs(one.middle - one.truth))
    count = len(widths)
    return count / len(products), inside / count, float(np.mean(widths)), float(np.mean(errors) / np.mean(best))


def enough(planted: Planted) -> bool:
    """Whether a suggestion is due: enough sellers have a price in euros that is not far away."""
    return ours(planted) is not None


def measure(case: Case, count: int, seed: int) -> list[list[str]]:
    """The rows of one case: ours, and the other two ways on the same products."""
    rng = np.random.default_rng([seed, CASES.index(case)])
    products = [plant(case, rng) for _ in range(count)]
    due = [one for one in products if enough(one)]
    others = [one for one in (plant(case, rng) for _ in range(count)) if enough(one)]
    rows = []
    ways = (("ours", ours, products), ("quantiles", quantiles, due))
    for name, way, judged in (*ways, ("split-conformal", conformal(learned_factor(others)), due)):
        share, coverage, width, error = judge(judged, way)
        rows.append([case.name, name, f"{share:.3f}", f"{coverage:.3f}", f"{width:.2f}", f"{error:.2f}"])
    return rows


def main() -> None:
    """Plant, suggest, judge, print."""
    made = parser(__doc__, tells="page")
    made.add_argument("--products", type=int, default=2000, help="products of a case (default 2000)")
    made.add_argument("--seed", type=int, default=24, help="of everything that is drawn (default 24)")
    options = made.parse_args()
    rows = [row for case in CASES for row in measure(case, options.products, options.seed)]
    header = ["planted", "way", "with a suggestion", "coverage", "width", "point"]
    write_page(page("Price suggestions", "python -m benchmarks.listings.prices", "", table(header, rows)), options.out)


if __name__ == "__main__":
    main()
