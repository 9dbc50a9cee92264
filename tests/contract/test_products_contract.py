"""What every store promises of products and memberships."""

from __future__ import annotations

import random

import pytest

from schemas.products import Membership, Product, first_id
from tests.contract.backends import StoreBackend
from tests.contract.test_store_contract import effects, event, timeless

BIRTH = 1_700_000_000_000_000


def listing(number: int) -> str:
    return f"shop/l-{number:04}"


def product(number: int, survivor: str | None = None, founder: str = "") -> Product:
    founded = BIRTH + number
    name = first_id(listing(number), founded)
    return Product(product_id=name, founded=founded, founder=founder or listing(number), survivor=survivor)


def member(number: int, of: Product) -> Membership:
    return Membership(listing_id=listing(number), product_id=of.product_id, since=BIRTH + number)


def test_members_move_between_products_and_aliases_have_none(store_backend: StoreBackend) -> None:
    one, two = store_backend.build(), store_backend.build()
    mug, jar = product(1), product(2)
    assert (one.product(mug.product_id), one.members(mug.product_id), one.products_of([listing(1)])) == (None, [], {})
    one.put_products([mug, jar], [member(3, mug), member(1, mug), member(2, jar)])
    assert two.product(mug.product_id) == mug
    assert two.members(mug.product_id) == [listing(1), listing(3)]
    assert two.products_of([listing(3), listing(2), "unknown", listing(3)]) == {
        listing(3): mug.product_id,
        listing(2): jar.product_id,
    }
    alias = product(2, survivor=mug.product_id)
    one.put_products([alias], [member(2, mug)])
    assert (two.product(jar.product_id), two.members(jar.product_id)) == (alias, [])
    assert two.members(mug.product_id) == [listing(1), listing(2), listing(3)]
    one.put_products([jar], [member(2, jar)])  # divided again: the alias is a product of its own
    assert (two.product(jar.product_id), two.members(jar.product_id)) == (jar, [listing(2)])
    assert two.members(mug.product_id) == [listing(1), listing(3)]
    one.close()
    two.close()


def test_writing_again_changes_nothing_and_dropping_leaves_nothing(store_backend: StoreBackend) -> None:
    store = store_backend.build()
    mug = product(1)
    for _ in range(2):
        store.put_products([mug], [member(1, mug), member(2, mug)])
    heir = product(1, founder=listing(2))
    store.put_products([heir], [])
    store.drop_products([], [listing(1), "unknown"])
    assert (store.product(mug.product_id), store.members(mug.product_id)) == (heir, [listing(2)])
    for _ in range(2):
        store.drop_products([mug.product_id, product(9).product_id], [listing(2)])
    assert (store.product(mug.product_id), store.members(mug.product_id)) == (None, [])
    assert (store.products_of([listing(1), listing(2)]), list(store.all_products())) == ({}, [])
    store.put_products([], [])
    store.drop_products([], [])
    store.close()


@pytest.mark.parametrize("seed", range(3))
def test_a_store_holds_what_a_dictionary_would(store_backend: StoreBackend, seed: int) -> None:
    """Random writes and deletions against two dictionaries; more rows than are read together."""
    draw = random.Random(seed)
    store = store_backend.build()
    products: dict[str, Product] = {}
    memberships: dict[str, Membership] = {}
    for _ in range(8):
        some = [product(n, founder=listing(draw.randrange(300))) for n in draw.sample(range(300), 40)]
        members = [member(n, draw.choice(some)) for n in draw.sample(range(900), 300)]
        store.put_products(some, members)
        products |= {one.product_id: one for one in some}
        memberships |= {one.listing_id: one for one in members}
        gone, left = draw.sample(sorted(products), 10), draw.sample(sorted(memberships), 60)
        left += [one for one, held in memberships.items() if held.product_id in gone]
        store.drop_products(gone, left)
        products = {key: one for key, one in products.items() if key not in gone}
        memberships = {key: one for key, one in memberships.items() if key not in left}
    assert {one.product_id: one for one in store.all_products()} == products
    found = list(store.all_memberships())
    assert len(found) == len(memberships)
    assert {one.listing_id: one for one in found} == memberships
    for name in products:
        assert store.members(name) == sorted(m.listing_id for m in memberships.values() if m.product_id == name)
    assert store.products_of(list(memberships)) == {key: one.product_id for key, one in memberships.items()}
    store.close()


def test_products_and_listings_do_not_touch_each_other(store_backend: StoreBackend) -> None:
    store = store_backend.build()
    store.write(*effects(event("l", 1)))
    mug = product(1)
    store.put_products([mug], [Membership(listing_id="l", product_id=mug.product_id, since=BIRTH)])
    assert [timeless(one) for one in store.scan()] == [effects(event("l", 1))[0]]
    store.drop_products([mug.product_id], ["l"])
    assert [timeless(one) for one in store.scan()] == [effects(event("l", 1))[0]]
    store.close()


def test_tidying_deletes_nothing_that_is_read(store_backend: StoreBackend) -> None:
    store = store_backend.build()
    mug, jar = product(1), product(2)
    store.put_products([mug, jar], [member(number, mug) for number in range(5)] + [member(7, jar)])
    store.put_products([], [member(3, jar)])
    assert sum(store.tidy_products()) == 0
    assert store.members(mug.product_id) == [listing(number) for number in (0, 1, 2, 4)]
    assert store.members(jar.product_id) == [listing(3), listing(7)]
    store.close()
