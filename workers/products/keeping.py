"""Carries out a plan: publishes the products of listings, then writes them to the store.

The message comes first. After a crash between the two, the store still has the old state. So the plan is made again,
and its messages are sent again.
"""

from __future__ import annotations

import time
from collections.abc import Mapping

from schemas.envelope import cloud_event_headers
from schemas.errors import Reject, Transient
from schemas.hashes import EVENT_TIME_HEADER
from schemas.products import PRODUCT_TYPE, Product, ProductMessage, encode_product
from schemas.topics import PRODUCTS
from workers import metrics
from workers.products.naming import Book, Changes
from workers.stores import Store
from workers.streams import Delivery, Producer

SOURCE = "groknet/products"
_DELIVERY_S = 30.0  # for all messages of a plan


class Keeper:
    """Writes what changes. Only one thread may call it."""

    def __init__(self, store: Store, producer: Producer) -> None:
        self._store = store
        self._producer = producer

    def keep(self, book: Book, changes: Changes, gone: Mapping[str, int]) -> None:
        """Publish and write changes of a book, which still has the state before them. `gone`: the event times (UTC
        microseconds) of listings that have left.

        Raises Transient if a part may be missing; then keep the same changes, or newer ones, again.
        """
        if not changes:
            return
        self._publish(book, changes, gone)
        if changes.products or changes.memberships:
            self._store.put_products(list(changes.products.values()), list(changes.memberships.values()))
        if changes.ended or changes.left:
            self._store.drop_products(sorted(changes.ended), sorted(changes.left))
        self._count(book, changes)

    def _publish(self, book: Book, changes: Changes, gone: Mapping[str, int]) -> None:
        sent: list[Delivery] = []
        for membership in changes.memberships.values():
            product = changes.products.get(membership.product_id) or book.products[membership.product_id]
            sent.append(self._send(membership.listing_id, _message(membership.listing_id, product)))
        for listing_id in sorted(changes.left):
            sent.append(self._send(listing_id, None, gone[listing_id]))
        deadline = time.monotonic() + _DELIVERY_S
        for delivery in sent:
            delivery.wait(max(0.0, deadline - time.monotonic()))

    def _send(self, listing_id: str, value: bytes | None, event_time: int | None = None) -> Delivery:
        headers = cloud_event_headers(type_=PRODUCT_TYPE, source=SOURCE, key=listing_id)
        if event_time is not None:
            headers = (*headers, (EVENT_TIME_HEADER, str(event_time).encode()))
        try:
            return self._producer.send(PRODUCTS, listing_id.encode(), value, headers)
        except Reject as full:
            raise Transient("stream", "buffer_full", str(full)) from None

    def _count(self, book: Book, changes: Changes) -> None:
        new = sum(name not in book.memberships for name in changes.memberships)
        merged = sum(
            one.survivor is not None and (old := book.products.get(name)) is not None and old.survivor is None
            for name, one in changes.products.items()
        )
        counts = {
            "joined": new,
            "moved": len(changes.memberships) - new,
            "left": len(changes.left),
            "merged": merged,
            "ended": len(changes.ended),
        }
        for change, count in counts.items():
            metrics.PRODUCT_CHANGES.labels(change).inc(count)


def _message(listing_id: str, product: Product) -> bytes:
    message = ProductMessage(listing_id=listing_id, product_id=product.product_id, founded=product.founded)
    return encode_product(message)
