"""The loop of the products worker: hash topic → grouping → topic `listings.products` and store.

The hash topic and the store have all data. So the loop reads the topic by offset, from its beginning, whenever it
starts, and compares the result with the products in the store. What is the same is not written again.

When the stream or the store does not answer, nothing of a plan counts as done. The loop tries again until they do.
While another worker writes the products of the store, the loop waits (`lease`).
"""

from __future__ import annotations

import logging
import threading
import time

from schemas.errors import Transient
from schemas.topics import hash_topic, topics_for
from workers.http.serving import Health
from workers.products.grouping import Grouping
from workers.products.keeping import Keeper
from workers.products.lease import Lease
from workers.products.naming import Changes
from workers.products.settings import ProductsSettings
from workers.products.shelf import read_book, read_labels, who_left
from workers.products.updates import Updates
from workers.stores import Store
from workers.streams import Partition, Stream, StreamAdmin, TopicSpec
from workers.watching import metrics

_log = logging.getLogger(__name__)
_HOUSEKEEPING_RECORDS = 1000  # between two checks of stop and heartbeat while a long topic is read
_BACKOFF_S = (0.1, 5.0)
_SERVICES = ("stream", "store")


class _Lost(Exception):
    """Another worker writes products now."""


class _Anew(Exception):
    """Another worker may have written products since this round began: what was read and planned is out of date."""


