"""Bad photos in a workload, and the oracle's part about them: who is partial, who is dead, what is dead-lettered."""

from __future__ import annotations

import random
from collections.abc import Iterable

import msgspec

from schemas.dead_letters import parse_dead_letter
from schemas.events import ImageRef, ListingEvent
from schemas.topics import DEAD_LETTERS
from tests.faults.oracle import Verdict, newest
from workers.streams.base import Stream

POISON = b"this is not a photo"
SERVICES = ("store", "stream")
"""Stages at which no event is at fault."""


def is_poison(data: bytes | None) -> bool:
    """Whether inline data is no photo."""
    return data is not None and data.startswith(POISON)


def poisoned(events: list[ListingEvent], share: float, seed: int) -> list[ListingEvent]:
    """Replace one photo by poison in `share` of the events; the same event stays the same wherever it is repeated."""
    rng = random.Random(seed)
    changed: dict[str, ListingEvent] = {}
    for event in events:
        if event.event_id not in changed:
            spoil = bool(event.images) and rng.random() < share
            changed[event.event_id] = _spoil(event, rng) if spoil else event
    return [changed[event.event_id] for event in events]


def _spoil(event: ListingEvent, rng: random.Random) -> ListingEvent:
    images = list(event.images)
    at = rng.randrange(len(images))
    images[at] = ImageRef(image_id=images[at].image_id, data=POISON)
    return msgspec.structs.replace(event, images=images)


def judge_dead_letters(events: Iterable[ListingEvent], stream: Stream, verdict: Verdict) -> None:
    """Every poisoned photo that counts has a dead letter, and no dead letter blames anything else."""
    admin = stream.admin()
    try:
        letters = [parse_dead_letter(record.headers) for record in admin.read(DEAD_LETTERS)]
    finally:
        admin.close()
    blamed = {(letter.listing_id, letter.image_id) for letter in letters}
    every = list(events)
    poison = {(e.listing_id, ref.image_id) for e in every for ref in e.images if is_poison(ref.data)}
    counts = {(e.listing_id, ref.image_id) for e in newest(every).values() for ref in e.images if is_poison(ref.data)}
    verdict.lost += [f"dead letter: {listing}/{image}" for listing, image in sorted(counts - blamed)]
    for x in letters:
        if (x.listing_id, x.image_id) not in poison:
            kind = verdict.flood if x.stage in SERVICES else verdict.wrong
            kind.append(f"dead letter: {x.listing_id}/{x.image_id}: {x.stage} {x.error}")
