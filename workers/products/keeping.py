"""Carries out a plan: publishes the products of listings, then writes them to the store.

The message comes first. If a plan was cut short, its worker carries out the same plan again. After a crash between the
two, the store still has the old state, and a restart makes the topic say what the store says (`Keeper.repair`).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import TypeVar

from schemas.envelope import cloud_event_headers
from schemas.errors import InvalidEvent, Reject, Transient
from schemas.hashes import EVENT_TIME_HEADER
from schemas.products import PRODUCT_TYPE, Membership, Product, ProductMessage, decode_product, encode_product
from schemas.topics import PRODUCTS
from workers.products.naming import Book, Changes
from workers.stores import Store
from workers.streams import Delivery, Producer, Record, StreamAdmin
from workers.watching import metrics

T = TypeVar("T")
_log = logging.getLogger(__name__)
SOURCE = "groknet/products"
_BEAT_EVERY = 1_000  # records
_BEAT_S = 2.0  # the longest wait for a delivery between two heartbeats
_DELIVERY_S = 30.0  # for all messages of a plan
_ROWS = 500  # that one call writes


class Keeper:
    """Writes what changes. Only one thread may call it."""

    def __init__(self, store: Store, producer: Producer, beat: Callable[[], object] = lambda: None) -> None:
        """`beat` is called at least every few seconds while a call lasts. What it raises ends the call."""
        self._store, self._beat = store, beat
        self._producer = producer

    def keep(self, book: Book, changes: Changes, gone: Mapping[str, int]) -> None:
        """Publish and write changes of a book, which still has the state before them. `gone`: the event times (UTC
        microseconds) of listings that have left.

        Raises Transient if a part may be missing; then keep the same changes again.
        """
        if not changes:
            return
        self._publish(book, changes, gone)
        self._put(list(changes.products.values()), list(changes.memberships.values()))
        for left in batched(sorted(changes.left), _ROWS):
            self._beat()
            self._store.drop_products([], left)
        for ended in batched(sorted(changes.ended), _ROWS):
            self._beat()
            self._store.drop_products(ended, [])
        self._count(book, changes)

    def _put(self, products: list[Product], memberships: list[Membership]) -> None:
        """Write both, together if they are few, because some stores do that in one transaction."""
        if 0 < len(products) + len(memberships) <= _ROWS:
            self._store.put_products(products, memberships)
            return
        for some in batched(products, _ROWS):
            self._beat()
            self._store.put_products(some, [])
        for rows in batched(memberships, _ROWS):
            self._beat()
            self._store.put_products([], rows)

    def tidy(self) -> None:
        """Delete rows that a crash left in the store, and that nobody reads."""
        count = 0
        for deleted in self._store.tidy_products():
            count += deleted
            self._beat()
        if count:
            _log.warning("%d rows of products that a crash had left were deleted", count)

    def _publish(self, book: Book, changes: Changes, gone: Mapping[str, int]) -> None:
        sent: list[Delivery] = []
        for membership in changes.memberships.values():
            product = changes.products.get(membership.product_id) or book.products[membership.product_id]
            sent.append(self._send(membership.listing_id, _message(membership.listing_id, product)))
        for listing_id in sorted(changes.left):
            sent.append(self._send(listing_id, None, gone[listing_id]))
        self._wait(sent)

    def repair(self, admin: StreamAdmin, book: Book) -> None:
        """Make the topic say what the store says: a crash may have left messages of a plan that was never stored.
        Raises Transient."""
        wrong: set[str] = set()
        for number, record in enumerate(admin.read(PRODUCTS), 1):
            listing_id = (record.key or b"").decode("ascii", "replace")
            held = book.memberships.get(listing_id)
            (wrong.discard if _said(record) == (None if held is None else held.product_id) else wrong.add)(listing_id)
            if number % _BEAT_EVERY == 0:
                self._beat()
        sent = []
        for listing_id in sorted(wrong):
            held = book.memberships.get(listing_id)
            value = None if held is None else _message(listing_id, book.products[held.product_id])
            sent.append(self._send(listing_id, value, time.time_ns() // 1000 if value is None else None))
        self._wait(sent)
        if sent:
            _log.warning("%d messages of a plan that was cut short were corrected", len(sent))

    def _send(self, listing_id: str, value: bytes | None, event_time: int | None = None) -> Delivery:
        headers = cloud_event_headers(type_=PRODUCT_TYPE, source=SOURCE, key=listing_id)
        if event_time is not None:
            headers = (*headers, (EVENT_TIME_HEADER, str(event_time).encode()))
        try:
            return self._producer.send(PRODUCTS, listing_id.encode(), value, headers)
        except Reject as full:
            raise Transient("stream", "buffer_full", str(full)) from None

    def _wait(self, sent: Sequence[Delivery]) -> None:
        deadline = time.monotonic() + _DELIVERY_S
        for delivery in sent:
            while True:
                self._beat()
                left_s = deadline - time.monotonic()
                try:
                    delivery.wait(max(0.0, min(left_s, _BEAT_S)))
                    break
                except Transient as error:
                    if error.error != "delivery_timeout" or left_s <= _BEAT_S:
                        raise

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


def batched(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """The items in lists of at most `size`."""
    rest = iter(items)
    while some := list(islice(rest, size)):
        yield some


def _said(record: Record) -> str | None:
    """The product that a message names; None for a tombstone, and "" for what is no message of ours."""
    try:
        return None if record.value is None else decode_product(record.value).product_id
    except InvalidEvent:
        return ""


def _message(listing_id: str, product: Product) -> bytes:
    message = ProductMessage(listing_id=listing_id, product_id=product.product_id, founded=product.founded)
    return encode_product(message)
