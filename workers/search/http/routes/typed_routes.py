"""Typed queries of `POST /v1/search`: reads `q`, answers where there is no photo, and reorders where there is one."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from urllib.parse import parse_qs

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from schemas.manifest import Manifest
from workers.http.problems import Problem
from workers.http.serving import Health
from workers.search.answers import TypedAnswer, TypedMeaning
from workers.search.find.filters import Filters
from workers.search.find.finder import Found
from workers.search.http import params
from workers.search.http.json_bodies import answered, media_type
from workers.search.http.threads import Threads
from workers.search.settings import SearchSettings
from workers.search.typed.finder import Typed, TypedFinder, count_words
from workers.watching import metrics, typed_metrics

FORM = "application/x-www-form-urlencoded"
_BYTES_A_CHAR = 12  # of a percent-encoded character of four bytes
_MARGIN = 64


class TypedHandlers:
    """Answers typed queries. Without a finder it refuses them."""

    def __init__(
        self,
        settings: SearchSettings,
        *,
        manifest: Manifest,
        finder: TypedFinder | None,
        threads: Threads,
        health: Health,
    ) -> None:
        self._settings, self._manifest, self._finder = settings, manifest, finder
        self._threads, self._health = threads, health

    async def read(self, request: Request, sent: str | None = None) -> Typed | None:
        """The typed query of a request: `sent` in its body, or `q` in its address; None if there is none.

        Raises:
            Problem: 403 if this service takes none, 422 if it is given twice, empty or too long.
        """
        given = [text for text in (sent, request.query_params.get("q")) if text is not None]
        if not given:
            return None
        if len(given) > 1 or len(request.query_params.getlist("q")) > 1:
            raise params.bad("q: it is there twice; give it once, in the body or in the address")
        text, most, finder = given[0], self._settings.max_query_chars, self._finder
        if finder is None:
            raise Problem(403, "typed-off", "q: this service takes no typed queries; its operator can allow them")
        if not text.strip():
            raise params.bad("q: empty; type what the photo should show, like `red mug`")
        if len(text) > most:
            raise params.bad(f"q: {len(text):,} characters, at most {most} are read; shorten it")
        titles = params.flag(request, "titles", self._settings.typed_titles)
        return await self._threads.read(lambda: finder.read(text, titles=titles))

    async def form(self, request: Request) -> Typed | None:
        """The typed query of a form without a photo. Raises as `read`, and Problem 400, 408 or 413."""
        most = self._settings.max_query_chars * _BYTES_A_CHAR + _MARGIN
        body = bytearray()
        try:
            async with asyncio.timeout(self._settings.upload_timeout_s):
                async for chunk in request.stream():
                    body += chunk
                    if len(body) > most:
                        text = f"q: more than {most:,} bytes; shorten it, or send a photo as image/jpeg or image/png"
                        raise Problem(413, "too-large", text)
        except TimeoutError:
            raise Problem(408, "too-slow", "body: not complete in time; send it again") from None
        except ClientDisconnect:
            raise Problem(400, "incomplete", "body: the connection ended before it was complete") from None
        try:
            fields = parse_qs(bytes(body).decode(), keep_blank_values=True, errors="strict", max_num_fields=4)
        except ValueError:
            raise Problem(400, "bad-form", "body: no form that can be read; send q=WORDS, percent-encoded") from None
        if len(fields.get("q", [])) > 1:
            raise params.bad("q: it is there twice; give it once")
        return await self.read(request, fields["q"][0] if "q" in fields else None)

    async def answer(self, typed: Typed, k: int, language: str, only: Filters, began: float) -> Response:
        """The listings that answer a query without a photo."""
        finder = self._of_service()
        async with self._threads.in_time():
            hits, whole, by_text = await self._threads.read(lambda: finder.find(typed, k, only))
        meaning = finder.meaning(typed, language, by_text=by_text)
        count_words(meaning)
        typed_metrics.TYPED_SEARCHES.labels("yes" if hits else "no").inc()
        took_s = time.perf_counter() - began
        metrics.SEARCH_SECONDS.labels("typed").observe(took_s)
        answer = TypedAnswer(
            model_version=self._manifest.model_version,
            epoch=self._manifest.epoch,
            query=meaning,
            listings=finder.shown(hits, language),
            complete=finder.complete and whole,
            stale=self._health.stale,
            took_s=round(took_s, 4),
        )
        return answered(answer)

    def scored(self, found: Sequence[Found], typed: Typed) -> list[Found]:
        """Neighbours of a photo with their relevance; see `TypedFinder.scored`. Not for the event loop's thread."""
        return self._of_service().scored(found, typed)

    def meaning(self, typed: Typed, language: str) -> TypedMeaning:
        """What was understood of a query beside a photo, which is counted."""
        meaning = self._of_service().meaning(typed, language)
        count_words(meaning)
        return meaning

    def _of_service(self) -> TypedFinder:
        if self._finder is None:
            raise RuntimeError("a query was read without a finder")
        return self._finder


def is_empty(request: Request) -> bool:
    """Whether a request has no body: its query, if there is one, is in its address."""
    headers = request.headers
    return "transfer-encoding" not in headers and headers.get("content-length", "0") == "0"


def is_form(request: Request) -> bool:
    """Whether the body is a form that can have no photo."""
    return media_type(request) == FORM
