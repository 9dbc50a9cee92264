"""The settle stage: makes the effects of many events durable. For each event: write rows → hash message → dead letters.

An older event never undoes a newer one. The store compares the event order in one step. The hash topic keeps the
message with the last *offset*, so we publish what the store holds, not what we computed. After publishing we ask the
store again what is newest. If it differs from what we published, we publish again, until both agree. Each step is one
call for all events of a batch. An event that fails does not affect the others.
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
from schemas.predictions import RemovalMarker, StoredListing, Summary
from schemas.topics import PREDICTIONS, hash_topic
from workers import tracing
from workers.intake import Uploads
from workers.stages.failures import Failures, NotTaken
from workers.stages.job import Job
from workers.stages.pooling import pool, pool_applies, subjects
from workers.stores.base import Change, Latest, Put, Removal, Store
from workers.streams.base import Delivery, Producer
from workers.watching import metrics

SOURCE = "/groknet/tagger"
_GONE_FROM_STORE = metrics.REMOVAL_SECONDS.labels("store")

State = StoredListing | RemovalMarker
Failure = Invalid | Transient


@dataclass(slots=True)
class _Case:
    """A job and the state of its effects."""

    job: Job
    state: State | None = None
    """What the store holds, and what is published next."""
    published: bytes | None = None
    failure: Failure | None = None

    @property
    def listing_id(self) -> str:
        return self.job.listing.listing_id


@dataclass(frozen=True, slots=True)
class Effects:
    """Writes, publishes and reports the results of events."""

    store: Store
    producer: Producer
    failures: Failures | None
    """None in a back-fill: its bad photos became dead letters when the event came."""
    manifest: Manifest
    timeout_s: float
    encode_listing: Callable[[StoredListing], bytes] | None = None
    """If set, what is stored is also published on `listings.predictions`."""
    uploads: Uploads | None = None
    """If set, copies of photos that no event references any more are deleted."""

    def settle(self, jobs: Sequence[Job]) -> list[Failure | None]:
        """Do all effects of decoded events, and return when they are durable.

        Returns:
            One item for each job: None if its effects are durable, else why they are not. All effects of a failed job
            may be done again.

        Raises:
            ConfigError: the store or the stream is set up wrongly.
        """
        cases = [_Case(job) for job in jobs]
        self._write([case for case in cases if not case.job.superseded])
        self._publish([case for case in cases if case.failure is None])
        if self.failures is not None:
            letters = partial(self._letters, self.failures)
            bad = [case for case in cases if case.failure is None and case.job.has_letters and not case.job.superseded]
            self._deliver(bad, letters)
            for case in bad:
                if isinstance(case.failure, Transient):
                    case.failure = NotTaken("stream", case.failure.error, case.failure.message)
        if self.uploads is not None:
            self.uploads.tidy(case.job.listing for case in cases if case.failure is None)
        return [case.failure for case in cases]

    def superseded(self, jobs: Sequence[Job]) -> list[bool]:
        """For each event, whether nothing has to be computed: the store has a newer event, or it has this event under
        this model with every photo good, or without any.

        Publish what the store holds in that case as well: an earlier process may have died after its write and before
        it published. Raises Transient.
        """
        newest = self.store.latest([job.listing.listing_id for job in jobs])
        return [self._outdone(job.listing, newest.get(job.listing.listing_id)) for job in jobs]

    def _outdone(self, event: ListingEvent, newest: Latest | None) -> bool:
        if newest is None or newest.order < event.order:
            return False
        run = newest.runs.get(self.manifest.model_version)
        return newest.order > event.order or event.removed or (run is not None and run.status in ("complete", "empty"))

    # rows -----------------------------------------------------------------------------------------------------

    def _write(self, cases: Sequence[_Case]) -> None:
        """Write rows and removals. If what was written is the newest, it does not have to be read again."""
        if not cases:
            return
        changes = [self._change(case.job) for case in cases]
        metrics.STORE_IN_FLIGHT.inc(len(changes))
        try:
            with metrics.STORE_WRITE_SECONDS.time(), tracing.step("store", [case.job for case in cases]):
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
            # The predictions topic needs `stored_at`, which only the store knows.
            if self._names(outcome, state) and self.encode_listing is None:
                case.state = state

    def _change(self, job: Job) -> Change:
        event = job.listing
        if event.removed:
            return Removal(event)
        rows = job.images_in_order()
        first = subjects(rows)
        listing = StoredListing(
            listing_id=event.listing_id,
            event_time=event.event_time,
            model_version=self.manifest.model_version,
            epoch=self.manifest.epoch,
            event=event,
            summary=Summary(
                status=job.status,
                predictions=pool(self.manifest, first),
                bad_images=job.bad_in_order(),
                applies=pool_applies(self.manifest, first),
            ),
            images=rows,
            stored_at=0,
        )
        return Put(listing, job.thumbnails)

    # hash messages --------------------------------------------------------------------------------------------

    def _publish(self, cases: list[_Case]) -> None:
        """Publish what the store holds, and publish again if the store got something newer in the meantime."""
        while cases:
            self._read([case for case in cases if case.state is None])
            cases = [case for case in cases if case.state is not None and case.failure is None]
            with tracing.step("publish", [case.job for case in cases]):
                self._deliver(cases, self._send_state)
            cases = self._outdated([case for case in cases if case.failure is None])

    def _read(self, cases: Sequence[_Case]) -> None:
        """Read what the store holds, unless it was published last. A case without a state is done: the newest event has
        no rows of this model yet, and the worker that writes them will publish them."""
        if not cases:
            return
        try:
            states = self.store.get([case.listing_id for case in cases], self.manifest.model_version)
        except Transient as why:
            if why.error == "torn_listing" and len(cases) > 1:  # the other listings are intact
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
        """The cases for which the store holds something else than what was published."""
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
        """Whether this state is the newest, including the run of the model."""
        if newest is None:
            return False
        if isinstance(state, RemovalMarker):
            return newest.removed and newest.order[0] == state.event_time
        run = newest.runs.get(state.model_version)
        return newest.order == state.event.order and run is not None and run.name == state.run

    def _message(self, state: State) -> bytes:
        """The bytes by which two states differ on the topics that we publish to."""
        if isinstance(state, RemovalMarker):
            return b"removed %d" % state.event_time
        return hash_message(state) if self.encode_listing is None else self.encode_listing(state)

    def _send_state(self, case: _Case) -> list[Delivery]:
        assert case.state is not None
        return self._send(case.state, case.job)

    def _send(self, state: State, cause: Job) -> list[Delivery]:
        topic, key = hash_topic(self.manifest.epoch), state.listing_id
        headers = cloud_event_headers(type_=HASH_TYPE, source=SOURCE, key=key, time_us=cause.record.timestamp_ms * 1000)
        headers = (*headers, (EVENT_TIME_HEADER, str(state.event_time).encode()))
        headers = tracing.sending(topic, headers, cause)
        removed = isinstance(state, RemovalMarker)
        sent = [self.producer.send(topic, key.encode(), None if removed else hash_message(state), headers)]
        if self.encode_listing is not None:
            value = None if isinstance(state, RemovalMarker) else self.encode_listing(state)
            sent.append(self.producer.send(PREDICTIONS, key.encode(), value, headers))
        return sent

    # dead letters ---------------------------------------------------------------------------------------------

    def _letters(self, failures: Failures, case: _Case) -> list[Delivery]:
        """One dead letter for each bad photo, and one for all photos beyond those that are used."""
        job = case.job
        return [
            failures.dead_letter(job.record, why, attempt=job.attempt, listing_id=case.listing_id, image_id=image_id)
            for image_id, why in job.letters()
        ]

    def _deliver(self, cases: Sequence[_Case], send: Callable[[_Case], list[Delivery]]) -> None:
        """Send the messages of each case, then wait until all are durable."""
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
    """The hash message of a stored listing. A listing without a good photo has no hashes, and leaves the
    index."""
    if isinstance(listing, RemovalMarker):
        raise TypeError("a removed listing has no hash message; publish a tombstone")
    return encode_hashes(
        HashMessage(
            listing_id=listing.listing_id,
            event_time=listing.event_time,
            epoch=listing.epoch,
            model_version=listing.model_version,
            state=listing.event.state,
            category=listing.event.category,
            images=[ImageHash(image_id=row.image_id, hash=row.hash, box=row.box) for row in listing.images],
        )
    )


def _state_of(change: Change) -> State:
    """What the store holds after a change."""
    if isinstance(change, Put):
        return change.listing
    return RemovalMarker(listing_id=change.event.listing_id, event_time=change.event.event_time)


def _fail(cases: Sequence[_Case], why: Failure) -> None:
    for case in cases:
        case.failure = why
