"""What the store holds about a listing: one row for each photo, one summary row, the latest event, thumbnails.

The summary pools the photos. For each head, a label's probability is the mean of its calibrated probabilities over the
good photos; a photo whose top labels lack the label counts as 0. The `top_k` best labels stay. So the summary of one
photo equals that photo's row. A probability is p(applies) × p(label), calibrated: a photo to which a head does not
apply counts as about 0.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cached_property
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from schemas.boxes import BoxShares
from schemas.events import EventTime, ListingEvent, ListingId
from schemas.hashes import Epoch, HashHex, KeptEmbedding, KeptMargins
from schemas.units import Share

SUMMARY_IMAGE_ID = ""
Status = Literal["complete", "partial", "dead", "empty"]
"""`empty`: the event names no photo, so there is nothing to tag and nothing to find."""


class Prediction(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """A label of a head with its calibrated probability. It is `offered` if it reaches the operating threshold and the
    head applies to the photo. The engine decides this once, and every reader takes it as it is."""

    label: str
    probability: Share
    offered: bool = False


Predictions = dict[str, list[Prediction]]  # head id -> best first


class BadImage(msgspec.Struct, frozen=True, kw_only=True):
    """A photo that became a dead letter."""

    image_id: str
    stage: str
    error: str


class ImageRow(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The row of one photo, or of the part of it inside `box`; without `box` it is of the whole photo. `applies` has
    the ids of the heads that apply to it, in the manifest's order; None if the bundle does not know
    (`Manifest.applicability`). `embedding` is the embedding behind the hash, one signed byte for each number, so that a
    search can order the nearest listings by it; None in older rows, or with `tagger.keep_embedding = false`. Some
    older rows have `margins` instead, the numbers whose signs are the hash, as one signed byte each."""

    image_id: str
    predictions: Predictions
    hash: HashHex
    applies: list[str] | None = None
    box: BoxShares | None = None
    margins: KeptMargins | None = None
    embedding: KeptEmbedding | None = None


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """The summary row (`image_id = ''`): predictions pooled over the good photos, and the names of the bad ones.

    `applies` has the ids of the heads that apply to at least half of the good photos, in the manifest's order; None if
    the bundle does not know.
    """

    status: Status
    predictions: Predictions
    bad_images: list[BadImage]
    applies: list[str] | None = None


class StoredListing(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """A listing in the store under one model version: the effects of one event, written together.

    `images` has the rows of the good photos in the order of the event. The rows of one photo stand together, the most
    confident box first."""

    listing_id: ListingId
    event_time: EventTime
    model_version: str
    epoch: Epoch
    event: ListingEvent
    summary: Summary
    images: list[ImageRow]
    stored_at: Annotated[int, Meta(description="UTC microseconds when it was first written; not part of the state")]

    @cached_property
    def encoded(self) -> tuple[bytes, list[bytes]]:
        """JSON of the summary's predictions and of each photo's, encoded once and used several times."""
        encode = msgspec.json.encode
        photos = [encode(row.predictions) for row in self.images]
        alone = len(photos) == 1 and self.summary.predictions is self.images[0].predictions
        return photos[0] if alone else encode(self.summary.predictions), photos

    @cached_property
    def run(self) -> str:
        """16 hex digits of this run's result for the event, because two runs of a model may differ in a bit."""
        pooled, photos = self.encoded
        # a row without one of these fields keeps the digest that it had before the field was added
        rows = [
            (
                row.image_id,
                row.hash,
                *([row.applies] if row.applies is not None else ()),
                *([{"box": row.box}] if row.box is not None else ()),
                *([{"margins": row.margins}] if row.margins is not None else ()),
                *([{"embedding": row.embedding}] if row.embedding is not None else ()),
            )
            for row in self.images
        ]
        rest = msgspec.json.encode((self.epoch, self.summary.status, self.summary.bad_images, rows))
        return hashlib.sha256(b"\n".join([rest, pooled, *photos])).hexdigest()[:16]


def by_photo(rows: Sequence[ImageRow]) -> dict[str, list[ImageRow]]:
    """The rows of each photo, in the order of the rows."""
    photos: dict[str, list[ImageRow]] = {}
    for row in rows:
        photos.setdefault(row.image_id, []).append(row)
    return photos


class RemovalMarker(msgspec.Struct, frozen=True, kw_only=True):
    """What remains of a removed listing: the event time of its removal."""

    listing_id: ListingId
    event_time: EventTime
