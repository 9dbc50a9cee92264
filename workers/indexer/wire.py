"""What an indexer and those who ask it say to each other, as JSON."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from schemas.hashes import Epoch, HashHex
from schemas.units import Count
from workers.indexer.recent import Recent


class NeighboursRequest(msgspec.Struct, frozen=True, kw_only=True):
    """`POST /v1/neighbours`: the k nearest photos of each hash; their `epoch` keeps two hash spaces apart.

    `radius`: none farther than so many bits of 256. `categories`, `states`: only photos of listings whose seller named
    one of these categories, and that are in one of these states; null: of any.
    """

    hashes: list[HashHex]
    k: Count
    epoch: Epoch
    radius: Annotated[int, Meta(ge=0, le=256)] | None = None
    categories: Annotated[list[str], Meta(min_length=1, max_length=100)] | None = None
    states: Annotated[list[str], Meta(min_length=1, max_length=100)] | None = None


class Neighbour(msgspec.Struct, frozen=True, kw_only=True):
    """One photo; `distance` counts the bits of 256 that differ."""

    listing_id: str
    image_id: str
    distance: int


class Neighbours(msgspec.Struct, frozen=True, kw_only=True):
    """For each hash asked, its neighbours: nearest first, ties by listing and image."""

    epoch: Epoch
    neighbours: list[list[Neighbour]]


class HeldImage(msgspec.Struct, frozen=True, kw_only=True):
    """A photo that a search can find."""

    image_id: str
    hash: HashHex


class HeldListing(msgspec.Struct, frozen=True, kw_only=True):
    """`GET /v1/listings/{listing_id}`: what the index holds. The two times (UTC µs) while it is among the newest."""

    listing_id: str
    event_time: int
    images: list[HeldImage]
    uploaded_at: int | None = None
    indexed_at: int | None = None


class IndexAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """`GET /v1/index`: the epoch and partitions that an indexer holds, whether it has read them to their end once
    (`ready`) and still keeps up (`stale` when not), and its sizes; it answers before it is ready."""

    epoch: Epoch
    partitions: list[int]
    ready: bool
    stale: bool
    listings: int
    vectors: int
    tombstones: int
    pending: int


class RecentAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """`GET /v1/recent`: listings that became searchable last, newest first."""

    recent: list[Recent]
