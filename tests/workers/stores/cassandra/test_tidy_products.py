"""Rows of `members` that a crash left are deleted, page by page, whatever the size of a product; no other row is."""

from __future__ import annotations

import pytest

from schemas.products import Membership, Product, first_id
from workers.stores.cassandra import CassandraStore

BIRTH = 1_700_000_000_000_000


def product(number: int) -> Product:
    name = f"l-{number}"
    return Product(product_id=first_id(name, BIRTH), founded=BIRTH, founder=name)


@pytest.mark.services
@pytest.mark.parametrize("rows", [2, 3, 2_000])  # a page; the largest product has more rows than the smallest page
def test_what_a_crash_left_is_deleted_and_nothing_else(
    store: CassandraStore, rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workers.stores.cassandra._products._PAGE_ROWS", rows)
    products = [product(number) for number in range(6)]
    belongs = {f"l-{number}": products[min(number, 5)] for number in range(12)}
    memberships = [Membership(listing_id=name, product_id=one.product_id, since=BIRTH) for name, one in belongs.items()]
    store.put_products(products, memberships)
    left = [(products[0].product_id, "l-9"), (products[5].product_id, "l-0"), (products[2].product_id, "never-stored")]
    for one in left:  # a process died after this statement, and its plan was never made again
        store._calls.run(store._statements.bind("put_member", *one), store._deadline(), "test")
    raw = {one.product_id: raw_members(store, one.product_id) for one in products}
    assert sum(store.tidy_products()) == len(left)
    for one in products:
        gone = {listing_id for product_id, listing_id in left if product_id == one.product_id}
        assert raw_members(store, one.product_id) == raw[one.product_id] - gone
        assert store.members(one.product_id) == sorted(name for name, held in belongs.items() if held == one)
    assert sum(store.tidy_products()) == 0


def raw_members(store: CassandraStore, product_id: str) -> set[str]:
    rows = store._calls.run(store._statements.bind("members", product_id), store._deadline(), "test")
    return {listing_id for (listing_id,) in rows}
