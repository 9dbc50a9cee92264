"""Decides who may send requests, how often, and how many at once, before a byte of the body is read.

If the service has tokens, a client is a token. Else it is an address, or the /64 network of an IPv6 address. Behind a
proxy on this machine it is the address that the proxy forwards; `X-Forwarded-For` is believed from 127.0.0.1 only.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import math
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from starlette.requests import Request

from workers.problems import Problem
from workers.search.settings import SearchSettings

PHOTO_COST = 1.0
READ_COST = 0.1  # a read takes a tenth of the time of a photo
_MAX_CLIENTS = 10_000  # buckets that are kept, 200 bytes each; the least recently used one is dropped


class Buckets:
    """A token bucket for each client: it fills at `rate_per_s` up to `burst`, and a request takes its cost. Not
    thread-safe."""

    def __init__(self, rate_per_s: float, burst: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate = rate_per_s
        self._burst = burst
        self._clock = clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, client: str, cost: float) -> float:
        """Take the cost and return 0, or take nothing and return the seconds to wait."""
        now = self._clock()
        level, since = self._buckets.pop(client, (self._burst, now))
        level = min(self._burst, level + (now - since) * self._rate)
        wait_s = max(0.0, cost - level) / self._rate
        self._buckets[client] = (level if wait_s else level - cost, now)
        if len(self._buckets) > _MAX_CLIENTS:
            self._buckets.popitem(last=False)
        return wait_s


class Bound:
    """Bounds how many of something run at once. Belongs to the thread of the event loop."""

    def __init__(self, most: int, what: str) -> None:
        """`what`: the words after the number in the message of a refusal."""
        self._most = most
        self._what = what
        self._under_way = 0

    @contextmanager
    def held(self) -> Iterator[None]:
        """Count one while the block runs. Raises Problem 503 if the bound is reached."""
        if self._under_way >= self._most:
            raise Problem(503, "busy", f"{self._under_way} {self._what}; ask again in a second", retry_after_s=1)
        self._under_way += 1
        try:
            yield
        finally:
            self._under_way -= 1


class Admission:
    """The admission of one application. Belongs to the thread of the event loop."""

    def __init__(self, settings: SearchSettings) -> None:
        self._digests = [_digest(token) for token in settings.tokens]
        self._buckets = Buckets(settings.rate_per_s, settings.rate_burst) if settings.rate_per_s else None
        self._requests = Bound(settings.max_requests, "requests are under way already")

    @contextmanager
    def admit(self, request: Request, cost: float) -> Iterator[None]:
        """Admit one request while the block runs.

        Raises:
            Problem: 401 no token or a wrong one, 429 too many requests of this client, 503 too many requests at once.
        """
        client = self._client(request)
        if self._buckets is not None:
            wait_s = self._buckets.take(client, cost)
            if wait_s:
                detail = f"too many requests of one client; ask again in {math.ceil(wait_s)} s"
                raise Problem(429, "too-often", detail, retry_after_s=math.ceil(wait_s))
        with self._requests.held():
            yield

    def _client(self, request: Request) -> str:
        if not self._digests:
            return _network(request.client.host if request.client else "")
        given = _digest(_token(request))
        if not _known(given, self._digests):
            detail = "authorization: no token of this service; send `Authorization: Bearer TOKEN`"
            raise Problem(401, "unauthorised", detail, headers={"www-authenticate": 'Bearer realm="groknet"'})
        return given.hex()


def _token(request: Request) -> str:
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()


def _known(given: bytes, digests: Sequence[bytes]) -> bool:
    """Compare digests in constant time, so that the time reveals nothing about a token."""
    return any(hmac.compare_digest(given, digest) for digest in digests)


def _network(host: str) -> str:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    if isinstance(address, ipaddress.IPv6Address):
        mapped = address.ipv4_mapped
        return str(mapped or ipaddress.ip_network((address, 64), strict=False))
    return host
