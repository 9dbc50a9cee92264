"""Decides who may send requests, and how often, before a byte of the body is read.

If the service has tokens, a client is a token. Else it is an address, or the /64 network of an IPv6 address. Behind a
proxy that `search.trusted_proxies` names, it is the address that the proxy forwards.
"""

from __future__ import annotations

import hashlib
import hmac
import math
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence

from starlette.requests import Request

from workers.http.connections import network_of
from workers.http.problems import Problem
from workers.search.settings import SearchSettings

PHOTO_COST = 1.0
READ_COST = 0.1  # a read takes a tenth of the time of a photo
_GUESSES_PER_S, _GUESSES_BURST = 0.2, 10.0  # wrong tokens of one address; a person who mistypes needs fewer
_TOO_MUCH = (
    "too many photos of one client, where each photo of a form, and each part that detect=all or detect=nearest looks "
    "at, counts as one"
)
_MAX_CLIENTS = 10_000  # buckets that are kept, 200 bytes each; the least recently used one is dropped


class Buckets:
    """A token bucket for each client: it fills at `rate_per_s` up to `burst`, and a request takes its cost.

    A request's first photo is taken before its body is read. What it turns out to hold beyond that (`overdraw`) may
    bring the level below 0, and then the client's next requests wait longer. Not thread-safe.
    """

    def __init__(self, rate_per_s: float, burst: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate = rate_per_s
        self._burst = burst
        self._clock = clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, client: str, cost: float) -> float:
        """Take the cost and return 0, or take nothing and return the seconds to wait."""
        return self._take(client, cost, needed=cost)

    def overdraw(self, client: str, cost: float) -> float:
        """Take the cost of a request that was admitted already, and return 0. A client whose level is below 0, because
        another of its requests has overdrawn it, gets nothing: return the seconds until the level is 0. So a level is
        never lower than the cost of one request."""
        return self._take(client, cost, needed=0.0)

    def _take(self, client: str, cost: float, *, needed: float) -> float:
        now = self._clock()
        level, since = self._buckets.pop(client, (self._burst, now))
        level = min(self._burst, level + (now - since) * self._rate)
        wait_s = max(0.0, needed - level) / self._rate
        self._buckets[client] = (level if wait_s else level - cost, now)
        if len(self._buckets) > _MAX_CLIENTS:
            self._buckets.popitem(last=False)
        return wait_s

    def give_back(self, client: str, cost: float) -> None:
        """Undo a `take`."""
        level, since = self._buckets.get(client, (self._burst, self._clock()))
        self._buckets[client] = (min(self._burst, level + cost), since)


class Admission:
    """The admission of one application. Belongs to the thread of the event loop."""

    def __init__(self, settings: SearchSettings, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock` gives seconds."""
        self._digests = [_digest(token) for token in settings.tokens]
        self._buckets = Buckets(settings.rate_per_s, settings.rate_burst, clock) if settings.rate_per_s else None
        self._guesses = Buckets(_GUESSES_PER_S, _GUESSES_BURST, clock)
        self._known: OrderedDict[tuple[str, bytes], None] = OrderedDict()

    def admit(self, request: Request, cost: float) -> str:
        """Admit one request. Returns the name of its client, which is also kept for `client_of`.

        Raises:
            Problem: 401 no token or a wrong one, 429 too many requests or wrong tokens of this client.
        """
        client = request.state.client = self._client(request)
        if self._buckets is not None and (wait_s := self._buckets.take(client, cost)):
            raise _too_often(_TOO_MUCH, wait_s)
        return client

    def charge(self, request: Request, photos: int) -> None:
        """Charge an admitted request for so many further photos: the frames after the first one, or the products after
        the first one that the engine is to look at.

        Raises:
            Problem: 429 another request of this client has used more than its rate allows.
        """
        if photos > 0 and self._buckets is not None:
            wait_s = self._buckets.overdraw(client_of(request), photos * PHOTO_COST)
            if wait_s:
                raise _too_often(_TOO_MUCH, wait_s)

    def _client(self, request: Request) -> str:
        network = network_of(request.client.host if request.client else "")
        if not self._digests:
            return network
        token = _token(request)
        given = _digest(token)
        if (network, given) in self._known:
            self._known.move_to_end((network, given))
            return given.hex()
        # A guess is refused before it is compared, so that it tells nothing.
        if token and (wait_s := self._guesses.take(network, 1.0)):
            raise _too_often("too many wrong tokens from one address", wait_s)
        if not _is_known(given, self._digests):
            detail = "authorization: no token of this service; send `Authorization: Bearer TOKEN`"
            raise Problem(401, "unauthorised", detail, headers={"www-authenticate": 'Bearer realm="groknet"'})
        self._guesses.give_back(network, 1.0)
        self._known[network, given] = None
        if len(self._known) > _MAX_CLIENTS:
            self._known.popitem(last=False)
        return given.hex()


def client_of(request: Request) -> str:
    """The client of an admitted request: its token's digest, or its address."""
    client: str = request.state.client
    return client


def _too_often(what: str, wait_s: float) -> Problem:
    seconds = math.ceil(wait_s)
    return Problem(429, "too-often", f"{what}; ask again in {seconds} s", retry_after_s=seconds)


def _token(request: Request) -> str:
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()


def _is_known(given: bytes, digests: Sequence[bytes]) -> bool:
    """Compare digests in constant time, so that the time reveals nothing about a token."""
    return any(hmac.compare_digest(given, digest) for digest in digests)
