"""What store, hash topic and index must hold, told from the events alone, and how they differ from it."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import astuple, dataclass, field, fields
from typing import Any

import numpy as np
import urllib3

from engines.pixels import decode_canvas, decode_photo
from engines.recognition import RecognitionEngine
from schemas.boxes import BoxShares
from schemas.envelope import header
from schemas.errors import Invalid
from schemas.events import ImageRef, ListingEvent
from schemas.hashes import EVENT_TIME_HEADER, decode_hashes
from schemas.predictions import ImageRow, RemovalMarker, StoredListing
from schemas.topics import hash_topic
from workers.stages.detect import Looking
from workers.stores.base import Store
from workers.streams.base import Stream

HASH_BITS = 2  # a batch of another size may round a bit whose logit is nearly 0 the other way
PROBABILITY = 2e-3

Truth = dict[bytes, list[ImageRow] | None]
"""The rows of each photo, one for each box; None where it is no photo."""


@dataclass
class Verdict:
    """Every difference, in words; empty lists mean that all is as the events say."""

    lost: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    extra: list[str] = field(default_factory=list)
    late: list[str] = field(default_factory=list)
    """Not stored or not searchable when the time was up, with its event still waiting in a topic."""
    flood: list[str] = field(default_factory=list)
    """On a retry topic, or given up, though nothing is wrong with the event itself."""
    ended: list[str] = field(default_factory=list)
    """Workers that ended by themselves."""
    uneven: list[str] = field(default_factory=list)
    """Live partitions that the taggers do not share within one of each other."""

    @property
    def clean(self) -> bool:
        return not any(self.kinds().values())

    def kinds(self) -> dict[str, list[str]]:
        """Every list by its name."""
        return {one.name: getattr(self, one.name) for one in fields(self)}

    def take(self, other: Verdict) -> None:
        """Add what another one found."""
        for name, texts in other.kinds().items():
            getattr(self, name).extend(texts)

    def excuse(self, waiting: Collection[str]) -> None:
        """What is lost or wrong about listings whose events still wait in a topic is late, no more."""
        for texts in (self.lost, self.wrong):
            late = [text for text in texts if (listing := listing_of(text)) is not None and listing in waiting]
            self.late += late
            texts[:] = [text for text in texts if text not in late]

    def __str__(self) -> str:
        counts = ", ".join(f"{len(texts)} {name}" for name, texts in self.kinds().items())
        return "\n  ".join([counts, *(text for texts in self.kinds().values() for text in texts[:5])])


_LISTING = re.compile(r"(?:store|topic|index|dead letter|product): ([^\s:/]+/\d+)")


def listing_of(text: str) -> str | None:
    """The listing that a difference is about; None where it is about none."""
    match = _LISTING.match(text)
    return None if match is None else match[1]


def newest(events: Iterable[ListingEvent]) -> dict[str, ListingEvent]:
    """The event that decides each listing."""
    found: dict[str, ListingEvent] = {}
    for event in events:
        if event.listing_id not in found or event.order > found[event.listing_id].order:
            found[event.listing_id] = event
    return found


class Oracle:
    """Knows the truth of every photo by running the bare engine on it, one by one."""

    def __init__(
        self,
        engine: RecognitionEngine,
        events: Iterable[ListingEvent],
        truth: Truth | None = None,
        photos: Mapping[str, bytes] | None = None,
        looking: Looking | None = None,
    ) -> None:
        """`truth`: what is known already of photos; shared by oracles of one engine. `photos`: those behind URLs.
        `looking`: the detector of the epoch, if it has one."""
        self._engine = engine
        self._looking = looking
        self._photos = photos or {}
        self._events = newest(events)
        self._truth: Truth = {} if truth is None else truth

    def judge(self, *, stream: Stream, store: Store, indexer_url: str | None) -> Verdict:
        """Compare all three with the events; None: no indexer answers."""
        verdict = Verdict()
        self._judge_store(store, verdict)
        self._judge_topic(stream, store, verdict)
        if indexer_url is None:
            verdict.late.append("index: the indexer does not answer")
        else:
            self._judge_index(indexer_url, verdict)
        return verdict

    def _rows(self, ref: ImageRef) -> list[ImageRow] | None:
        """The rows of a photo, None when it is no photo."""
        data = self._photos[ref.url] if ref.url is not None else ref.data or b""
        if data not in self._truth:
            try:
                parts = self._parts(data)
            except Invalid:
                self._truth[data] = None
                return None
            output = self._engine.infer(np.stack([pixels for _, pixels in parts]))
            self._truth[data] = [
                ImageRow(image_id="", predictions=row, hash=output.hash_hex(i), box=box)
                for i, ((box, _), row) in enumerate(zip(parts, output.rows(self._engine.manifest), strict=True))
            ]
        return self._truth[data]

    def _parts(self, data: bytes) -> list[tuple[BoxShares | None, np.ndarray]]:
        """What is looked at of a photo: the whole, or its boxes one by one, each decoded for itself."""
        if self._looking is None:
            return [(None, decode_photo(data, self._engine.manifest.preprocess).pixels)]
        canvas, _ = decode_canvas(data, self._looking.side)
        (found,) = self._looking.found(self._looking.shrunk(canvas)[np.newaxis])
        boxes = [one.box for one in found] or [None]
        edges = [None if box is None else astuple(box) for box in boxes]
        return [(edge, canvas.cut(box, self._looking.preprocess)) for edge, box in zip(edges, boxes, strict=True)]

    def _judge_store(self, store: Store, verdict: Verdict) -> None:
        stored = {state.listing_id: state for state in store.scan()}
        verdict.extra += [f"store: {name}" for name in stored.keys() - self._events.keys()]
        for name, event in self._events.items():
            state = stored.get(name)
            if state is None:
                verdict.lost.append(f"store: {name}")
            elif event.removed != isinstance(state, RemovalMarker):
                verdict.wrong.append(f"store: {name}: removed is {event.removed}, found {type(state).__name__}")
            elif isinstance(state, StoredListing):
                self._judge_rows(event, state, verdict)

    def _judge_rows(self, event: ListingEvent, state: StoredListing, verdict: Verdict) -> None:
        name = event.listing_id
        truths = [(ref.image_id, self._rows(ref)) for ref in event.images]
        good = [(image_id, truth) for image_id, rows in truths if rows is not None for truth in rows]
        bad = sum(rows is None for _, rows in truths)
        status = "dead" if not good else "partial" if bad else "complete"
        if state.event.order != event.order or state.summary.status != status:
            verdict.wrong.append(f"store: {name}: event {state.event.order}, {state.summary.status}")
        if [(row.image_id, row.box) for row in state.images] != [(image_id, truth.box) for image_id, truth in good]:
            verdict.wrong.append(f"store: {name}: images {[row.image_id for row in state.images]}")
            return
        for (_, truth), row in zip(good, state.images, strict=True):
            if hamming(row.hash, truth.hash) > HASH_BITS:
                verdict.wrong.append(f"store: {name}/{row.image_id}: hash")
            for head, best in truth.predictions.items():
                found = row.predictions[head][0].probability
                if abs(found - best[0].probability) > PROBABILITY:
                    verdict.wrong.append(f"store: {name}/{row.image_id}: {head} {found}")

    def _judge_topic(self, stream: Stream, store: Store, verdict: Verdict) -> None:
        admin = stream.admin()
        last: dict[str, tuple[bytes | None, str | None]] = {}
        for record in admin.read(hash_topic(self._engine.manifest.epoch)):
            last[(record.key or b"").decode()] = (record.value, header(record.headers, EVENT_TIME_HEADER))
        admin.close()
        stored = store.get(list(self._events))
        verdict.extra += [f"topic: {name}" for name in last.keys() - self._events.keys()]
        for name, event in self._events.items():
            if name not in last:
                verdict.lost.append(f"topic: {name}")
                continue
            value, time_header = last[name]
            state = stored.get(name)
            if time_header != str(event.event_time) or (value is None) != event.removed:
                verdict.wrong.append(f"topic: {name}: {time_header}, tombstone {value is None}")
            elif value is not None and isinstance(state, StoredListing):
                hashes = [(image.image_id, image.box, image.hash) for image in decode_hashes(value).images]
                if hashes != [(row.image_id, row.box, row.hash) for row in state.images]:
                    verdict.wrong.append(f"topic: {name}: hashes differ from the store")

    def _judge_index(self, url: str, verdict: Verdict) -> None:
        http = urllib3.PoolManager()
        for name, event in self._events.items():
            answer = http.request("GET", f"{url}/v1/listings/{name}", retries=3)
            found = sorted(_held(json.loads(answer.data))) if answer.status == 200 else []
            expected = sorted((ref.image_id, row.box or ()) for ref in event.images for row in self._rows(ref) or ())
            if expected and not found:
                verdict.lost.append(f"index: {name} ({answer.status})")
            elif found != expected:
                (verdict.wrong if expected else verdict.extra).append(f"index: {name}: {found}")


def _held(body: Mapping[str, list[Mapping[str, Any]]]) -> list[tuple[str, tuple[float, ...]]]:
    """Image id and box of each entry of the index; an empty box for a whole photo."""
    return [(image["image_id"], tuple(image.get("box") or ())) for image in body["images"]]


def hamming(a: str, b: str) -> int:
    """Differing bits of two hex hashes."""
    return (int(a, 16) ^ int(b, 16)).bit_count()
