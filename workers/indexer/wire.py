"""The JSON requests and answers of an indexer."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from schemas.boxes import BoxShares
from schemas.hashes import Epoch, HashHex
from schemas.units import Count
from workers.indexer.recent import Recent


class NeighboursRequest(msgspec.Struct, frozen=True, kw_only=True):
    """`POST /v1/neighbours`: the k nearest photos of each hash. `epoch` is that of the hashes.

    `radius`: only photos within so many bits of 256. `categories` and `states`: only photos of listings with one of
    these categories and one of these states; null allows any.
    """

    hashes: list[HashHex]
    k: Count
    epoch: Epoch
    radius: Annotated[int, Meta(ge=0, le=256)] | None = None
    categories: Annotated[list[str], Meta(min_length=1, max_length=100)] | None = None
    states: Annotated[list[str], Meta(min_length=1, max_length=100)] | None = None


class Neighbour(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One photo, or the part of it inside `box`. `distance` is the number of differing bits of 256."""

    listing_id: str
    image_id: str
    distance: int
    box: BoxShares | None = None


class Neighbours(msgspec.Struct, frozen=True, kw_only=True):
    """The neighbours of each hash of the request, the nearest first, ties by listing and image."""

    epoch: Epoch
    neighbours: list[list[Neighbour]]


class HeldImage(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A photo that a search can find, or the part of it inside `box`."""

    image_id: str
    hash: HashHex
    box: BoxShares | None = None


class HeldListing(msgspec.Struct, frozen=True, kw_only=True):
    """`GET /v1/listings/{listing_id}`: what the index holds. It has the two times (UTC µs) if it is among the
    newest."""

    listing_id: str
    event_time: int
    images: list[HeldImage]
    uploaded_at: int | None = None
    indexed_at: int | None = None


class IndexAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """`GET /v1/index`: the epoch and the partitions of an indexer, and its sizes. `ready`: it has read its partitions
    to the end once. `stale`: it is behind. `stream_away`: why the stream does not answer now; empty if it does. An
    indexer answers before it is ready."""

    epoch: Epoch
    partitions: list[int]
    ready: bool
    stale: bool
    listings: int
    vectors: int
    tombstones: int
    pending: int
    stream_away: str = ""


class RecentAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """`GET /v1/recent`: the listings that became searchable last, the newest first."""

    recent: list[Recent]
