"""The review page's service: the queue, its photos, decisions and undo, for one person on this machine.

`/v1/queue` lists all items in short and names the run, `/v1/{run}/items/{n}` is one of them, and
`/v1/{run}/photos/{n}/{k}/{size}` is its photo number k. POST `/v1/decide` stores a decision and POST `/v1/undo` takes
the newest one back. A client names items and photos by their number in the queue, so no request can name a file.

`run` is a secret that is drawn when the application is built. With it in the address, a browser cannot take a photo or
an item of an earlier run from its cache or with an old page, and another site, which cannot read `/v1/queue`, cannot
show a photo. Changes are taken from the page alone: a request of another site has another `Origin`, or is no JSON. The
server around this application checks the `Host` (groknet composes both).
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Awaitable, Callable, Sequence
from importlib import resources
from typing import Any

import msgspec
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from schemas.errors import Invalid
from training.review.items import Item
from training.review.photos import SIDES, ReviewPhotos
from training.review.queue import Queue
from training.review.values import checked

MOST_BODY_BYTES = 1_000_000  # 500 boxes are 100 KB
_TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
_PAGE_HEADERS = {
    "content-security-policy": "default-src 'none'; connect-src 'self'; img-src 'self'; script-src 'self'; "
    "style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-cache",
}
_PHOTO_HEADERS = {
    "cache-control": "private, max-age=3600",
    "x-content-type-options": "nosniff",
    "cross-origin-resource-policy": "same-origin",
}
_RUN_BYTES = 16  # of the secret in the addresses: more than anyone can guess


class Asked(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the page sends to decide: fields as those of `Decision`."""

    item: str
    choice: str
    value: dict[str, Any] = {}
    seconds: float = 0.0


def build_review(queue: Queue, photos: ReviewPhotos, *, title: str, classes: Sequence[str] = ()) -> Starlette:
    """Build the application. The order of the items is fixed now; the caller closes the queue after the server.

    Args:
        queue: open for writing.
        photos: reads the photos that the items name.
        title: what is reviewed, for the top of the page.
        classes: the classes that a box can have, in the order of their keys. Others can be typed.
    """
    service = _Service(queue, photos, title, classes)
    return Starlette(
        routes=[
            Route("/v1/queue", service.whole),
            Route("/v1/{run}/items/{n:int}", service.item),
            Route("/v1/{run}/photos/{n:int}/{k:int}/{size}", service.photo),
            Route("/v1/decide", service.decide, methods=["POST"]),
            Route("/v1/undo", service.undo, methods=["POST"]),
            *_page_routes(),
        ],
        exception_handlers={HTTPException: _problem},
    )


class _Service:
    def __init__(self, queue: Queue, photos: ReviewPhotos, title: str, classes: Sequence[str]) -> None:
        self._queue = queue
        self._photos = photos
        self._title = title
        self._classes = list(classes)
        self._items: Sequence[Item] = tuple(queue.items)
        self._run = secrets.token_urlsafe(_RUN_BYTES)
        self._places = {item.id: n for n, item in enumerate(self._items)}

    def whole(self, _: Request) -> Response:
        items = [[item.id, item.kind, self._state(item)] for item in self._items]
        about = {"run": self._run, "title": self._title, "classes": self._classes}
        return JSONResponse({**about, "counts": self._queue.counts(), "items": items})

    def item(self, request: Request) -> Response:
        item = self._at(request)
        made = self._queue.decision(item.id)
        decision = None if made is None else {"choice": made.choice, "value": made.value}
        return JSONResponse({**msgspec.to_builtins(item), "decision": decision})

    def photo(self, request: Request) -> Response:
        item = self._at(request)
        k, size = request.path_params["k"], request.path_params["size"]
        if k >= len(item.photos) or size not in SIDES:
            raise HTTPException(404, "photo: the item has no such photo, or not in this size")
        try:
            data = self._photos.read(item.photos[k], size)
        except (Invalid, OSError, ValueError) as error:
            raise HTTPException(422, f"photo: {item.photos[k]} cannot be shown: {error}") from None
        return Response(data, media_type="image/webp", headers=_PHOTO_HEADERS)

    async def decide(self, request: Request) -> Response:
        _from_the_page(request)
        try:
            asked = msgspec.json.decode(await _body(request), type=Asked)
        except msgspec.MsgspecError as error:
            raise HTTPException(400, f"body: {error}") from None
        return await run_in_threadpool(self._decided, asked)

    def _decided(self, asked: Asked) -> Response:
        try:
            item = self._queue.item(asked.item)
            made = self._queue.decide(
                item.id, asked.choice, checked(item, asked.value), seconds=min(3600.0, asked.seconds)
            )
        except KeyError:
            raise HTTPException(404, "item: the queue has no such item; load the page again") from None
        except ValueError as error:
            raise HTTPException(422, str(error)) from None
        except OSError as error:
            raise HTTPException(507, f"the decision is not stored ({error.strerror}); free some space") from None
        return JSONResponse({"number": made.number, "counts": self._queue.counts()})

    async def undo(self, request: Request) -> Response:
        _from_the_page(request)
        undone = await run_in_threadpool(self._queue.undo)
        n = None if undone is None else self._places.get(undone.item)
        state = None if n is None else self._state(self._items[n])
        return JSONResponse({"item": n, "state": state, "counts": self._queue.counts()})

    def _state(self, item: Item) -> str:
        made = self._queue.decision(item.id)
        return "open" if made is None else made.choice

    def _at(self, request: Request) -> Item:
        if not secrets.compare_digest(request.path_params["run"].encode(), self._run.encode()):
            raise HTTPException(404, "run: the review was started again since then; load the page again")
        n = int(request.path_params["n"])
        if n >= len(self._items):
            raise HTTPException(404, "item: the queue has fewer items; load the page again")
        return self._items[n]


def _from_the_page(request: Request) -> None:
    """Refuse what a page of another site could send: it cannot set this type of content without being asked first, and
    its browser names its origin."""
    origin = request.headers.get("origin")
    if origin is not None and origin != f"{request.url.scheme}://{request.headers.get('host', '')}":
        raise HTTPException(403, "origin: decisions are taken from this service's own page")
    if request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        raise HTTPException(403, "sec-fetch-site: decisions are taken from this service's own page")
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
        raise HTTPException(415, "content-type: send application/json")


async def _body(request: Request) -> bytes:
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > MOST_BODY_BYTES:
            raise HTTPException(413, f"body: at most {MOST_BODY_BYTES:,} bytes")
        parts.append(part)
    return b"".join(parts)


def _problem(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    body = {"status": error.status_code, "detail": error.detail}
    return JSONResponse(body, error.status_code, media_type="application/problem+json", headers=error.headers)


def _page_routes() -> list[Route]:
    folder = resources.files("training.review").joinpath("page")
    data = {entry.name: entry.read_bytes() for entry in folder.iterdir() if entry.is_file()}

    def answering(name: str) -> Callable[[Request], Awaitable[Response]]:
        etag = f'"{hashlib.sha256(data[name]).hexdigest()[:32]}"'
        headers = {**_PAGE_HEADERS, "etag": etag}

        async def answer(request: Request) -> Response:
            if request.headers.get("if-none-match") == etag:
                return Response(status_code=304, headers=headers)
            return Response(data[name], media_type=_TYPES[name[name.rindex(".") :]], headers=headers)

        return answer

    return [Route("/", answering("index.html")), *(Route(f"/page/{name}", answering(name)) for name in sorted(data))]
