"""The HTTP application of an indexer: neighbours of hashes, what it holds of a listing, and the newest listings."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import numpy as np
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from engines.similarity import HashIndex, Where
from schemas.errors import EpochMismatch
from schemas.hashes import HASH_BYTES
from workers.http.problems import HANDLERS, Problem
from workers.http.serving import Health, operations_routes
from workers.indexer.recent import RecentListings
from workers.indexer.settings import IndexerSettings
from workers.indexer.wire import (
    HeldImage,
    HeldListing,
    IndexAnswer,
    Neighbour,
    Neighbours,
    NeighboursRequest,
    RecentAnswer,
)
from workers.watching import metrics

_MAX_BODY_BYTES = 65_536  # 64 hashes are 4.3 KB
_decoder = msgspec.json.Decoder(NeighboursRequest)


def build_app(
    settings: IndexerSettings,
    *,
    index: Callable[[], HashIndex],
    recent: RecentListings,
    epoch: str,
    health: Health,
    partitions: Callable[[], list[int]],
) -> Starlette:
    """Build the application. `index` returns the current index, because reading the topic again replaces it."""

    def require_ready() -> None:
        if not health.ready:
            detail = f"index: not ready, it waits for {health.waiting_for}; ask again"
            raise Problem(503, "index-not-ready", detail, retry_after_s=1)

    async def neighbours(request: Request) -> Response:
        require_ready()
        query = _query(await _body(request), settings, epoch)
        hashes = np.frombuffer(bytes.fromhex("".join(query.hashes)), np.uint8).reshape(-1, HASH_BYTES)
        try:
            with metrics.STAGE_SECONDS.labels("neighbours").time():
                found = await run_in_threadpool(
                    index().search, hashes, query.k, epoch=query.epoch, where=_where(query), radius=query.radius
                )
        except EpochMismatch as error:
            raise Problem(409, "epoch-mismatch", str(error)) from None
        answer = [
            [Neighbour(listing_id=n.listing_id, image_id=n.image_id, distance=n.distance, box=n.box) for n in one]
            for one in found
        ]
        return _json(Neighbours(epoch=epoch, neighbours=answer))

    async def listing(request: Request) -> Response:
        require_ready()
        listing_id = request.path_params["listing_id"]
        held = await run_in_threadpool(index().get, listing_id)
        if held is None or not held.codes:
            detail = f"listing_id: the index holds nothing of {listing_id[:128]}"
            gone_at = await run_in_threadpool(index().removed_at, listing_id)
            removed_at = gone_at if held is None else held.event_time  # it is known, and has no photo
            raise Problem(404, "not-indexed", detail, members={"removed_at": removed_at} if removed_at else None)
        known = recent.get(listing_id)
        if known is not None and known.event_time != held.event_time:
            known = None
        answer = HeldListing(
            listing_id=listing_id,
            event_time=held.event_time,
            images=[HeldImage(image_id=one.image_id, hash=one.code.hex(), box=one.box) for one in held.codes],
            uploaded_at=None if known is None else known.uploaded_at,
            indexed_at=None if known is None else known.indexed_at,
        )
        return _json(answer)

    async def newest(request: Request) -> Response:
        text = request.query_params.get("n", "24")
        if not (text.isascii() and text.isdigit() and len(text) < 5 and int(text) >= 1):
            raise Problem(422, "bad-parameter", "n: not a whole number from 1 to 9999")
        return _json(RecentAnswer(recent=recent.newest(int(text))))

    async def about(_: Request) -> Response:
        stats = index().stats()
        answer = IndexAnswer(
            epoch=epoch,
            partitions=partitions(),
            ready=health.ready,
            stale=health.stale,
            listings=stats.listings,
            vectors=stats.vectors,
            tombstones=stats.tombstones,
            pending=stats.pending,
            stream_away=health.degraded.get("stream", ""),
        )
        return _json(answer)

    return Starlette(
        routes=[
            Route("/v1/index", about),
            Route("/v1/neighbours", neighbours, methods=["POST"]),
            Route("/v1/listings/{listing_id:path}", listing),
            Route("/v1/recent", newest),
            *operations_routes(health, "indexer"),
        ],
        exception_handlers=dict(HANDLERS),
    )


def _where(query: NeighboursRequest) -> Where | None:
    """The filter of a request. The index knows the category and the state of a listing from its hash message."""
    if query.categories is None and query.states is None:
        return None
    categories = None if query.categories is None else frozenset(query.categories)
    return Where(categories, None if query.states is None else frozenset(query.states))


async def _body(request: Request) -> bytes:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > _MAX_BODY_BYTES:
            raise Problem(413, "too-large", f"body: more than {_MAX_BODY_BYTES} bytes; ask for fewer hashes at once")
    return bytes(body)


def _query(body: bytes, settings: IndexerSettings, epoch: str) -> NeighboursRequest:
    """Decode a request and check its limits. Raises a Problem that names the field."""
    try:
        query = _decoder.decode(body)
    except msgspec.ValidationError as error:
        raise Problem(422, "bad-field", str(error)) from None
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise Problem(400, "not-json", 'body: not JSON; send {"hashes": [hex…], "k": N, "epoch": …}') from None
    if not 1 <= len(query.hashes) <= settings.max_query_hashes:
        raise Problem(422, "bad-field", f"hashes: {len(query.hashes)} of them, not 1 to {settings.max_query_hashes}")
    if query.k > settings.max_k:
        raise Problem(422, "bad-field", f"k: {query.k} is above {settings.max_k}; ask for fewer")
    return query


def _json(answer: msgspec.Struct) -> Response:
    return Response(msgspec.json.encode(answer), media_type="application/json")
