"""Products over HTTP: one product, its aliases, the product of a listing, and searches with one hit a product."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from schemas.products import Membership, Product, first_id
from tests.workers.search.rig import HTTP, Rig, photo, rig

BIRTH = 1_700_000_000_000_000
NAMES = [f"l-{number}" for number in range(9)]


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    """Nine listings: three products of three listings with one photo each; `l-0` and the like found them."""
    with rig(tmp_path_factory.mktemp("home"), default_k=2) as made:
        for number, name in enumerate(NAMES):
            made.add(name, {"front": photo(number // 3), "side": photo(number + 40)}, title=f"No. {number}")
        made.indexed(18)
        products = [product(number) for number in (0, 3, 6)]
        made.store.put_products(products, [member(n, products[n // 3]) for n in range(9)])
        yield made


def product(number: int, survivor: str | None = None) -> Product:
    name = first_id(NAMES[number], BIRTH + number)
    return Product(product_id=name, founded=BIRTH + number, founder=NAMES[number], survivor=survivor)


def member(number: int, of: Product) -> Membership:
    return Membership(listing_id=NAMES[number], product_id=of.product_id, since=BIRTH + number)


def test_a_product_has_its_listings_and_the_photo_of_its_founder(shop: Rig) -> None:
    name = product(3).product_id
    status, found = shop.get(f"/v1/products/{name}")
    assert status == 200
    assert found == {
        "product_id": name,
        "alias": None,
        "founded": BIRTH + 3,
        "size": 3,
        "listing_ids": ["l-3", "l-4", "l-5"],
        "photo": {
            "listing_id": "l-3",
            "image_id": "front",
            "title": "No. 3",
            "thumbnail": "/v1/thumbnail?listing_id=l-3&image_id=front",
        },
    }
    assert shop.get("/v1/listings/l-4")[1]["product"] == name


def test_an_alias_answers_with_the_surviving_product_through_every_step(shop: Rig) -> None:
    old, older = product(4), product(5)
    survivor = product(3).product_id
    shop.store.put_products([product(4, survivor), product(5, old.product_id)], [])
    for alias in (old.product_id, older.product_id):
        found = shop.get(f"/v1/products/{alias}")[1]
        assert (found["product_id"], found["alias"], found["size"]) == (survivor, alias, 3)


@pytest.mark.parametrize(("name", "status"), [("p-" + "0" * 20, 404), ("mug", 422), ("p-" + "G" * 20, 422)])
def test_an_unknown_product_is_refused_by_name(shop: Rig, name: str, status: int) -> None:
    code, problem = shop.get(f"/v1/products/{name}")
    assert (code, problem["detail"].partition(":")[0]) == (status, "product_id")


def test_a_grouped_search_has_the_nearest_listing_of_each_product(shop: Rig) -> None:
    everything = shop.search(photo(1), "?k=9")[1]["neighbours"]
    assert {one["product"] for one in everything} == {None}
    of = {name: product(number // 3 * 3).product_id for number, name in enumerate(NAMES)}
    expected = list(dict.fromkeys(of[one["listing_id"]] for one in everything))
    for k in (1, 2, 3):
        status, found = shop.search(photo(1), f"?k={k}&group=product")
        assert status == 200
        assert [one["product"] for one in found["neighbours"]] == expected[:k]
        assert [one["offers"] for one in found["neighbours"]] == [3] * k
    first = {of[one["listing_id"]]: one["listing_id"] for one in reversed(everything)}
    assert [one["listing_id"] for one in found["neighbours"]] == [first[name] for name in expected]
    by_listing = shop.search(b'{"listing_id": "l-0"}', "?k=3&group=product", "application/json")[1]["neighbours"]
    assert sorted(one["product"] for one in by_listing) == sorted(set(of.values()))


def test_listings_without_a_product_stand_for_themselves(shop: Rig) -> None:
    shop.store.drop_products([], ["l-7", "l-8"])
    found = shop.search(photo(2), "?k=9&group=product")[1]["neighbours"]
    alone = sorted(one["listing_id"] for one in found if one["product"] is None)
    assert (alone, len(found)) == (["l-7", "l-8"], 5)
    assert [one["offers"] for one in found if one["product"] is None] == [None, None]
    shop.store.put_products([], [member(n, product(6)) for n in (7, 8)])


def test_other_groups_are_refused(shop: Rig) -> None:
    status, problem = shop.search(photo(1), "?group=seller")
    assert (status, problem["detail"].partition(":")[0]) == (422, "group")


def test_a_batch_names_products_and_a_removed_listing_leaves_before_the_worker_knows(tmp_path: Path) -> None:
    with rig(tmp_path) as made:
        for number, name in enumerate(NAMES[:3]):
            made.add(name, {"front": photo(number)})
        made.indexed(3)
        one = product(0)
        made.store.put_products([one], [member(number, one) for number in range(3)])
        body = json.dumps({"listing_ids": NAMES[:4]}).encode()
        answer = HTTP.request(
            "POST", made.server.url + "/v1/listings:batch", body=body, headers={"content-type": "application/json"}
        )
        assert [found["product"] for found in json.loads(answer.data)["listings"]] == [one.product_id] * 3
        made.remove("l-0", 90)
        found = made.get(f"/v1/products/{one.product_id}")[1]
        assert (found["size"], found["listing_ids"], found["photo"]["listing_id"]) == (2, ["l-1", "l-2"], "l-1")
        made.remove("l-1", 91)
        made.remove("l-2", 92)
        assert made.get(f"/v1/products/{one.product_id}")[0] == 404
