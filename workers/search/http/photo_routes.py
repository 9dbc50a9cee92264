"""`POST /v1/search` and `POST /v1/predict`: what a photo (or a stored listing) shows, and similar listings.

A photo may be searched with as a whole, by one box, or by what the detector finds in it. Several photos are the frames
of a clip, which get one answer.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import astuple, dataclass

from starlette.requests import Request
from starlette.responses import Response

from engines.detection import Detection
from engines.pixels import Box
from schemas.manifest import Manifest
from schemas.plain_text import plain_or_none
from schemas.predictions import by_photo
from workers import metrics
from workers.search import answers
from workers.search.answers import (
    BoxAnswer,
    FoundBox,
    PredictAnswer,
    PredictedBox,
    SearchAnswer,
    SearchByListing,
    VotedCategory,
)
from workers.search.find import vote
from workers.search.find.category_vote import vote_with_class
from workers.search.find.filters import Filters
from workers.search.find.finder import Finder, Found, Wanted
from workers.search.find.inference import Recognised
from workers.search.find.looking import Detect, Part
from workers.search.find.naming import Names
from workers.search.find.suggest import Suggester
from workers.search.find.vote import Ballot, Voting
from workers.search.http import params
from workers.search.http.admission import Admission, client_of
from workers.search.http.json_bodies import answered, json_body, media_type
from workers.search.http.recogniser import Looked, Recogniser, Seen
from workers.search.http.slots import Slots
from workers.search.http.stored import StoredListings
from workers.search.http.threads import Threads
from workers.search.http.uploads import FORM_OVERHEAD, read_photos
from workers.search.settings import SearchSettings
from workers.serving import Health

_MAX_JSON = 4_096  # bytes of a JSON body, which names a listing and a photo
_CLIENT_SHARE = 4  # one client may fill a quarter of the memory for uploads
RERANKED = 50  # nearest listings that are reordered; re-ranking with k1 = 20 needs more than 20


@dataclass(frozen=True, slots=True)
class _Asked:
    """The parameters of a search."""

    k: int
    language: str
    box: Box | None
    detect: Detect
    only: Filters
    vote: bool
    rerank: bool
    fine: bool


class PhotoHandlers:
    """Answers the routes that take a photo. Each application has one."""

    def __init__(
        self,
        settings: SearchSettings,
        *,
        manifest: Manifest,
        recogniser: Recogniser,
        finder: Finder,
        names: Names,
        stored: StoredListings,
        threads: Threads,
        health: Health,
        admission: Admission,
    ) -> None:
        self._settings, self._manifest, self._health = settings, manifest, health
        self._admission = admission
        self._recogniser, self._finder, self._names = recogniser, finder, names
        self._detects: Detect = "subject" if manifest.detection else "off"
        self._stored, self._threads = stored, threads
        self._voting = Voting(manifest)
        self._suggester = Suggester(names)
        of_client = min(settings.max_client_waiting, settings.max_waiting)
        self._photos = Slots(settings.max_waiting, of_client, "photos are being looked at already")
        memory = max(settings.max_upload_memory, settings.max_upload_bytes + FORM_OVERHEAD)
        of_client = max(memory // _CLIENT_SHARE, settings.max_upload_bytes + FORM_OVERHEAD)
        self._memory = Slots(memory, of_client, "bytes of photos have arrived already")

    async def search(self, request: Request) -> Response:
        """`POST /v1/search`."""
        began = time.perf_counter()
        asked = self._asked(request)
        if media_type(request) == "application/json":
            return await self._by_listing(request, asked, began)
        async with self._upload(request, self._settings.max_frames) as photos, self._threads.in_time():

            def charge(products: int) -> None:
                self._admission.charge(request, products - 1)

            looked = await self._recogniser.look(photos, asked.box, asked.detect, fine=asked.fine, charge=charge)
            request.state.photo = photos[looked.frames[0]]  # the client may let us keep it
            found = await asyncio.gather(*(self._find(one, asked) for one in looked.seen))
        return self._answer(asked, looked, found, began)

    async def predict(self, request: Request) -> Response:
        """`POST /v1/predict`."""
        began = time.perf_counter()
        language, box = params.language(request, self._settings.language, self._names.languages), params.box(request)
        detect = params.detect(request, self._detects, possible=self._recogniser.has_detector)
        async with self._upload(request, 1) as photos, self._threads.in_time():
            view = await self._recogniser.view(photos[0], box, detect)
            self._admission.charge(request, len(view.parts) - 1)
            seen = await self._recogniser.recognise(view.parts)
        boxes = [self._suggested(part, one, language) for part, one in zip(view.parts, seen, strict=True)]
        first = boxes[0]
        answer = PredictAnswer(
            model_version=self._manifest.model_version,
            epoch=self._manifest.epoch,
            hash=first.hash,
            box=first.box,
            category=first.category,
            attributes=first.attributes,
            title_words=first.title_words,
            predictions=first.predictions,
            applies=first.applies,
            detected=_detected(view.found),
            boxes=boxes if detect == "all" else [],
            took_s=round(time.perf_counter() - began, 4),
        )
        return answered(answer)

    def _suggested(self, part: Part, seen: Recognised, language: str) -> PredictedBox:
        suggestions = self._suggester.suggest(seen.predictions, language, seen.applies)
        return PredictedBox(
            box=_edges(part.box),
            kind=part.found.kind if part.found else None,
            score=part.found.score if part.found else None,
            hash=seen.hash,
            category=suggestions.category,
            attributes=suggestions.attributes,
            title_words=suggestions.title_words,
            predictions=self._names.named(seen.predictions, language, seen.applies),
            applies=self._names.applies(seen.applies),
        )

    def _asked(self, request: Request) -> _Asked:
        settings = self._settings
        return _Asked(
            k=params.number(request, "k", settings.default_k, settings.max_k),
            language=params.language(request, settings.language, self._names.languages),
            box=params.box(request),
            detect=params.detect(request, self._detects, possible=self._recogniser.has_detector),
            only=params.filters(request),
            vote=params.flag(request, "vote", settings.vote),
            rerank=params.flag(request, "rerank", settings.rerank),
            fine=params.flag(request, "fine", settings.fine),
        )

    @asynccontextmanager
    async def _upload(self, request: Request, most: int) -> AsyncIterator[list[bytes]]:
        """Read up to `most` photos, then hold a slot while the block runs: a slow upload holds memory for what has
        arrived, and no slot."""
        settings, client = self._settings, client_of(request)
        self._photos.check(client)  # so that nobody sends 10 MB to hear that there is no room
        with self._memory.upload(client) as upload:
            limits = settings.max_upload_bytes, settings.upload_timeout_s
            photos = await read_photos(request, *limits, upload.take, most)
            self._admission.charge(request, len(photos) - 1)
            with self._photos.held(client):
                yield photos

    async def _by_listing(self, request: Request, asked: _Asked, began: float) -> Response:
        _refuse_cutting(asked, request)
        body = await json_body(request, SearchByListing, _MAX_JSON, self._settings.upload_timeout_s)
        listing_id = params.identifier(body.listing_id, "listing_id")
        image_id = None if body.image_id is None else params.identifier(body.image_id, "image_id")
        async with self._threads.in_time():
            query = await self._stored.query(listing_id, image_id)
            rows = by_photo(query.listing.images)
            shown = query.listing.summary if image_id is None else rows[image_id][0]
            seen = Seen(query.hashes, shown.predictions, shown.applies, listing_id, query.image_ids)
            found = await self._find(seen, asked)
        return self._answer(asked, Looked([seen], frames=()), [found], began)

    async def _find(self, seen: Seen, asked: _Asked) -> list[Found]:
        """Find enough listings to answer, to vote and to reorder."""
        anew = asked.rerank or seen.margins is not None
        count = max(asked.k, vote.VOTERS if asked.vote else 0, RERANKED if anew else 0)
        wanted = Wanted(count, seen.listing_id, asked.only)
        with metrics.SEARCH_SECONDS.labels("find").time():
            return await self._threads.read(lambda: self._finder.find(seen.hashes, wanted))

    def _answer(self, asked: _Asked, looked: Looked, found: Sequence[Sequence[Found]], began: float) -> Response:
        boxes = [self._of_box(asked, seen, one) for seen, one in zip(looked.seen, found, strict=True)]
        seen, first = looked.seen[0], boxes[0]
        took_s = time.perf_counter() - began
        metrics.SEARCH_SECONDS.labels("total").observe(took_s)
        metrics.SEARCHES.labels("yes" if any(one.close for one in boxes) else "no").inc()
        answer = SearchAnswer(
            model_version=self._manifest.model_version,
            epoch=self._manifest.epoch,
            hash=first.hash,
            listing_id=seen.listing_id,
            image_ids=seen.image_ids,
            box=first.box,
            predictions=first.predictions,
            applies=first.applies,
            categories=first.categories,
            category_vote=first.category_vote,
            neighbours=first.neighbours,
            close=first.close,
            detected=_detected(looked.found),
            boxes=boxes if asked.detect == "all" and seen.listing_id is None else [],
            frames=list(looked.frames),
            reranked=asked.rerank,
            stale=self._health.stale,
            took_s=round(took_s, 4),
        )
        return answered(answer)

    def _of_box(self, asked: _Asked, seen: Seen, found: Sequence[Found]) -> BoxAnswer:
        ordered = self._finder.ordered(seen.hashes, found, asked.k, reranked=asked.rerank, margins=seen.margins)
        voting = asked.vote and not asked.only.categories
        return BoxAnswer(
            box=_edges(seen.box),
            kind=seen.part.kind if seen.part else None,
            score=seen.part.score if seen.part else None,
            hash=seen.hashes[0],
            predictions=self._names.named(seen.predictions, asked.language, seen.applies),
            applies=self._names.applies(seen.applies),
            categories=self._voting.count(seen.predictions, _ballots(found)) if voting else [],
            category_vote=self._vote_with_class(seen.part, found) if voting else [],
            neighbours=self._finder.shown(ordered, asked.language),
            close=self._close(seen, found),
        )

    def _vote_with_class(self, part: Detection | None, found: Sequence[Found]) -> list[VotedCategory]:
        weight = self._settings.category_vote
        if not weight or part is None:
            return []
        return vote_with_class(part.kind, part.score, _ballots(found), weight)

    def _close(self, seen: Seen, found: Sequence[Found]) -> bool:
        """Whether a listing is close: by the photo's bits before rounding if they are known, else by bits."""
        if seen.margins is None:
            return any(one.photo.distance <= self._settings.close_bits for one in found)
        least = self._settings.close_likeness
        return any(one.likeness >= least for one in self._finder.refined(seen.margins, found))


def _refuse_cutting(asked: _Asked, request: Request) -> None:
    """Raise Problem 422 if a search by a stored listing asks for a part of a photo."""
    detects = request.query_params.get("detect", "off") != "off"
    if asked.box is not None or detects:
        text = "a stored listing is searched for by the hashes that it has, so no photo is looked at again"
        name = "detect" if detects else "box"
        raise params.bad(f"{name}: {text}; leave {name} out, or send the photo itself")


def _ballots(found: Sequence[Found]) -> list[Ballot]:
    """The votes of the nearest listings."""
    return [
        Ballot(one.photo.listing_id, plain_or_none(one.listing.event.category), one.photo.distance)
        for one in found[: vote.VOTERS]
        if one.listing is not None
    ]


def _detected(found: Sequence[Detection]) -> list[FoundBox]:
    return [FoundBox(box=astuple(one.box), kind=one.kind, score=round(one.score, 4)) for one in found]


def _edges(box: Box | None) -> answers.Box | None:
    return None if box is None else astuple(box)
