"""The effects of one event, in their order: rows → hash message → dead letters → all acknowledged.

Older never undoes newer. The store decides by event order in one step. The hash topic keeps the last *offset*, so
what is published is what the store holds, as it said when it took the rows or as it is read; after publishing it is
read once more, and when it has become newer by then, that is published again, until both agree.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from schemas.envelope import cloud_event_headers
from schemas.events import ListingEvent
from schemas.hashes import EVENT_TIME_HEADER, HASH_TYPE, HashMessage, ImageHash, encode_hashes
from schemas.manifest import Manifest
from schemas.predictions import RemovalMarker, Status, StoredListing, Summary
from schemas.topics import PREDICTIONS, hash_topic
from workers import metrics
from workers.stores.base import Store
from workers.streams.base import Delivery, Producer, Record
from workers.tagger.failures import Failures
from workers.tagger.job import Job
from workers.tagger.pooling import pool

SOURCE = "/groknet/tagger"


@dataclass(frozen=True, slots=True)
class Effects:
    """What a settled event does to the world."""

    store: Store
    producer: Producer
    failures: Failures
    manifest: Manifest
    timeout_s: float
    encode_listing: Callable[[StoredListing], bytes] | None = None
    """Set to publish what is stored on `listings.predictions` as well."""

    def settle(self, job: Job) -> None:
        """All effects of a decoded event; returns when they are durable. Raises Transient."""
        event = job.listing
        written = None
        if event.removed:
            self._remove(event)
        else:
            written = self._write(job)
        self._publish(event.listing_id, job.record, written)
        letters = [
            self.failures.dead_letter(
                job.record, why, attempt=job.attempt, listing_id=event.listing_id, image_id=image_id
            )
            for image_id, why in job.bad.items()
        ]
        self._wait(letters)

    def superseded(self, job: Job) -> bool:
        """True when nothing is left to be computed for this event: the store has something newer, or this very event
        under this model with every photo good. What the store holds is then published once more, since an earlier
        life may have died between its write and its publishing, or before it looked again."""
        event = job.listing
        latest = self.store.latest([event.listing_id]).get(event.listing_id)
        if latest is None or latest.order < event.order:
            return False
        if latest.order == event.order and not event.removed and not self._complete(event):
            return False
        self._publish(event.listing_id, job.record)
        return True

    def _complete(self, event: ListingEvent) -> bool:
        stored = self.store.get([event.listing_id], self.manifest.model_version).get(event.listing_id)
        if not isinstance(stored, StoredListing) or stored.event.order != event.order:
            return False
        return stored.summary.status == "complete"

    def _write(self, job: Job) -> StoredListing | None:
        """Store the event's rows; returns them when they are what is newest, so that they need not be read."""
        event, rows = job.listing, job.images_in_order()
        status: Status = "dead" if not rows else "partial" if job.bad else "complete"
        listing = StoredListing(
            listing_id=event.listing_id,
            event_time=event.event_time,
            model_version=self.manifest.model_version,
            epoch=self.manifest.epoch,
            event=event,
            summary=Summary(status=status, predictions=pool(self.manifest, rows), bad_images=job.bad_in_order()),
            images=rows,
            stored_at=0,
        )
        with metrics.STORE_IN_FLIGHT.track_inprogress(), metrics.STORE_WRITE_SECONDS.time():
            latest = self.store.write(listing, job.thumbnails)
        return listing if latest.order == event.order else None

    def _remove(self, event: ListingEvent) -> None:
        with metrics.STORE_IN_FLIGHT.track_inprogress():
            self.store.remove(event)
        metrics.REMOVAL_SECONDS.labels("store").observe(max(0.0, time.time() - event.event_time / 1e6))

    def _publish(self, listing_id: str, cause: Record, written: StoredListing | None = None) -> None:
        """Publish what the store holds, and again while it has become newer meanwhile.

        `written` spares the first reading. Another run of the same event may have been kept in its place; the last
        reading tells. On the topic of predictions `stored_at` counts, which only the store knows.
        """
        published = None
        if written is not None and self.encode_listing is None:
            self._wait(self._send(written, cause))
            published = hash_message(written)
        while True:
            state = self.store.get([listing_id], self.manifest.model_version).get(listing_id)
            if state is None:
                return
            message = self._message(state)
            if message == published:
                return
            self._wait(self._send(state, cause))
            published = message

    def _message(self, state: StoredListing | RemovalMarker) -> bytes:
        """What tells two states apart on the topics that are published."""
        if isinstance(state, RemovalMarker):
            return b"removed %d" % state.event_time
        return hash_message(state) if self.encode_listing is None else self.encode_listing(state)

    def _send(self, state: StoredListing | RemovalMarker, cause: Record) -> list[Delivery]:
        topic, key = hash_topic(self.manifest.epoch), state.listing_id
        headers = cloud_event_headers(type_=HASH_TYPE, source=SOURCE, key=key, time_us=cause.timestamp_ms * 1000)
        headers = (*headers, (EVENT_TIME_HEADER, str(state.event_time).encode()))
        removed = isinstance(state, RemovalMarker)
        sent = [self.producer.send(topic, key.encode(), None if removed else hash_message(state), headers)]
        if self.encode_listing is not None:
            value = None if isinstance(state, RemovalMarker) else self.encode_listing(state)
            sent.append(self.producer.send(PREDICTIONS, key.encode(), value, headers))
        return sent

    def _wait(self, deliveries: list[Delivery]) -> None:
        for delivery in deliveries:
            delivery.wait(self.timeout_s)


def hash_message(listing: StoredListing | RemovalMarker) -> bytes:
    """The hash message of what is stored; a listing without a good photo has no hashes and leaves the index."""
    if isinstance(listing, RemovalMarker):
        raise TypeError("a removed listing is a tombstone: it has no hash message")
    return encode_hashes(
        HashMessage(
            listing_id=listing.listing_id,
            event_time=listing.event_time,
            epoch=listing.epoch,
            model_version=listing.model_version,
            state=listing.event.state,
            category=listing.event.category,
            images=[ImageHash(image_id=row.image_id, hash=row.hash) for row in listing.images],
        )
    )
