"""`POST /v1/feedback`: right or wrong, on a search result or on an offered label."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import time

from starlette.requests import Request
from starlette.responses import Response

from schemas.errors import ConfigError, Transient
from schemas.manifest import Manifest
from workers.http.problems import Problem
from workers.search.http import params
from workers.search.http.json_bodies import answered, json_body
from workers.search.http.threads import Threads
from workers.search.kept.answers import FeedbackAnswer, FeedbackRequest
from workers.search.kept.ledger import Judgement, Ledger
from workers.search.kept.writer import Writer
from workers.search.settings import SearchSettings

_log = logging.getLogger(__name__)
_MAX_JSON = 4_096
_HASH_DIGITS = frozenset("0123456789abcdef")


class FeedbackHandlers:
    """Answers the route of judgements. Without a ledger it refuses them."""

    def __init__(
        self, settings: SearchSettings, *, ledger: Ledger | None, writer: Writer, manifest: Manifest, threads: Threads
    ) -> None:
        self._settings, self._ledger, self._writer, self._threads = settings, ledger, writer, threads
        self._epoch = manifest.epoch
        self._labels = {head.id: {label.id for label in head.labels} for head in manifest.heads}

    async def feedback(self, request: Request) -> Response:
        """`POST /v1/feedback`."""
        ledger = self._ledger
        if ledger is None:
            raise Problem(403, "feedback-off", "this service keeps no feedback; its operator can set search.keep")
        body = await json_body(request, FeedbackRequest, _MAX_JSON, self._settings.upload_timeout_s)
        judgement = self._checked(body)
        async with self._threads.in_time():
            try:
                await asyncio.wrap_future(self._writer.offer(lambda: ledger.judge(judgement), _MAX_JSON))
            except (Transient, ConfigError, sqlite3.Error) as error:
                _log.warning("a judgement was not kept: %s", error)
                raise Problem(503, "not-kept", "the judgement was not kept; send it again", retry_after_s=2) from None
        return answered(FeedbackAnswer(kept=True, days=self._settings.keep_days))

    def _checked(self, body: FeedbackRequest) -> Judgement:
        """Raises Problem 403 or 422."""
        if not body.consent:
            raise Problem(403, "no-consent", "consent: false; only what a person agrees to is kept")
        if body.epoch != self._epoch:
            raise Problem(422, "bad-field", f"epoch: this service runs {self._epoch}; search again, and judge that")
        if (body.hash is None) == (body.query_listing is None):
            raise Problem(422, "bad-field", "hash: give it for a photo, or query_listing for a listing; exactly one")
        if body.hash is not None and (len(body.hash) != 64 or not set(body.hash) <= _HASH_DIGITS):
            raise Problem(422, "bad-field", "hash: give the 64 lower-case hex digits of the answer")
        if (body.listing_id is None) == (body.label is None):
            raise Problem(422, "bad-field", "listing_id: give it for a result, or head and label; exactly one")
        if body.image_id is not None and body.listing_id is None:
            raise Problem(422, "bad-field", "image_id: it is a photo of listing_id; a label is judged without it")
        if body.head is not None and body.label is None:
            raise Problem(422, "bad-field", "head: it goes with label; leave it out of a result's judgement")
        if body.listing_id is not None and body.listing_id == body.query_listing:
            raise Problem(422, "bad-field", "listing_id: it is the listing that was searched with; judge another one")
        if body.label is not None and body.label not in self._labels.get(body.head or "", ()):
            raise Problem(422, "bad-field", "label: no head of this service has it; give head and label of an answer")
        texts = {
            name: params.identifier(text, name)
            for name in ("query_listing", "listing_id", "image_id")
            if (text := getattr(body, name)) is not None
        }
        if body.label is not None:
            texts |= {"head": body.head or "", "label": body.label}
        return Judgement(at=int(time.time()), epoch=body.epoch, hash=body.hash or "", right=body.right, **texts)
