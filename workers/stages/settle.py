"""The effects of settled events, many events at a time, each in its order: rows → hash message → dead letters.

Older never undoes newer. The store decides by event order in one step. The hash topic keeps the last *offset*, so
what is published is what the store holds, as it said when it took the rows or as it is read; after publishing the
store is asked once more what is newest, and where that is no longer what was published, it is published again, until
both agree. Each step is one call for all events of a batch; an event that fails harms no other.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from schemas.envelope import cloud_event_headers
from schemas.errors import Invalid, Reject, Transient
from schemas.events import ListingEvent
from schemas.hashes import EVENT_TIME_HEADER, HASH_TYPE, HashMessage, ImageHash, encode_hashes
from schemas.manifest import Manifest
from schemas.predictions import RemovalMarker, Status, StoredListing, Summary
from schemas.topics import PREDICTIONS, hash_topic
from workers import metrics
from workers.intake import Uploads
from workers.stages.failures import Failures
from workers.stages.job import Job
from workers.stages.pooling import pool
from workers.stores.base import Change, Latest, Put, Removal, Store
from workers.streams.base import Delivery, Producer, Record

SOURCE = "/groknet/tagger"
_GONE_FROM_STORE = metrics.REMOVAL_SECONDS.labels("store")

State = StoredListing | RemovalMarker
Failure = Invalid | Transient


@dataclass(slots=True)
class _Case:
    """A job on its way through its effects."""

    job: Job
    state: State | None = None
    """What the store is known to hold, and is to be published."""
    published: bytes | None = None
    failure: Failure | None = None

    @property
    def listing_id(self) -> str:
        return self.job.listing.listing_id


@dataclass(frozen=True, slots=True)
class Effects:
    """What settled events do to the world."""

    store: Store
    producer: Producer
    failures: Failures | None
    """None: bad photos become no dead letters, since they have become some before, as in a back-fill."""
    manifest: Manifest
    timeout_s: float
    encode_listing: Callable[[StoredListing], bytes] | None = None
    """Set to publish what is stored on `listings.predictions` as well."""
    uploads: Uploads | None = None
    """Set to drop copies of photos that no event names any more."""

    def settle(self, jobs: Sequence[Job]) -> list[Failure | None]:
        """All effects of decoded events; returns when they are durable: None for each, or why they are not, all of
        which may then be done again. Raises ConfigError."""
        cases = [_Case(job) for job in jobs]
        self._write([case for case in cases if not case.job.superseded])
        self._publish([case for case in cases if case.failure is None])
        if self.failures is not None:
            letters = partial(self._letters, self.failures)
            bad = [case for case in cases if case.failure is None and case.job.bad and not case.job.superseded]
            self._deliver(bad, letters)
        if self.uploads is not None:
            self.uploads.tidy(case.job.listing for case in cases if case.failure is None)
        return [case.failure for case in cases]

    def superseded(self, jobs: Sequence[Job]) -> list[bool]:
        """Of which of these events nothing is left to be computed: the store has something newer, or this very event
        under this model with every photo good. What the store holds is then to be published once more, since an
        earlier life may have died between its write and its publishing, or before it looked again."""
        newest = self.store.latest([job.listing.listing_id for job in jobs])
        return [self._outdone(job.listing, newest.get(job.listing.listing_id)) for job in jobs]

    def _outdone(self, event: ListingEvent, newest: Latest | None) -> bool:
        if newest is None or newest.order < event.order:
            return False
        run = newest.runs.get(self.manifest.model_version)
        return newest.order > event.order or event.removed or (run is not None and run.status == "complete")

    # rows -----------------------------------------------------------------------------------------------------

    def _write(self, cases: Sequence[_Case]) -> None:
        """Store rows and removals. What is newest afterwards need not be read where it is what was written."""
        if not cases:
            return
        changes = [self._change(case.job) for case in cases]
        metrics.STORE_IN_FLIGHT.inc(len(changes))
        try:
            with metrics.STORE_WRITE_SECONDS.time():
                outcomes = self.store.apply(changes)
        finally:
            metrics.STORE_IN_FLIGHT.dec(len(changes))
        for case, change, outcome in zip(cases, changes, outcomes, strict=True):
            if not isinstance(outcome, Latest):
                case.failure = outcome
                continue
            if isinstance(change, Removal):
                _GONE_FROM_STORE.observe(max(0.0, time.time() - change.event.event_time / 1e6))
            state = _state_of(change)
            # On the topic of predictions `stored_at` counts, which only the store knows.
            if self._names(outcome, state) and self.encode_listing is None:
                case.state = state

    def _change(self, job: Job) -> Change:
        event = job.listing
        if event.removed:
            return Removal(event)
        rows = job.images_in_order()
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
        return Put(listing, job.thumbnails)

    # hash messages --------------------------------------------------------------------------------------------

    def _publish(self, cases: list[_Case]) -> None:
        """Publish what the store holds, and again while it has become newer meanwhile."""
        while cases:
            self._read([case for case in cases if case.state is None])
            cases = [case for case in cases if case.state is not None and case.failure is None]
            self._deliver(cases, self._send_state)
            cases = self._outdated([case for case in cases if case.failure is None])

    def _read(self, cases: Sequence[_Case]) -> None:
        """What the store holds, where that is not what was published last. A case without a state is done: what is
        newest is not under this model yet, and will be published by who writes it."""
        if not cases:
            return
        try:
            states = self.store.get([case.listing_id for case in cases], self.manifest.model_version)
        except Transient as why:
            if why.error == "torn_listing" and len(cases) > 1:  # which the others are not
                for case in cases:
                    self._read([case])
                return
            _fail(cases, why)
            return
        for case in cases:
            state = states.get(case.listing_id)
            if state is not None and self._message(state) != case.published:
                case.state = state

    def _outdated(self, cases: Sequence[_Case]) -> list[_Case]:
        """Those for which the store has something else than what was published."""
        if not cases:
            return []
        try:
            newest = self.store.latest([case.listing_id for case in cases])
        except Transient as why:
            _fail(cases, why)
            return []
        left = []
        for case in cases:
            assert case.state is not None
            if not self._names(newest.get(case.listing_id), case.state):
                case.published, case.state = self._message(case.state), None
                left.append(case)
        return left

    def _names(self, newest: Latest | None, state: State) -> bool:
        """Whether this is what is newest, down to the run of the model."""
        if newest is None:
            return False
        if isinstance(state, RemovalMarker):
            return newest.removed and newest.order[0] == state.event_time
        run = newest.runs.get(state.model_version)
        return newest.order == state.event.order and run is not None and run.name == state.run

    def _message(self, state: State) -> bytes:
        """What tells two states apart on the topics that are published."""
        if isinstance(state, RemovalMarker):
            return b"removed %d" % state.event_time
        return hash_message(state) if self.encode_listing is None else self.encode_listing(state)

    def _send_state(self, case: _Case) -> list[Delivery]:
        assert case.state is not None
        return self._send(case.state, case.job.record)

    def _send(self, state: State, cause: Record) -> list[Delivery]:
        topic, key = hash_topic(self.manifest.epoch), state.listing_id
        headers = cloud_event_headers(type_=HASH_TYPE, source=SOURCE, key=key, time_us=cause.timestamp_ms * 1000)
        headers = (*headers, (EVENT_TIME_HEADER, str(state.event_time).encode()))
        removed = isinstance(state, RemovalMarker)
        sent = [self.producer.send(topic, key.encode(), None if removed else hash_message(state), headers)]
        if self.encode_listing is not None:
            value = None if isinstance(state, RemovalMarker) else self.encode_listing(state)
            sent.append(self.producer.send(PREDICTIONS, key.encode(), value, headers))
        return sent

    # dead letters ---------------------------------------------------------------------------------------------

    def _letters(self, failures: Failures, case: _Case) -> list[Delivery]:
        job = case.job
        return [
            failures.dead_letter(job.record, why, attempt=job.attempt, listing_id=case.listing_id, image_id=image_id)
            for image_id, why in job.bad.items()
        ]

    def _deliver(self, cases: Sequence[_Case], send: Callable[[_Case], list[Delivery]]) -> None:
        """Send for each, then wait until all is durable."""
        sent: list[tuple[_Case, list[Delivery]]] = []
        for case in cases:
            try:
                sent.append((case, send(case)))
            except (Invalid, Transient) as why:
                case.failure = why
            except Reject as full:
                case.failure = Transient("stream", "buffer_full", str(full))
        deadline = time.monotonic() + self.timeout_s
        for case, deliveries in sent:
            try:
                for delivery in deliveries:
                    delivery.wait(max(0.0, deadline - time.monotonic()))
            except Transient as why:
                case.failure = why


def hash_message(listing: State) -> bytes:
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


def _state_of(change: Change) -> State:
    """What the store holds once it has taken a change."""
    if isinstance(change, Put):
        return change.listing
    return RemovalMarker(listing_id=change.event.listing_id, event_time=change.event.event_time)


def _fail(cases: Sequence[_Case], why: Failure) -> None:
    for case in cases:
        case.failure = why
