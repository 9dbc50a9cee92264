"""`POST /v1/search` and `POST /v1/predict`: what a photo (or a stored listing) shows, and similar listings.

A photo may be searched with as a whole, by one box, or by what the detector finds in it. Several photos are the frames
of a clip, which get one answer.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import astuple, dataclass, replace

from starlette.requests import Request
from starlette.responses import Response

from engines.detection import Detection
from engines.pixels import Box
from schemas.errors import EpochMismatch, Transient
from schemas.manifest import Manifest
from schemas.plain_text import plain_or_none
from schemas.predictions import StoredListing, by_photo
from workers.http.problems import Problem
from workers.http.serving import Health
from workers.search import answers
from workers.search.answers import (
    BoxAnswer,
    FoundBox,
    PredictAnswer,
    PredictedBox,
    SearchAnswer,
    SearchByListing,
    Similar,
    VotedCategory,
)
from workers.search.find.filters import Filters
from workers.search.find.finder import RERANKED, Finder, Found, Wanted, nearest_part, one_each
from workers.search.find.inference import Recognised
from workers.search.find.labels import vote
from workers.search.find.labels.category_vote import vote_with_class
from workers.search.find.labels.naming import Names
from workers.search.find.labels.suggest import Suggester
from workers.search.find.labels.vote import Ballot, Voting
from workers.search.find.looking import Detect, Part
from workers.search.find.pricing import Pricing
from workers.search.http import params
from workers.search.http.admission import Admission, client_of
from workers.search.http.json_bodies import answered, json_body, media_type
from workers.search.http.recogniser import Looked, Recogniser, Seen
from workers.search.http.routes.typed_routes import TypedHandlers, is_empty, is_form
from workers.search.http.slots import Held, Slots
from workers.search.http.stored import StoredListings
from workers.search.http.threads import Threads
from workers.search.http.uploads import FORM_OVERHEAD, Sent, read_photos
from workers.search.price_answers import PriceSuggestion
from workers.search.settings import SearchSettings
from workers.search.typed.finder import Typed, reordered
from workers.watching import metrics

_MAX_JSON = 4_096  # bytes of a JSON body, which names a listing and a photo
_CLIENT_SHARE = 4  # one client may fill a quarter of the memory for uploads
TYPED = 200  # nearest listings that are reordered by typed words: they look alike, and few of them answer the words


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
    grouped: bool
    price: bool
    currency: str | None
    typed: Typed | None = None


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
        pricing: Pricing,
        typed: TypedHandlers,
    ) -> None:
        self._settings, self._manifest, self._health, self._typed = settings, manifest, health, typed
        self._admission, self._pricing = admission, pricing
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
        typed = await self._typed.form(request) if is_form(request) else None
        if typed is None and is_empty(request):
            typed = await self._typed.read(request)
        if typed is not None:
            return await self._by_words(typed, asked, began)

        async with self._upload(request, self._settings.max_frames) as (sent, held):

            def charge(products: int) -> None:
                self._charge(request, held, products - 1)

            asked = replace(asked, typed=await self._typed.read(request, sent.q))
            if not sent.photos and asked.typed is not None:
                return await self._by_words(asked.typed, asked, began)
            async with self._threads.in_time():
                looked = await self._recogniser.look(
                    sent.photos, asked.box, asked.detect, fine=asked.fine, charge=charge
                )
                request.state.photo = sent.photos[looked.frames[0]]  # the client may let us keep it
                found = await asyncio.gather(*(self._find(one, asked) for one in looked.seen))
                if asked.detect == "nearest":
                    best = nearest_part(found, self._settings.whole_bits, self._settings.nearer_by)
                    looked, found = replace(looked, seen=[looked.seen[best]]), [found[best]]
                price = await self._price(looked.seen[0].hashes, wanted=asked.price, currency=asked.currency)
        return self._answer(asked, looked, found, price, began)

    async def _by_words(self, typed: Typed, asked: _Asked, began: float) -> Response:
        if asked.box is not None:
            raise params.bad("box: it cuts a photo, and there is none; send the photo too, or leave box out")
        return await self._typed.answer(typed, asked.k, asked.language, asked.only, began)

    async def predict(self, request: Request) -> Response:
        """`POST /v1/predict`."""
        began = time.perf_counter()
        language, box = params.language(request, self._settings.language, self._names.languages), params.box(request)
        detect = params.detect(request, self._detects, possible=self._recogniser.has_detector)
        priced, currency = params.flag(request, "price", False), params.currency(request)
        if detect == "nearest":
            raise params.bad("detect: `nearest` needs a search; ask for `subject` or `all`, or POST /v1/search")
        near = params.flag(request, "duplicates", True)
        async with self._upload(request, 1) as (sent, held), self._threads.in_time():
            if not sent.photos:
                raise Problem(422, "no-photo", "photo: the form has no file of that name; add it")
            view = await self._recogniser.view(sent.photos[0], box, detect)
            self._charge(request, held, len(view.parts) - 1)
            seen = await self._recogniser.recognise(view.parts)
            duplicates = await self._duplicates(seen[0].hash, language) if near else None
            price = await self._price([seen[0].hash], wanted=priced, currency=currency)
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
            duplicates=duplicates,
            detected=_detected(view.found),
            boxes=boxes if detect == "all" else [],
            price=price,
            took_s=round(time.perf_counter() - began, 4),
        )
        return answered(answer)

    async def _duplicates(self, hash_: str, language: str) -> list[Similar] | None:
        """Stored listings with nearly the same photo; None if the index or the store does not answer, because a seller
        can be helped without."""
        wanted = Wanted(self._settings.default_k, radius=self._settings.duplicate_radius)
        try:
            found = await self._threads.read(lambda: self._finder.find([hash_], wanted))
        except (Transient, EpochMismatch):
            return None
        return self._finder.shown(found, language)

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
            price=params.flag(request, "price", False),
            currency=params.currency(request),
            grouped=params.grouped(request),
        )

    @asynccontextmanager
    async def _upload(self, request: Request, most: int) -> AsyncIterator[tuple[Sent, Held]]:
        """Read up to `most` photos, then hold a slot for each while the block runs: a slow upload holds memory for what
        has arrived, and no slot."""
        settings, client = self._settings, client_of(request)
        self._photos.check(client)  # so that nobody sends 10 MB to hear that there is no room
        with self._memory.upload(client) as upload:
            limits = settings.max_upload_bytes, settings.upload_timeout_s
            sent = await read_photos(request, *limits, upload.take, most)
            further = max(0, len(sent.photos) - 1)
            self._admission.charge(request, further)
            with self._photos.held(client, 1 + further) as held:
                yield sent, held

    def _charge(self, request: Request, held: Held, products: int) -> None:
        """Count so many further products of a photo: each costs the engine as much as a photo. Raises Problem 429 or
        503."""
        self._admission.charge(request, products)
        held.more(products)

    async def _by_listing(self, request: Request, asked: _Asked, began: float) -> Response:
        _refuse_cutting(asked, request)
        body = await json_body(request, SearchByListing, _MAX_JSON, self._settings.upload_timeout_s)
        asked = replace(asked, typed=await self._typed.read(request, body.q))
        if body.listing_id is None:
            if asked.typed is None or body.image_id is not None:
                raise Problem(422, "bad-field", "listing_id: absent; give it, or typed words as `q`")
            return await self._by_words(asked.typed, asked, began)
        listing_id = params.identifier(body.listing_id, "listing_id")
        image_id = None if body.image_id is None else params.identifier(body.image_id, "image_id")
        async with self._threads.in_time():
            query = await self._stored.query(listing_id, image_id)
            rows = by_photo(query.listing.images)
            shown = query.listing.summary if image_id is None else rows[image_id][0]
            seen = Seen(query.hashes, shown.predictions, shown.applies, listing_id, query.image_ids)
            found = await self._find(seen, asked)
            price = await self._price(query.hashes, wanted=asked.price, currency=asked.currency, listing=query.listing)
        return self._answer(asked, Looked([seen], frames=()), [found], price, began)

    async def _find(self, seen: Seen, asked: _Asked) -> list[Found]:
        """Find enough listings to answer, to vote and to reorder."""
        anew = RERANKED if asked.rerank or seen.unrounded is not None else 0
        if asked.typed is not None:
            anew = TYPED
        count = max(asked.k, vote.VOTERS if asked.vote else 0, anew)
        wanted = Wanted(count, seen.listing_id, asked.only, grouped=asked.grouped)
        with metrics.SEARCH_SECONDS.labels("find").time():
            found = await self._threads.read(lambda: self._found(seen.hashes, wanted, asked.typed))
            if not asked.grouped:
                return found
            shown = self._ordered(asked, seen, found)
            return await self._threads.read(lambda: self._finder.with_offers(found, shown))

    def _ordered(self, asked: _Asked, seen: Seen, found: Sequence[Found]) -> list[Found]:
        """The listings of the answer, in its order; one of each product if it is grouped."""
        most = len(found) if asked.grouped or asked.typed is not None else asked.k
        ordered = self._finder.ordered(seen.hashes, found, most, reranked=asked.rerank, photo=seen.unrounded)
        if asked.typed is not None:
            ordered = reordered(ordered)
        return (one_each(ordered) if asked.grouped else ordered)[: asked.k]

    def _found(self, hashes: list[str], wanted: Wanted, typed: Typed | None) -> list[Found]:
        found = self._finder.find(hashes, wanted)
        return found if typed is None else self._typed.scored(found, typed)

    async def _price(
        self, hashes: list[str], *, wanted: bool, currency: str | None, listing: StoredListing | None = None
    ) -> PriceSuggestion | None:
        """A price for what was searched with, if one is wanted."""
        if not wanted:
            return None
        return await self._threads.read(lambda: self._pricing.price(hashes, listing=listing, currency=currency))

    def _answer(
        self,
        asked: _Asked,
        looked: Looked,
        found: Sequence[Sequence[Found]],
        price: PriceSuggestion | None,
        began: float,
    ) -> Response:
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
            price=price,
            query=None if asked.typed is None else self._typed.meaning(asked.typed, asked.language),
            reranked=asked.rerank,
            stale=self._health.stale,
            took_s=round(took_s, 4),
        )
        return answered(answer)

    def _of_box(self, asked: _Asked, seen: Seen, found: Sequence[Found]) -> BoxAnswer:
        ordered = self._ordered(asked, seen, found)
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
        if seen.unrounded is None:
            return any(one.photo.distance <= self._settings.close_bits for one in found)
        least = self._settings.close_likeness
        return any(one.likeness >= least for one in self._finder.refined(seen.unrounded, found))


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
