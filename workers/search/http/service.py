"""What the routes share: the parts of the service, its threads, and how an error of theirs is told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray
from starlette.responses import Response

from schemas.errors import Reject
from schemas.predictions import RemovalMarker, StoredListing
from workers.problems import Problem
from workers.search.find.finder import Finder, Found
from workers.search.find.indexers import Indexers
from workers.search.find.inference import Inference
from workers.search.find.naming import Names
from workers.search.settings import SearchSettings
from workers.serving import Health
from workers.stores import Store

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Looked:
    """A stored listing that others are compared with: which of its photos, and their hashes."""

    stored: StoredListing
    image_ids: list[str]
    hashes: list[str]


class Service:
    """One an application."""

    def __init__(
        self, settings: SearchSettings, *, store: Store, indexers: Indexers, inference: Inference, health: Health
    ) -> None:
        self.settings = settings
        self.store = store
        self.indexers = indexers
        self.inference = inference
        self.health = health
        self.manifest = inference.manifest
        self.names = Names(self.manifest)
        self.finder = Finder(store, indexers, self.manifest, self.names)
        self.decoders = ThreadPoolExecutor(settings.decode_threads, thread_name_prefix="search-decode")
        self._readers = ThreadPoolExecutor(settings.max_waiting, thread_name_prefix="search-read")

    def close(self) -> None:
        """Let the threads go. Idempotent."""
        self.decoders.shutdown(cancel_futures=True)
        self._readers.shutdown(cancel_futures=True)

    async def read(self, work: Callable[[], T]) -> T:
        """Something that waits for the store or the index."""
        return await self.run(self._readers, work)

    async def run(self, threads: ThreadPoolExecutor, work: Callable[[], T]) -> T:
        """In a thread of these; raises Reject when the service is stopping."""
        try:
            return await asyncio.get_running_loop().run_in_executor(threads, work)
        except RuntimeError as error:
            if "shutdown" in str(error):
                raise Reject("the search service is stopping; ask again") from None
            raise

    @asynccontextmanager
    async def in_time(self) -> AsyncIterator[None]:
        """Around what makes an answer; a time-out becomes Problem 503."""
        try:
            async with asyncio.timeout(self.settings.answer_timeout_s):
                yield
        except TimeoutError:
            detail = f"no answer within {self.settings.answer_timeout_s:g} s; ask again in a moment"
            raise Problem(503, "too-slow", detail, retry_after_s=2) from None

    async def stored(self, listing_id: str) -> StoredListing:
        """A listing as it was stored last; raises Problem 404 or 410."""
        found = (await self.read(lambda: self.store.get([listing_id]))).get(listing_id)
        if found is None:
            raise Problem(404, "no-such-listing", f"listing_id: {listing_id} is not stored; submit it first")
        if isinstance(found, RemovalMarker):
            detail = f"listing_id: {listing_id} was removed (event time {found.event_time}); submit it again"
            raise Problem(410, "removed", detail)
        return found

    async def looked(self, listing_id: str, image_id: str | None) -> Looked:
        """A stored listing and the photos of it to compare: one, or all. Raises Problem 404, 409 or 410."""
        stored = await self.stored(listing_id)
        if stored.epoch != self.manifest.epoch:  # another model stored it last; this one's rows may be there too
            version = self.manifest.model_version
            mine = (await self.read(lambda: self.store.get([listing_id], version))).get(listing_id)
            if not isinstance(mine, StoredListing) or mine.epoch != self.manifest.epoch:
                detail = f"listing_id: {listing_id} has no hashes of epoch {self.manifest.epoch}; back-fill it"
                raise Problem(409, "other-epoch", detail)
            stored = mine
        rows = [row for row in stored.images if image_id in (None, row.image_id)]
        if not rows:
            what = f"no photo {image_id} of {listing_id}" if image_id else f"no photo of {listing_id} could be used"
            raise Problem(404, "no-such-photo", f"image_id: {what}; see its listing for those there are")
        return Looked(stored, [row.image_id for row in rows], [row.hash for row in rows])

    def ordered(
        self,
        hashes: Sequence[str],
        found: Sequence[Found],
        k: int,
        *,
        reranked: bool,
        margins: NDArray[np.float32] | None = None,
    ) -> list[Found]:
        """The k to answer with: re-ranked, else by how sure the photo is of its bits, else as they were found."""
        if reranked:
            return self.finder.reranked(hashes, found)[:k]
        return (list(found) if margins is None else self.finder.refined(margins, found))[:k]


def answered(answer: msgspec.Struct) -> Response:
    """As JSON that nobody keeps."""
    return Response(msgspec.json.encode(answer), media_type="application/json", headers={"cache-control": "no-store"})
