"""What an operator may set on the search service; every bound has a name, a default and the reason for it."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from schemas.units import Count, NotNegative, Seconds


class SearchSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Section `[search]` of the configuration."""

    host: str = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65535)] = 8080
    indexer_urls: list[str] = []
    """Every indexer, each holding a part of the index: all are asked, their answers merged. `run all` fills it in."""
    max_upload_bytes: Count = 10_000_000
    """A phone's photo is 3 to 6 MB."""
    upload_timeout_s: Seconds = 30.0
    """For the whole body: 10 MB over a slow uplink of 3 Mbit/s."""
    max_waiting: Count = 32
    """Requests with a photo that are let in; at 40 ms a photo the last one waits 1.3 s. The next gets 503."""
    max_requests: Count = 256
    """Requests under way of all kinds; a read takes milliseconds, so that so many are a jam. The next gets 503."""
    tokens: list[Annotated[str, Meta(min_length=16, max_length=256)]] = []
    """Bearer tokens of those who may ask; none: everybody who reaches the port. 16 characters cannot be guessed."""
    rate_per_s: NotNegative = 0.0
    """Photos a second of one client, a read counting a tenth; 0: no limit, as fits loopback. Above it: 429."""
    rate_burst: Annotated[float, Meta(ge=1)] = 20.0
    """Photos that a client may send at once before the rate binds."""
    decode_threads: Count = 2
    """Decoding and asking leave the interpreter lock; one a core."""
    answer_timeout_s: Seconds = 15.0
    """From the last byte of a photo to its answer; beyond it the client gets 503 and the photo is dropped."""
    indexer_timeout_s: Seconds = 5.0
    """For one indexer's answer; a search among a million hashes takes milliseconds."""
    max_k: Annotated[int, Meta(ge=1, le=100)] = 100
    """Listings an answer; an indexer gives at most 2,000 photos, 20 for each listing."""
    default_k: Count = 12
    vote: bool = True
    """Categories by vote where the request does not say (`vote=`); on, since where no head knows the shop's categories
    the neighbours are all there is. Beside a head that knows them it is right as often, within chance."""
    fine: bool = True
    """Order by the photo's bits as they are, not rounded, where the request does not say (`fine=`), among the 50
    listings whose rounded bits are nearest; on, since of catalogue pictures it finds more first (.850 for .831)."""
    rerank: bool = False
    """k-reciprocal re-ranking where the request does not say (`rerank=`); off, since it finds fewer products first."""
    duplicate_radius: Annotated[int, Meta(ge=0, le=256)] = 24
    """Bits of 256 within which two photos count as nearly equal where the request does not say (`radius=`). Of copies
    (compressed, halved, cut, mirrored) 79 to 98 % lie within 24 and 15 to 61 % within 12; of 700 photos of groceries
    none has one of another product within 24."""
    max_radius: Annotated[int, Meta(ge=0, le=256)] = 64
    """Farther apart nothing is a duplicate: a quarter of the bits differs."""
    category_columns: tuple[str, ...] = (
        "category",
        "product",
        "coarse",
        "department",
        "label",
        "articleType",
        "subCategory",
        "masterCategory",
    )
    """Columns of training data that say what a thing is; every other head of one label describes it."""
    max_batch: Annotated[int, Meta(ge=1, le=1000)] = 200
    """Listings of one batch read: two screens of a feed, and an answer of about 2 MB."""
    max_recent: Annotated[int, Meta(ge=1, le=1000)] = 64
    language: str = "en"
    """Of display names where the request names none (`lang=`)."""
    probe_interval_s: Seconds = 1.0
    """Between two looks at whether the indexers are ready."""

    def __post_init__(self) -> None:
        if self.default_k > self.max_k:
            raise ValueError(f"default_k: {self.default_k} is above max_k, {self.max_k}; lower it")
        for url in self.indexer_urls:
            if not url.startswith(("http://", "https://")):
                raise ValueError(f"indexer_urls: {url!r} is no address; give http://HOST:PORT")
