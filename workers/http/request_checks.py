"""Refuses requests that no honest client sends, before the application sees them, and adds headers to every answer.

- A `Host` that is none of ours: a page on evil.example whose name points to this machine (DNS rebinding).
- `Transfer-Encoding` together with `Content-Length`, or in HTTP/1.0: a proxy could read another request than we do.
"""

from __future__ import annotations

import ipaddress
import re

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from workers.http.problems import Problem

_HOST = re.compile(r"(?P<name>\[[0-9a-f:.]+\]|[^\s:/@\[\]]*)(:\d{1,5})?")
_LOOPBACK = ("localhost", "ip6-localhost")
_HEADERS = {
    "x-content-type-options": "nosniff",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
}


class RequestChecks:
    """An ASGI application around another one."""

    def __init__(self, app: ASGIApp, *, allowed_hosts: tuple[str, ...], own_host: str) -> None:
        """`allowed_hosts`: names besides loopback names and `own_host`; `*` allows every name. An address as `Host` is
        always allowed, because no foreign name can lead to it."""
        self._app = app
        self._any = "*" in allowed_hosts
        self._names = {name.lower().rstrip(".") for name in (*_LOOPBACK, own_host, *allowed_hosts)}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Check one request and pass it on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        problem = self._problem(scope)
        await (self._app if problem is None else problem.response())(scope, receive, with_headers)

    def _problem(self, scope: Scope) -> Problem | None:
        names = [name for name, _ in scope["headers"]]
        if b"transfer-encoding" in names and (b"content-length" in names or scope["http_version"] == "1.0"):
            detail = "transfer-encoding: not together with content-length, and not in HTTP/1.0; send one of them"
            return Problem(400, "ambiguous", detail, headers={"connection": "close"})
        host = next((value.decode("latin-1") for name, value in scope["headers"] if name == b"host"), None)
        if host is None or self._is_ours(host):  # HTTP/1.0 may leave it out, and no browser does
            return None
        detail = "host: not a name of this service; call it by its address, or add the name to allowed_hosts"
        return Problem(421, "wrong-host", detail)

    def _is_ours(self, host: str) -> bool:
        match = _HOST.fullmatch(host.strip().lower())
        if match is None:
            return False
        name = match["name"].rstrip(".")
        if self._any or name in self._names:
            return True
        try:
            ipaddress.ip_address(name.strip("[]"))
        except ValueError:
            return False
        return True
