"""Who may ask, how often, and how many at once: before a byte of the body is read.

A client is a token where the service has tokens, else an address (the /64 of an IPv6 one). Behind a proxy on this
machine the address is the one that it forwards (`X-Forwarded-For`, which the server believes of 127.0.0.1 alone).
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
READ_COST = 0.1  # a read takes a tenth of a photo's time
_MAX_CLIENTS = 10_000  # of whom a bucket is kept, 200 bytes each; the one that asked longest ago gives way


class Buckets:
    """Token buckets by client: `rate_per_s` flow in up to `burst`, a request takes its cost out. Not thread-safe."""

    def __init__(self, rate_per_s: float, burst: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate = rate_per_s
        self._burst = burst
        self._clock = clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, client: str, cost: float) -> float:
        """0 where the cost was taken; else the seconds until it could be, and nothing is taken."""
        now = self._clock()
        level, since = self._buckets.pop(client, (self._burst, now))
        level = min(self._burst, level + (now - since) * self._rate)
        wait_s = max(0.0, cost - level) / self._rate
        self._buckets[client] = (level if wait_s else level - cost, now)
        if len(self._buckets) > _MAX_CLIENTS:
            self._buckets.popitem(last=False)
        return wait_s


class Bound:
    """At most so many at once. Belongs to the event loop's thread."""

    def __init__(self, most: int, what: str) -> None:
        """`what`: the words behind their number where another one is refused."""
        self._most = most
        self._what = what
        self._under_way = 0

    @contextmanager
    def held(self) -> Iterator[None]:
        """Around one of them. Raises Problem 503 when there are as many as may be."""
        if self._under_way >= self._most:
            raise Problem(503, "busy", f"{self._under_way} {self._what}; ask again in a second", retry_after_s=1)
        self._under_way += 1
        try:
            yield
        finally:
            self._under_way -= 1


class Admission:
    """One an application; belongs to the event loop's thread."""

    def __init__(self, settings: SearchSettings) -> None:
        self._digests = [_digest(token) for token in settings.tokens]
        self._buckets = Buckets(settings.rate_per_s, settings.rate_burst) if settings.rate_per_s else None
        self._requests = Bound(settings.max_requests, "requests are under way already")

    @contextmanager
    def admit(self, request: Request, cost: float) -> Iterator[None]:
        """Around a request. Raises Problem: 401 no or wrong token, 429 too often, 503 too many at once."""
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
    """Digests are compared, so that the time tells nothing of a token."""
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
