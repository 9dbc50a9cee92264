"""The calls of the store about products, and their tables."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any

from schemas.products import Membership, Product
from workers.stores.embedded._writer import GroupWriter

PRODUCTS_SCHEMA = """
CREATE TABLE IF NOT EXISTS products (
    product_id TEXT PRIMARY KEY, founded INTEGER NOT NULL, founder TEXT NOT NULL, survivor TEXT
);
CREATE TABLE IF NOT EXISTS memberships (
    listing_id TEXT PRIMARY KEY, product_id TEXT NOT NULL, since INTEGER NOT NULL
);
CREATE INDEX IF NOT EXISTS memberships_by_product ON memberships (product_id, listing_id);
"""
_PAGE_ROWS = 2_000


class ProductTables:
    """The calls of `Store` about products."""

    _writer: GroupWriter

    def put_products(self, products: Sequence[Product], memberships: Sequence[Membership]) -> None:
        """See the interface. It is one transaction."""
        rows = [(one.product_id, one.founded, one.founder, one.survivor) for one in products]
        members = [(one.listing_id, one.product_id, one.since) for one in memberships]

        def write(db: sqlite3.Connection) -> None:
            db.executemany("INSERT OR REPLACE INTO products VALUES (?, ?, ?, ?)", rows)
            db.executemany("INSERT OR REPLACE INTO memberships VALUES (?, ?, ?)", members)

        self._writer.run(write)

    def drop_products(self, product_ids: Sequence[str], listing_ids: Sequence[str]) -> None:
        """See the interface. It is one transaction."""

        def write(db: sqlite3.Connection) -> None:
            db.executemany("DELETE FROM memberships WHERE listing_id = ?", [(one,) for one in listing_ids])
            db.executemany("DELETE FROM products WHERE product_id = ?", [(one,) for one in product_ids])

        self._writer.run(write)

    def tidy_products(self) -> Iterator[int]:
        """See the interface. Each call is one transaction, so a crash leaves nothing."""
        return iter(())

    def product(self, product_id: str) -> Product | None:
        """See the interface."""
        with self._reader() as db:
            row = db.execute("SELECT * FROM products WHERE product_id = ?", (product_id,)).fetchone()
        return None if row is None else _product(row)

    def products_of(self, listing_ids: Sequence[str]) -> dict[str, str]:
        """See the interface."""
        text = "SELECT product_id FROM memberships WHERE listing_id = ?"
        with self._reader() as db:
            found = {one: db.execute(text, (one,)).fetchone() for one in listing_ids}
        return {listing_id: row[0] for listing_id, row in found.items() if row is not None}

    def members(self, product_id: str) -> list[str]:
        """See the interface."""
        text = "SELECT listing_id FROM memberships WHERE product_id = ? ORDER BY listing_id"
        with self._reader() as db:
            return [listing_id for (listing_id,) in db.execute(text, (product_id,)).fetchall()]

    def all_products(self) -> Iterator[Product]:
        """See the interface."""
        return (_product(row) for row in self._all("products", "product_id"))

    def all_memberships(self) -> Iterator[Membership]:
        """See the interface."""
        for listing_id, product_id, since in self._all("memberships", "listing_id"):
            yield Membership(listing_id=listing_id, product_id=product_id, since=since)

    def _all(self, table: str, key: str) -> Iterator[tuple[Any, ...]]:
        """All rows of a table, page by page, in the order of its key, which is its first column."""
        after = ""
        text = f"SELECT * FROM {table} WHERE {key} > ? ORDER BY {key} LIMIT ?"
        while True:
            with self._reader() as db:
                rows = db.execute(text, (after, _PAGE_ROWS)).fetchall()
            yield from rows
            if len(rows) < _PAGE_ROWS:
                return
            after = rows[-1][0]

    def _reader(self) -> AbstractContextManager[sqlite3.Connection]:
        raise NotImplementedError


def _product(row: tuple[Any, ...]) -> Product:
    product_id, founded, founder, survivor = row
    return Product(product_id=product_id, founded=founded, founder=founder, survivor=survivor)
