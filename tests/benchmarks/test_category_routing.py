"""Routes against a search that goes through the listings one by one, and what counts as routed away."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.networks.category_routing import Route, hits_of, line, routes
from benchmarks.networks.local_maps import Looked
from benchmarks.networks.shop_photos import Photos

NAMES = ["grocery/apple", "grocery/milk", "studio/bag", "fashion/shoes"]
OWN = np.array([0, 0, 1, 2, 2, 3, -1])  # the last listing has a category that no head knows


def photos(products: list[str], seed: int) -> Photos:
    """Photos of these products with embeddings at random; nobody looks at their maps."""
    x = np.random.default_rng(seed).standard_normal((len(products), 6)).astype(np.float32)
    seen = Looked([{} for _ in products], np.zeros((len(products), 1), np.float32), {}, {})
    return Photos(seen, x / np.linalg.norm(x, axis=1, keepdims=True), np.array(products))


GALLERY = photos(["g/a", "g/b", "g/m", "s/x", "s/y", "f/1", "f/2"], 1)
QUERIES = photos(["g/a", "g/m", "s/y", "s/x", "g/b"], 2)
PROBABLE = np.random.default_rng(3).random((5, 4)).astype(np.float32)


def test_a_route_searches_the_listings_of_its_categories_alone() -> None:
    made = {route.name: route.inside for route in routes(PROBABLE, OWN, NAMES)}
    assert made["one index"].all()
    for row, probable in enumerate(PROBABLE):
        ranked = sorted(range(len(NAMES)), key=lambda i: -probable[i])
        for name, most in (("the likeliest category", 1), ("the 2 likeliest", 2), ("the 3 likeliest", 3)):
            if name in made:
                assert made[name][row].tolist() == [one in ranked[:most] for one in OWN.tolist()]
        of_set = NAMES[ranked[0]].partition("/")[0]
        expected = [one >= 0 and NAMES[one].startswith(f"{of_set}/") for one in OWN.tolist()]
        assert made["the likeliest of four sets"][row].tolist() == expected
        sure = probable.max() / probable.sum()
        whole = made["the likeliest, if p ≥ 0.5"][row]
        assert whole.all() == (sure < 0.5)


@pytest.mark.parametrize("number", range(4))
def test_hits_and_shares_are_those_of_a_search_one_by_one(number: int) -> None:
    route = routes(PROBABLE, OWN, NAMES)[number]
    first, five, lost = [], [], []
    for row, product in enumerate(QUERIES.product):
        searched = [i for i in range(len(OWN)) if route.inside[row, i]]
        ranked = sorted(searched, key=lambda i: -float(QUERIES.embedding[row] @ GALLERY.embedding[i]))
        shown = [GALLERY.product[i] for i in ranked[:5]]
        first.append(product in shown[:1])
        five.append(product in shown)
        lost.append(product not in [GALLERY.product[i] for i in searched])
    hits = hits_of(QUERIES, GALLERY, route.inside)
    assert hits[:, 0].tolist() == first
    assert hits.any(1).tolist() == five
    assert line(route, QUERIES, GALLERY)[:3] == [f"{100 * np.mean(some):.1f}" for some in (first, five, lost)]


def test_a_product_outside_of_what_is_searched_is_not_found() -> None:
    nowhere = Route("nowhere", np.zeros((len(QUERIES.product), len(OWN)), np.bool_))
    assert line(nowhere, QUERIES, GALLERY) == ["0.0", "0.0", "100.0", "0.0"]
