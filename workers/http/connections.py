"""Bounds what a client's connection may cost: time for header, body and answer, and how many connections there are.

Uvicorn does HTTP with h11. It has a limit for idle connections only, so this adds the others to its protocol class.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
from collections import Counter
from typing import Any, Literal

import h11
import msgspec
from uvicorn.protocols.http.h11_impl import H11Protocol


class HttpLimits(msgspec.Struct, frozen=True, kw_only=True):
    """What clients of one server may cost, and under which names they may call it."""

    header_timeout_s: float = 10.0
    """From the start of a connection, or the end of the answer before, to the end of a request's header."""
    body_timeout_s: float = 60.0
    """For a body to arrive. A route may have a shorter limit, and then answers 408."""
    answer_timeout_s: float = 30.0
    """For a client to read what was sent, while it reads nothing at all."""
    idle_timeout_s: int = 5
    """Between an answer and the next request."""
    max_connections: int = 512
    """At most so many connections. One more ends the connection that has waited longest for its request."""
    max_client_connections: int = 512
    """At most so many of one client: an address, or the /64 network of an IPv6 address."""
    allowed_hosts: tuple[str, ...] = ()
    """Names in the header `Host` that are answered, besides loopback names and addresses; `*`: every name."""
    trusted_proxies: tuple[str, ...] = ()
    """Addresses or networks whose `X-Forwarded-For` is believed."""


def network_of(host: str) -> str:
    """Who counts as one client: an IPv4 address, or the /64 network of an IPv6 address."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    if isinstance(address, ipaddress.IPv6Address):
        mapped = address.ipv4_mapped
        return str(mapped or ipaddress.ip_network((address, 64), strict=False))
    return host


def is_trusted(host: str, proxies: tuple[str, ...]) -> bool:
    """Whether an address is one of the configured proxies."""
    try:
        address = ipaddress.ip_address(host)
        return any(address in ipaddress.ip_network(proxy, strict=False) for proxy in proxies)
    except ValueError:
        return host in proxies


_log = logging.getLogger("groknet.http")
_log.setLevel(logging.ERROR)  # uvicorn warns of every request that is no HTTP: strangers must not fill the log
Phase = Literal["header", "body", ""]


class BoundedProtocol(H11Protocol):
    """One connection. Use a class of `bounded`, which has the limits."""

    limits: HttpLimits
    by_client: Counter[str]
    """Open connections by client."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.logger = _log
        self._phase: Phase = ""
        self._since = self.loop.time()
        self._timer: asyncio.TimerHandle | None = None
        self._unread: asyncio.TimerHandle | None = None
        self._counted = ""

    @property
    def waits(self) -> bool:
        """True while no request is under way."""
        return self.cycle is None or self.cycle.response_complete

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Count the connection; refuse it if its client has too many."""
        super().connection_made(transport)
        self._since = self.loop.time()
        host = self.client[0] if self.client else ""
        if not is_trusted(host, self.limits.trusted_proxies):
            network = network_of(host)
            if self.by_client[network] >= self.limits.max_client_connections:
                self._end(b"429 Too Many Requests", b"too many connections of one client; close some")
                return
            self._counted = network
            self.by_client[network] += 1
        if len(self.connections) > self.limits.max_connections:
            self._make_room()
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        super().connection_lost(exc)
        self._stop_timers()
        if self._counted:
            self.by_client[self._counted] -= 1
            if not self.by_client[self._counted]:
                del self.by_client[self._counted]

    def data_received(self, data: bytes) -> None:
        """Take bytes of the client, unless the connection is ending."""
        if not self.transport.is_closing():
            super().data_received(data)
            self._watch()

    def on_response_complete(self) -> None:
        """The answer is sent; the next request may follow."""
        super().on_response_complete()
        self._watch()

    def pause_writing(self) -> None:
        """The client does not read. It has `answer_timeout_s` to go on."""
        super().pause_writing()
        self._unread = self._unread or self.loop.call_later(self.limits.answer_timeout_s, self.transport.abort)

    def resume_writing(self) -> None:
        """The client reads again."""
        super().resume_writing()
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None

    def _watch(self) -> None:
        """Start the timer of the phase that the connection is in, when it enters that phase."""
        state = self.conn.their_state
        phase: Phase = "header" if state is h11.IDLE else "body" if state is h11.SEND_BODY else ""
        if phase == self._phase:
            return
        self._phase, self._since = phase, self.loop.time()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if phase:
            limit_s = self.limits.header_timeout_s if phase == "header" else self.limits.body_timeout_s
            self._timer = self.loop.call_later(limit_s, self._late)

    def _late(self) -> None:
        if self._phase == "header" and self.waits:
            self._end(b"408 Request Timeout", b"no complete header in time; send the request at once")
        else:
            self.transport.abort()

    def _make_room(self) -> None:
        """End the connection that has waited longest for its request, or this one if every other is at work."""
        waiting = [one for one in self.connections if isinstance(one, BoundedProtocol) and one.waits]
        longest = min(waiting, key=lambda one: one._since)
        longest._end(b"503 Service Unavailable", b"too many connections; ask again in a second")

    def _end(self, status: bytes, detail: bytes) -> None:
        """Answer in plain text, without asking the application, and close."""
        headers = b"content-type: text/plain\r\ncontent-length: %d\r\nretry-after: 1\r\nconnection: close" % len(detail)
        self.transport.write(b"HTTP/1.1 %s\r\n%s\r\n\r\n%s" % (status, headers, detail))
        self._stop_timers()
        self.transport.close()

    def _stop_timers(self) -> None:
        for timer in (self._timer, self._unread):
            if timer is not None:
                timer.cancel()


def bounded(limits: HttpLimits) -> type[BoundedProtocol]:
    """The protocol class of one server."""
    return type("Bounded", (BoundedProtocol,), {"limits": limits, "by_client": Counter()})
