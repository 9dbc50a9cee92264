"""The calls of the store about products.

One worker writes them. A product is written before the memberships that name it, and a row of `members` before its
membership. The old row of `members` is deleted last, and a reader takes a row only if the listing's membership names
the product. So a crash between two steps leaves nothing that is read wrongly, and the next write of the same rows
repairs the rest.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from schemas.products import Membership, Product
from workers.stores.cassandra._calls import Calls, Row
from workers.stores.cassandra._scan import FIRST_TOKEN, LAST_TOKEN, ranges
from workers.stores.cassandra._statements import Statements

_KEYS = 64  # in one request, which a node reads concurrently
_PAGE_ROWS = 2_000


class ProductTables:
    """The calls of `Store` about products."""

    _statements: Statements
    _calls: Calls

    def put_products(self, products: Sequence[Product], memberships: Sequence[Membership]) -> None:
        """See the interface."""
        bind = self._statements.bind
        before = self.products_of([one.listing_id for one in memberships])
        moved = [
            (before[one.listing_id], one.listing_id)
            for one in memberships
            if before.get(one.listing_id, one.product_id) != one.product_id
        ]
        steps = [
            [self._put_product(one) for one in products],
            [bind("put_member", one.product_id, one.listing_id) for one in memberships],
            [bind("put_membership", one.listing_id, one.product_id, one.since) for one in memberships],
            [bind("drop_member", *one) for one in moved],
        ]
        for step in steps:
            self._calls.run_all(step, self._deadline(), "put_products")

    def _put_product(self, one: Product) -> Any:
        if one.survivor is None:  # this statement also deletes the survivor that an alias had
            return self._statements.bind("put_product", one.product_id, one.founded, one.founder)
        return self._statements.bind("put_alias", one.product_id, one.founded, one.founder, one.survivor)

    def drop_products(self, product_ids: Sequence[str], listing_ids: Sequence[str]) -> None:
        """See the interface."""
        bind = self._statements.bind
        before = self.products_of(listing_ids)
        steps = [
            [bind("drop_membership", one) for one in listing_ids],
            [bind("drop_member", product_id, one) for one, product_id in before.items()],
            [bind("drop_product", one) for one in product_ids],
            [bind("drop_members", one) for one in product_ids],
        ]
        for step in steps:
            self._calls.run_all(step, self._deadline(), "drop_products")

    def tidy_products(self) -> Iterator[int]:
        """See the interface. A crash leaves rows of `members` whose listing has no membership of that product."""
        for rows in self._member_pages():
            products = self.products_of([listing_id for _, listing_id, _ in rows])
            unread = [(name, one) for name, one, _ in rows if products.get(one) != name]
            asked = [self._statements.bind("drop_member", *one) for one in unread]
            self._calls.run_all(asked, self._deadline(), "tidy_products")
            yield len(unread)

    def _member_pages(self) -> Iterator[list[Row]]:
        """All rows of `members`. A partition has many rows, so a page that ends within one is cut before it."""
        token, count = FIRST_TOKEN, _PAGE_ROWS
        while True:
            asked = self._statements.bind("all_members", token, LAST_TOKEN, count)
            rows = self._calls.run(asked, self._deadline(), "tidy_products")
            whole = rows if len(rows) < count else [row for row in rows if row[-1] != rows[-1][-1]]
            yield whole
            if len(rows) < count:
                return
            if whole:
                token, count = whole[-1][-1], _PAGE_ROWS
            else:  # one product has more listings than a page
                count *= 2

    def product(self, product_id: str) -> Product | None:
        """See the interface."""
        rows = self._calls.run(self._statements.bind("product", product_id), self._deadline(), "product")
        return _product(rows[0]) if rows else None

    def products_of(self, listing_ids: Sequence[str]) -> dict[str, str]:
        """See the interface."""
        ids = list(dict.fromkeys(listing_ids))
        asked = [
            self._statements.bind("memberships", ids[start : start + _KEYS]) for start in range(0, len(ids), _KEYS)
        ]
        answers = self._calls.run_all(asked, self._deadline(), "products_of")
        return {listing_id: product_id for rows in answers for listing_id, product_id in rows}

    def members(self, product_id: str) -> list[str]:
        """See the interface."""
        rows = self._calls.run(self._statements.bind("members", product_id), self._deadline(), "members")
        named = [listing_id for (listing_id,) in rows]
        products = self.products_of(named)
        return [one for one in named if products.get(one) == product_id]

    def all_products(self) -> Iterator[Product]:
        """See the interface."""
        return (_product(row) for row in self._all("all_products"))

    def all_memberships(self) -> Iterator[Membership]:
        """See the interface."""
        for listing_id, product_id, since, _ in self._all("all_memberships"):
            yield Membership(listing_id=listing_id, product_id=product_id, since=since)

    def _all(self, name: str) -> Iterator[Row]:
        """All rows of a table by token ranges. The last column of a row is its token."""

        def read(token: int, last: int) -> list[Row]:
            return self._calls.run(self._statements.bind(name, token, last, _PAGE_ROWS), self._deadline(), name)

        for rows in ranges(read, _PAGE_ROWS):
            yield from rows

    def _deadline(self) -> float:
        raise NotImplementedError


def _product(row: Row) -> Product:
    product_id, founded, founder, survivor = row[:4]
    return Product(product_id=product_id, founded=founded, founder=founder, survivor=survivor)
