"""The content of the cells. It makes Cassandra's join of cells (`workers.stores.cassandra`) follow the order of events.

Two writes of the same microsecond may disagree on a value. So each such value begins with text of a fixed length that
decides: `newest` with live or removed and the digest, `event` and photos with the event's key, `versions` and bodies
with the rank, which begins with that key.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence

import msgspec

from schemas.boxes import BoxShares
from schemas.events import SURPLUS, ListingEvent
from schemas.predictions import BadImage, ImageRow, Prediction, Status, StoredListing
from workers.stores.base import Latest, Order, Run

_LIVE, _REMOVED = "live:", "removed:"  # r > l: at equal times a removal wins
_RANK: dict[Status, int] = {"empty": 3, "complete": 2, "partial": 1, "dead": 0}
_STATUS = {str(rank): status for status, rank in _RANK.items()}
_BAD_DIGITS = 99  # minus the bad photos, of at most 20 that are used: fewer is larger
_TIME_DIGITS = 19  # of the largest event time
_KEY_CHARS = _TIME_DIGITS + 1 + 32
GOODNESS_CHARS = _KEY_CHARS + 1 + 1 + 2 + 16  # a rank without its hash of the content

encode = msgspec.json.encode


class EventCell(msgspec.Struct, frozen=True):
    """The cell `event`. `key` is what `key_of` returns."""

    key: str
    event: ListingEvent


class VersionCell(msgspec.Struct, frozen=True):
    """The value of a model version in `versions`: the run in the store, and when it was first stored and last written
    (UTC µs)."""

    rank: str
    stored_at: int
    written_at: int


class SummaryBody(msgspec.Struct, frozen=True):
    """The body of the row `image_id = ''`. `image_ids` are in the order of the photos, and each has its own row."""

    rank: str
    epoch: str
    status: Status
    predictions: dict[str, list[Prediction]]
    bad_images: list[BadImage]
    image_ids: list[str]
    applies: list[str] | None = None


class ImageBody(msgspec.Struct, frozen=True):
    """The body of a photo's row: its first box or, without `box`, the whole photo. `more` has its other boxes."""

    rank: str
    predictions: dict[str, list[Prediction]]
    hash: str
    applies: list[str] | None = None
    box: BoxShares | None = None
    margins: bytes | None = None
    embedding: bytes | None = None
    more: list[BoxBody] = []


class BoxBody(msgspec.Struct, frozen=True):
    """One of the other boxes of a photo."""

    predictions: dict[str, list[Prediction]]
    hash: str
    applies: list[str] | None = None
    box: BoxShares | None = None
    margins: bytes | None = None
    embedding: bytes | None = None


class _SummaryText(msgspec.Struct, frozen=True):
    """`SummaryBody` whose predictions are already JSON."""

    rank: str
    epoch: str
    status: Status
    predictions: msgspec.Raw
    bad_images: list[BadImage]
    image_ids: list[str]
    applies: list[str] | None = None


class _ImageText(msgspec.Struct, frozen=True):
    """`ImageBody` whose predictions are already JSON."""

    rank: str
    predictions: msgspec.Raw
    hash: str
    applies: list[str] | None
    box: BoxShares | msgspec.UnsetType = msgspec.UNSET
    margins: bytes | msgspec.UnsetType = msgspec.UNSET
    embedding: bytes | msgspec.UnsetType = msgspec.UNSET
    more: list[_BoxText] | msgspec.UnsetType = msgspec.UNSET


class _BoxText(msgspec.Struct, frozen=True):
    """`BoxBody` whose predictions are already JSON."""

    predictions: msgspec.Raw
    hash: str
    applies: list[str] | None
    box: BoxShares | None
    margins: bytes | msgspec.UnsetType = msgspec.UNSET
    embedding: bytes | msgspec.UnsetType = msgspec.UNSET


decode_event = msgspec.json.Decoder(EventCell).decode
decode_version = msgspec.json.Decoder(VersionCell).decode
decode_summary = msgspec.json.Decoder(SummaryBody).decode
decode_image = msgspec.json.Decoder(ImageBody).decode