class ProductsWorker:
    """A products worker, built by `build_products`. `run` blocks until the stop event."""

    def __init__(
        self, settings: ProductsSettings, *, stream: Stream, store: Store, epoch: str, health: Health, owner: str
    ) -> None:
        self._settings = settings
        self._stream = stream
        self._store = store
        self._epoch = epoch
        self._topic = hash_topic(epoch)
        self._health = health
        health.stale_after_s = settings.stale_after_s
        health.waiting_for = "the products to be read"
        self._updates = Updates()
        self._grouping: Grouping | None = None
        self._offsets: dict[Partition, int] = {}
        self._compared = False
        self._tidy = True
        self._unfinished: Changes | None = None
        self._lease = Lease(store, owner)
        self._term = 0

    def run(self, stop: threading.Event) -> None:
        """Follow the topic until `stop` is set.

        Raises:
            ConfigError: a topic or the store is set up differently.
            Transient: the stream does not answer at the start.
        """
        for outcome in ("applied", "superseded", "refused"):
            metrics.EVENTS.labels("products", outcome)  # shown as 0 before the first event
        metrics.PRODUCT_REFUSED.labels("no_event_time")
        admin, producer = self._stream.admin(), self._stream.producer()
        keeper = Keeper(self._store, producer, self._beat)
        try:
            self._ensure_topics(admin)
            self._health.mark_started()
            self._follow(admin, keeper, stop)
        finally:
            self._lease.release()
            producer.close()
            admin.close()

    def _ensure_topics(self, admin: StreamAdmin) -> None:
        for topic in topics_for(self._epoch):
            if topic.cleanup == "compact":
                admin.ensure_topics([TopicSpec(topic.name, topic.partitions, True, topic.retention_ms)])

    def _follow(self, admin: StreamAdmin, keeper: Keeper, stop: threading.Event) -> None:
        wait_s, away_since = _BACKOFF_S[0], 0.0
        while not stop.is_set():
            try:
                self._beat()
                level = self._round(admin, keeper, stop)
            except _Lost:
                self._wait_for_writer()
                level = False
            except _Anew:
                continue
            except Transient as error:
                service = self._who_is_away(error)
                self._health.degraded = {service: error.message}
                metrics.REACHABLE.labels(service).set(0)
                if not away_since:
                    away_since = time.monotonic()
                    _log.warning("products wait; they are tried again: %s", error.message)
                stop.wait(wait_s)
                wait_s = min(wait_s * 2, _BACKOFF_S[1])
                continue
            if away_since:
                _log.warning("products go on after %.0f s", time.monotonic() - away_since)
            wait_s, away_since = _BACKOFF_S[0], 0.0
            self._health.degraded = {}
            for service in _SERVICES:
                metrics.REACHABLE.labels(service).set(1)
            if level:
                self._health.fresh()
                if not self._health.ready:
                    self._health.mark_ready()
            stop.wait(self._settings.poll_interval_s)

    def _beat(self) -> None:
        """Note that the loop runs, and renew the lease. Raises _Lost if another worker has it, _Anew if another one may
        have written since the last call, and Transient."""
        self._health.beat()
        if not self._lease.hold():
            raise _Lost
        if self._health.standby:
            self._health.standby = False
            self._health.mark_unready("the products to be read")
        if self._lease.term != self._term:
            self._term, self._grouping, self._unfinished = self._lease.term, None, None
            raise _Anew

    def _wait_for_writer(self) -> None:
        """Another worker writes products: what this one knows of them is out of date from now on. It has nothing to do
        until it gets the lease, so it is not stale."""
        self._grouping, self._unfinished = None, None
        for gauge in (metrics.PRODUCT_UNSETTLED, metrics.PRODUCTS, metrics.PRODUCT_LISTINGS):
            gauge.set(0)
        self._health.fresh()
        self._health.standby = True
        self._health.mark_unready(f"{self._lease.holder or 'another worker'}, which writes the products of this store")

    def _who_is_away(self, error: Transient) -> str:
        """The service that an error is about. Files of SQLite may be either, so the store is asked."""
        if error.stage in _SERVICES:
            return error.stage
        try:
            self._store.probe()
        except Transient:
            return "store"
        return "stream"

    def _round(self, admin: StreamAdmin, keeper: Keeper, stop: threading.Event) -> bool:
        """Read to the end of the topic, and settle what that changes. False if `stop` was set before. Raises
        Transient."""
        if self._grouping is not None and self._unfinished is not None:  # before anything else is read
            self._finish(self._grouping, keeper, self._unfinished)
        ends = admin.end_offsets(self._topic)
        if self._grouping is None or any(end < self._offsets.get(partition, 0) for partition, end in ends.items()):
            self._begin()
        grouping = self._grouping
        assert grouping is not None
        if not self._read(admin, ends, grouping, stop):
            return False
        if not self._compared:
            grouping.forget_edits()
            keeper.repair(admin, grouping.book)
            who_left(self._store, grouping, self._beat)
            self._compared = True
        if not self._settle(grouping, keeper, stop):
            return False
        if self._tidy:
            keeper.tidy()
            self._tidy = False
        return True

    def _begin(self) -> None:
        """Start with the products in the store, and with an empty index: the topic is read from its beginning."""
        self._tidy = True
        if self._grouping is not None:
            _log.warning("%s was replaced by a shorter topic: it is read from its beginning", self._topic)
            self._health.mark_unready("the products to be read again")
        book = read_book(self._store, self._beat)
        self._offsets, self._compared, self._unfinished = {}, False, None
        self._grouping = Grouping(self._settings, self._epoch, book, lambda ids: read_labels(self._store, ids))

    def _read(self, admin: StreamAdmin, ends: dict[Partition, int], grouping: Grouping, stop: threading.Event) -> bool:
        if all(self._offsets.get(partition, 0) >= end for partition, end in ends.items()):
            return True
        start = {partition: self._offsets.get(partition, 0) for partition in ends}
        for n, record in enumerate(admin.read(self._topic, start), 1):
            self._updates.take(grouping, record)
            self._offsets[record.partition] = record.next_offset
            if n % _HOUSEKEEPING_RECORDS == 0:
                self._beat()
                metrics.PRODUCT_UNSETTLED.set(grouping.unsettled)
                if stop.is_set():
                    return False
        for partition, end in ends.items():  # compaction may have removed the last records of a partition
            self._offsets[partition] = max(self._offsets.get(partition, 0), end)
        return True

    def _settle(self, grouping: Grouping, keeper: Keeper, stop: threading.Event) -> bool:
        while grouping.unsettled:
            metrics.PRODUCT_UNSETTLED.set(grouping.unsettled)
            if stop.is_set():
                return False
            self._beat()
            with metrics.STAGE_SECONDS.labels("group").time():
                changes = grouping.plan()
            self._beat()  # so that no plan is published that another worker has made out of date
            self._finish(grouping, keeper, changes)
        metrics.PRODUCT_UNSETTLED.set(0)
        metrics.PRODUCTS.set(len(grouping.book))
        metrics.PRODUCT_LISTINGS.set(len(grouping.book.memberships))
        return True

    def _finish(self, grouping: Grouping, keeper: Keeper, changes: Changes) -> None:
        """Carry out a plan. If that fails, it is carried out again before a record is read, because a part of it may be
        on the topic already, and a newer plan need not contain it."""
        self._unfinished = changes
        try:
            with metrics.STAGE_SECONDS.labels("keep").time():
                keeper.keep(grouping.book, changes, grouping.gone)
        except Transient:
            self._tidy = True  # a call that was cut short may have left rows that nobody reads
            raise
        grouping.done(changes)
        self._unfinished = None
        metrics.LAST_EVENT.labels("grouped").set(time.time())


def build_products(
    settings: ProductsSettings, *, stream: Stream, store: Store, epoch: str, health: Health, owner: str
) -> ProductsWorker:
    """Build a products worker of one epoch. Nothing is opened before `run`. The caller closes the store.

    `owner`: a name that no other live worker of the store has, and that this one has again after a restart.
    """
    return ProductsWorker(settings, stream=stream, store=store, epoch=epoch, health=health, owner=owner)
