"""What store, hash topic and index must hold, told from the events alone, and how they differ from it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
import urllib3

from engines.pixels import decode_photo
from engines.recognition import RecognitionEngine
from schemas.envelope import header
from schemas.errors import Invalid
from schemas.events import ListingEvent
from schemas.hashes import EVENT_TIME_HEADER, decode_hashes
from schemas.predictions import ImageRow, RemovalMarker, StoredListing
from schemas.topics import hash_topic
from workers.stores.base import Store
from workers.streams.base import Stream

HASH_BITS = 2  # a batch of another size may round a bit whose logit is nearly 0 the other way
PROBABILITY = 2e-3

Truth = dict[bytes, ImageRow | None]
"""The row of each photo, None where it is none."""


@dataclass
class Verdict:
    """Every difference, in words; empty lists mean that all is as the events say."""

    lost: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    extra: list[str] = field(default_factory=list)

    @property
    def clean(self) -> bool:
        return not (self.lost or self.wrong or self.extra)

    def __str__(self) -> str:
        counts = f"{len(self.lost)} lost, {len(self.wrong)} wrong, {len(self.extra)} extra"
        return "\n  ".join([counts, *self.lost[:5], *self.wrong[:5], *self.extra[:5]])


def newest(events: Iterable[ListingEvent]) -> dict[str, ListingEvent]:
    """The event that decides each listing."""
    found: dict[str, ListingEvent] = {}
    for event in events:
        if event.listing_id not in found or event.order > found[event.listing_id].order:
            found[event.listing_id] = event
    return found


class Oracle:
    """Knows the truth of every photo by running the bare engine on it, one by one."""

    def __init__(self, engine: RecognitionEngine, events: Iterable[ListingEvent], truth: Truth | None = None) -> None:
        """`truth`: what is known already of photos; shared by oracles of one engine."""
        self._engine = engine
        self._events = newest(events)
        self._truth: Truth = {} if truth is None else truth

    def judge(self, *, stream: Stream, store: Store, indexer_url: str) -> Verdict:
        """Compare all three with the events."""
        verdict = Verdict()
        self._judge_store(store, verdict)
        self._judge_topic(stream, store, verdict)
        self._judge_index(indexer_url, verdict)
        return verdict

    def _row(self, data: bytes) -> ImageRow | None:
        """The row of a photo, None when it is no photo."""
        if data not in self._truth:
            try:
                pixels = decode_photo(data, self._engine.manifest.preprocess).pixels
            except Invalid:
                self._truth[data] = None
                return None
            output = self._engine.infer(pixels[np.newaxis])
            row = output.row(0, self._engine.manifest)
            self._truth[data] = ImageRow(image_id="", predictions=row, hash=output.hash_hex(0))
        return self._truth[data]

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
        truths = [(ref.image_id, self._row(ref.data or b"")) for ref in event.images]
        good = [(image_id, truth) for image_id, truth in truths if truth is not None]
        status = "complete" if len(good) == len(truths) else "partial" if good else "dead"
        if state.event.order != event.order or state.summary.status != status:
            verdict.wrong.append(f"store: {name}: event {state.event.order}, {state.summary.status}")
        if [row.image_id for row in state.images] != [image_id for image_id, _ in good]:
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
                hashes = {image.image_id: image.hash for image in decode_hashes(value).images}
                if hashes != {row.image_id: row.hash for row in state.images}:
                    verdict.wrong.append(f"topic: {name}: hashes differ from the store")

    def _judge_index(self, url: str, verdict: Verdict) -> None:
        http = urllib3.PoolManager()
        for name, event in self._events.items():
            answer = http.request("GET", f"{url}/v1/listings/{name}", retries=3)
            found = sorted(_image_ids(json.loads(answer.data))) if answer.status == 200 else []
            expected = sorted(ref.image_id for ref in event.images if self._row(ref.data or b"") is not None)
            if expected and not found:
                verdict.lost.append(f"index: {name} ({answer.status})")
            elif found != expected:
                (verdict.wrong if expected else verdict.extra).append(f"index: {name}: {found}")


def _image_ids(body: Mapping[str, list[Mapping[str, str] | str]]) -> list[str]:
    return [image if isinstance(image, str) else image["image_id"] for image in body["images"]]


def hamming(a: str, b: str) -> int:
    """Differing bits of two hex hashes."""
    return (int(a, 16) ^ int(b, 16)).bit_count()