class Head(msgspec.Struct, frozen=True):
    """The decoded head row: the newest event, and the model versions that have rows for it."""

    order: Order
    versions: Mapping[str, VersionCell]

    @property
    def latest(self) -> Latest:
        """The head as the interface returns it."""
        runs = {version: run_of(cell.rank) for version, cell in self.versions.items()}
        return Latest(self.order, self.order[1], runs)

    @property
    def stored_last(self) -> str | None:
        """The model version that was stored last. None if there is none."""
        return max(self.versions, key=lambda version: (self.versions[version].written_at, version), default=None)


def read_head(event_time: int, newest: str, versions: Mapping[str, str] | None) -> Head:
    """Decode the cells of a head row. Versions of another event are left out."""
    kind, _, digest = newest.partition(":")
    order = (event_time, kind == _REMOVED[:-1], digest)
    key = key_of(order)
    cells = {name: decode_version(text) for name, text in (versions or {}).items()}
    return Head(
        order=order,
        versions={name: cell for name, cell in cells.items() if cell.rank.startswith(key)},
    )


def newest_cell(order: Order) -> str:
    """The cell `newest` of an event."""
    return (_REMOVED if order[1] else _LIVE) + order[2]


def key_of(order: Order) -> str:
    """The key of a live event among the events of its listing: its time and its digest."""
    return f"{order[0]:0{_TIME_DIGITS}d}.{order[2]}"


def rank_of(listing: StoredListing, key: str) -> str:
    """The rank that decides between runs of events of the same microsecond: digest, status, number of bad photos, their
    ids, content."""
    bad = listing.summary.bad_images
    named = _short(bad) if bad else _NO_BAD
    count = sum(image.error != SURPLUS for image in bad)
    return f"{key}.{_RANK[listing.summary.status]}{_BAD_DIGITS - count}{named}{listing.run}"


def run_of(rank: str) -> Run:
    """The run that a rank describes."""
    return Run(_STATUS[rank[_KEY_CHARS + 1]], rank[GOODNESS_CHARS:])


def bodies_of(listing: StoredListing, rank: str) -> list[tuple[str, str]]:
    """(image_id, body) of the summary row and of each photo's row."""
    pooled, encoded = listing.encoded
    summary = _SummaryText(
        rank=rank,
        epoch=listing.epoch,
        status=listing.summary.status,
        predictions=msgspec.Raw(pooled),
        bad_images=listing.summary.bad_images,
        image_ids=list(dict.fromkeys(row.image_id for row in listing.images)),
        applies=listing.summary.applies,
    )
    photos: dict[str, list[_BoxText]] = {}
    for row, predictions in zip(listing.images, encoded, strict=True):
        kept = (msgspec.UNSET if one is None else one for one in (row.margins, row.embedding))
        box = _BoxText(msgspec.Raw(predictions), row.hash, row.applies, row.box, *kept)
        photos.setdefault(row.image_id, []).append(box)
    return [("", text(summary)), *((image_id, text(_image(rank, boxes))) for image_id, boxes in photos.items())]


def _image(rank: str, boxes: list[_BoxText]) -> _ImageText:
    """The body of a photo's row. That of a whole photo without an embedding is as it was before there were boxes."""
    first, *more = boxes
    return _ImageText(
        rank,
        first.predictions,
        first.hash,
        first.applies,
        msgspec.UNSET if first.box is None else first.box,
        first.margins,
        first.embedding,
        more or msgspec.UNSET,
    )


def images_of(summary: SummaryBody, bodies: Mapping[str, str]) -> Sequence[ImageRow] | None:
    """The photos' rows of the run that the summary names, in its order. None if one is missing."""
    found: list[ImageRow] = []
    for image_id in summary.image_ids:
        body = decode_image(bodies[image_id]) if image_id in bodies else None
        if body is None or body.rank != summary.rank:
            return None
        found += _rows(image_id, body)
    return found


def _rows(image_id: str, body: ImageBody) -> Iterator[ImageRow]:
    """The rows of one photo: its first box, then the others."""
    boxes: list[ImageBody | BoxBody] = [body, *body.more]
    for one in boxes:
        yield ImageRow(
            image_id=image_id,
            predictions=one.predictions,
            hash=one.hash,
            applies=one.applies,
            box=one.box,
            margins=one.margins,
            embedding=one.embedding,
        )


def text(value: object) -> str:
    """A value as the JSON text of a cell."""
    return encode(value).decode()


def _short(value: object) -> str:
    return hashlib.sha256(encode(value)).hexdigest()[:16]


_NO_BAD = _short([])
