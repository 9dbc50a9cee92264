"""The Cassandra store. A write reads first, then joins. `workers.stores.cassandra` explains why that is correct."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from cassandra.cluster import Session  # type: ignore[import-untyped]

from schemas.errors import Invalid, Transient
from schemas.events import with_digest
from schemas.predictions import RemovalMarker, StoredListing, Summary
from workers.stores.base import Change, Latest, OneByOne
from workers.stores.cassandra import _cells as cells
from workers.stores.cassandra._calls import Calls, Row
from workers.stores.cassandra._changes import Plan, Planner
from workers.stores.cassandra._scan import SortedIds
from workers.stores.cassandra._schema import check_schema
from workers.stores.cassandra._settings import CassandraSettings
from workers.stores.cassandra._shared import SharedState
from workers.stores.cassandra._statements import Statements

_PAGE_LISTINGS = 256
_HEADS = 32  # heads in one request, which costs the client no more than one head; a node reads them concurrently
_LOOKING = "reading what is newest"
_READS = 3  # tries for a listing whose rows do not match its head; a healthy quorum needs only one


class CassandraStore(SharedState, OneByOne):
    """Implements `Store` with Apache Cassandra. Any number of processes may open it."""

    def __init__(self, session: Session, settings: CassandraSettings, inline_photos_s: float | None = None) -> None:
        """Take over a session of `open_session`. Raises ConfigError if keyspace, table or schema version is wrong."""
        super().__init__(settings)
        check_schema(session, settings)
        self._session = session
        self._statements = Statements(session, settings)
        self._planner = Planner(self._statements, settings.max_listing_bytes, inline_photos_s)
        self._calls = Calls(session, settings)

    def apply(self, changes: Sequence[Change]) -> list[Latest | Invalid | Transient]:
        """See the interface. It reads the heads of several listings together, and writes each change. If a change
        replaced something, a second write deletes the older data."""
        deadline = self._deadline()
        try:
            before = self._before(changes, deadline)
        except Transient as why:
            return [why] * len(changes)
        outcomes: list[Latest | Invalid | Transient | None] = [None] * len(changes)
        plans: list[Plan] = []
        for i, change in enumerate(changes):
            head = before.get(change.event.listing_id)
            if isinstance(head, Transient):
                outcomes[i] = head
            plans.append(self._planner.plan(change, None if isinstance(head, Transient) else head))
        for step in ([plan.join for plan in plans], [plan.clear for plan in plans]):
            parts = [[] if failure else part for part, failure in zip(step, outcomes, strict=True)]
            for i, failure in enumerate(self._join(parts, deadline)):
                outcomes[i] = outcomes[i] or failure
        return [failure or plan.latest for plan, failure in zip(plans, outcomes, strict=True)]

    def latest(self, listing_ids: Sequence[str]) -> dict[str, Latest]:
        """See the interface. It reads only heads, several in one request."""
        heads = self._heads(listing_ids, self._deadline())
        return {listing_id: head.latest for listing_id, head in heads.items()}

    def get(
        self, listing_ids: Sequence[str], model_version: str | None = None
    ) -> dict[str, StoredListing | RemovalMarker]:
        """See the interface. Each listing is read at one moment."""
        return {
            listing.listing_id: listing for ids in _pages(listing_ids) for listing in self._page(ids, model_version)
        }

    def thumbnail(self, listing_id: str, image_id: str) -> bytes | None:
        """See the interface."""
        asked = [self._statements.bind("rows", listing_id), self._statements.bind("photo", listing_id, image_id)]
        rows, photos = self._calls.run_all(asked, self._deadline(), "thumbnail")
        head = _head(rows)
        if head is None or head.order[1] or not photos:
            return None
        key, body = photos[0][0]
        return bytes(body) if key == cells.key_of(head.order) else None

    def scan(self, model_version: str | None = None) -> Iterator[StoredListing | RemovalMarker]:
        """See the interface. It reads the ids by token ranges and sorts them, with temporary files if there are many.
        Then it reads the listings page by page, each listing at its own moment."""
        with SortedIds(self._ids_after) as ids:
            for page in ids.pages(_PAGE_LISTINGS):
                yield from self._page(page, model_version)

    def close(self) -> None:
        """See the interface. Calls that are under way in other threads end with Transient."""
        self._session.cluster.shutdown()

    def _before(self, changes: Sequence[Change], deadline: float) -> dict[str, cells.Head | Transient | None]:
        """The heads of the changed listings. If a head names the change's event or a newer one, the whole listing is
        read again, so that read repair brings all of it to a quorum."""
        heads = self._heads([change.event.listing_id for change in changes], deadline)
        known = {
            change.event.listing_id
            for change in changes
            if (head := heads.get(change.event.listing_id)) and head.order >= change.event.order
        }
        ids = sorted(known)
        asked = [self._statements.bind("rows", listing_id) for listing_id in ids]
        answers = self._calls.outcomes(asked, deadline, _LOOKING)
        whole = zip(ids, answers, strict=True)
        return {**heads, **{i: rows if isinstance(rows, Transient) else _head(rows) for i, rows in whole}}

    def _heads(self, listing_ids: Sequence[str], deadline: float) -> dict[str, cells.Head]:
        """The heads of listings, without their rows."""
        ids = list(dict.fromkeys(listing_ids))
        asked = [self._statements.bind("heads", ids[start : start + _HEADS]) for start in range(0, len(ids), _HEADS)]
        answers = self._calls.run_all(asked, deadline, _LOOKING)
        return {
            listing_id: cells.read_head(event_time, newest, versions)
            for rows in answers
            for listing_id, event_time, newest, versions in rows
            if newest is not None
        }

    def _join(self, parts: Sequence[list[Any]], deadline: float) -> list[Invalid | Transient | None]:
        """Apply each list of statements, which have one partition key, as one mutation. None in the result means that a
        quorum has acknowledged it. For an empty list there is nothing to do."""
        failures: list[Invalid | Transient | None] = [None] * len(parts)
        batches: dict[int, Any] = {}
        for i, statements in enumerate(parts):
            try:
                if statements:
                    batches[i] = self._planner.batch(statements)
            except Invalid as why:
                failures[i] = why
        for i, outcome in zip(batches, self._calls.outcomes(list(batches.values()), deadline, "write"), strict=True):
            failures[i] = outcome if isinstance(outcome, Transient) else None
        return failures

    def _page(self, ids: Sequence[str], model_version: str | None) -> list[StoredListing | RemovalMarker]:
        """Those of some listings that exist, in the order of the ids."""
        found: dict[str, StoredListing | RemovalMarker | None] = {}
        asked = list(dict.fromkeys(ids))
        for _ in range(_READS):
            statements = (self._statements.bind("rows", listing_id) for listing_id in asked)
            answers = self._calls.run_all(statements, self._deadline(), "get")
            torn = []
            for listing_id, rows in zip(asked, answers, strict=True):
                whole, listing = _listing(listing_id, rows, model_version)
                found[listing_id] = listing
                if not whole:
                    torn.append(listing_id)
            if not torn:
                ordered = (found[listing_id] for listing_id in dict.fromkeys(ids))
                return [listing for listing in ordered if listing is not None]
            asked = torn
        raise _torn(asked[0])

    def _ids_after(self, token: int, last: int, count: int) -> list[tuple[str, int]]:
        """At most `count` ids with tokens in (token, last], each with its token, in order of token."""
        asked = self._statements.bind("ids", token, last, count)
        return [(row[0], row[1]) for row in self._calls.run(asked, self._deadline(), "scan")]

    def _deadline(self) -> float:
        if self._session.is_shutdown:
            raise ValueError("the store is closed")
        return self._calls.deadline()


def _head(rows: list[Row]) -> cells.Head | None:
    """The head of a partition: its first row. None if there is none."""
    if not rows or rows[0][:2] != ("", "") or rows[0][3] is None:
        return None
    _, _, event_time, newest, versions, _, _ = rows[0]
    return cells.read_head(event_time, newest, versions)


def _listing(
    listing_id: str, rows: list[Row], model_version: str | None
) -> tuple[bool, StoredListing | RemovalMarker | None]:
    """Decode the rows of a partition. The first value is False if they do not all belong to one run."""
    head = _head(rows)
    if head is None:
        return True, None
    event_time, removed, _ = head.order
    if removed:
        return True, RemovalMarker(listing_id=listing_id, event_time=event_time)
    model = model_version or head.stored_last
    if model is None or model not in head.versions:
        return True, None
    version, event_text = head.versions[model], rows[0][5]
    bodies = {image_id: body for named, image_id, *_, body in rows if named == model}
    if event_text is None or "" not in bodies:
        return False, None
    key = cells.key_of(head.order)
    whole = next((body for named, image_id, *_, body in rows if (named, image_id) == ("", key) and body), event_text)
    event, summary = cells.decode_event(whole), cells.decode_summary(bodies[""])
    images = cells.images_of(summary, bodies)
    if images is None or summary.rank != version.rank or event.key != key:
        return False, None
    return True, StoredListing(
        listing_id=listing_id,
        event_time=event_time,
        model_version=model,
        epoch=summary.epoch,
        event=with_digest(event.event, head.order[2]),
        summary=Summary(
            status=summary.status,
            predictions=summary.predictions,
            bad_images=summary.bad_images,
            applies=summary.applies,
        ),
        images=list(images),
        stored_at=version.stored_at,
    )


def _torn(listing_id: str) -> Transient:
    return Transient(
        "store",
        "torn_listing",
        f"listing {listing_id}: its rows do not match its head; repair the keyspace (nodetool repair)",
    )


def _pages(ids: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(ids), _PAGE_LISTINGS):
        yield ids[start : start + _PAGE_LISTINGS]
