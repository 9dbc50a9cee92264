"""Serves the page: HTML, CSS and JavaScript modules from `page/`. The page may talk only to this service."""

from __future__ import annotations

import hashlib
from html import escape
from importlib import resources

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from workers.http.problems import Problem
from workers.search.settings import SearchSettings

_TYPES = {
    ".html": "text/html",
    ".css": "text/css",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
}
# blob: is the photo before it is sent, or a thumbnail that had to be asked for with a token.
_POLICY = (
    "default-src 'none'; connect-src 'self'; img-src 'self' blob:; script-src 'self'; style-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "content-security-policy": _POLICY,
    "permissions-policy": "camera=(self), microphone=(), geolocation=()",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-cache",  # asked for each time, sent when it has changed: page and service are one version
}


class _Asset:
    def __init__(self, name: str, data: bytes) -> None:
        self._data = data
        self._media_type = _TYPES[name[name.rindex(".") :]]
        self._headers = {**_HEADERS, "etag": f'"{hashlib.sha256(data).hexdigest()[:32]}"'}

    def answer(self, request: Request) -> Response:
        if request.headers.get("if-none-match") == self._headers["etag"]:
            return Response(status_code=304, headers=self._headers)
        return Response(self._data, media_type=self._media_type, headers=self._headers)


def page_routes(settings: SearchSettings, formats: str, *, detects: bool, types: bool) -> list[Route]:
    """The routes `/` and `/page/{name}`. The page gets the largest size of a photo, so that it does not send larger
    ones, the formats that are taken, with the extra to install for others, what is kept for how many days, and whether
    the service has a detector and takes typed queries of how many characters."""
    folder = resources.files("workers.search").joinpath("page")
    data = {entry.name: entry.read_bytes() for entry in folder.iterdir() if entry.is_file()}
    told = f'data-max-bytes="{settings.max_upload_bytes}"'.encode()
    data["index.html"] = data["index.html"].replace(b'data-max-bytes="10000000"', told)
    shown = f'data-formats="{escape(formats)}"'.encode()
    data["index.html"] = data["index.html"].replace(b'data-formats="JPEG, PNG or WebP"', shown)
    kept = f'data-keep="{settings.keep}" data-keep-days="{settings.keep_days}"'.encode()
    data["index.html"] = data["index.html"].replace(b'data-keep="nothing" data-keep-days="0"', kept)
    if detects:
        data["index.html"] = data["index.html"].replace(b'data-detects="no"', b'data-detects="yes"')
    if types:
        told = f'data-query-chars="{settings.max_query_chars}"'.encode()
        data["index.html"] = data["index.html"].replace(b'data-query-chars="0"', told)
    assets = {name: _Asset(name, content) for name, content in data.items()}

    async def page(request: Request) -> Response:
        return assets["index.html"].answer(request)

    async def asset(request: Request) -> Response:
        name = request.path_params["name"]
        if name not in assets:
            return Problem(404, "no-such-path", f"the page has no part {name[:60]!r}").response()
        return assets[name].answer(request)

    return [Route("/", page), Route("/page/{name}", asset)]
