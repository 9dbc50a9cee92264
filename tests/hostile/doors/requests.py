"""Whole HTTP requests to the search service, byte by byte: half, ambiguous, folded, oversized and nonsense ones."""

from __future__ import annotations

import socket
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from random import Random

import urllib3

from tests.hostile.case import Input, spoilt
from tests.workers.search.rig import Rig, photo, rig, served

MOST_MB = 300
PATIENCE_S = 60.0
PATHS = (
    b"/v1/search",
    b"/v1/recent",
    b"/v1/listings/%00",
    b"/../../etc/passwd",
    b"*",
    b"//evil/",
    b"/" + b"a" * 70_000,
)
HEADERS = (
    b"Content-Length: 5",
    b"Content-Length: -1",
    b"Content-Length: 99999999999999999999",
    b"Content-Length: 5\r\nContent-Length: 6",
    b"Transfer-Encoding: chunked",
    b"Transfer-Encoding: xchunked",
    b"Transfer-Encoding: chunked\r\nContent-Length: 5",
    b"Host: evil.example",
    b"Expect: 100-continue",
    b"Upgrade: websocket\r\nConnection: Upgrade",
    b"Connection: close",
    b"Range: bytes=0-,0-,0-",
    b"X-Forwarded-For: 127.0.0.1",
    b"Cookie: " + b"c" * 70_000,
    b"X-Nul: a\0b",
    b" folded: x",
    b"no colon",
)
_closing = ExitStack()


class Refused(Exception):
    """The service answered 4xx, answered 503, or ended the connection without an answer."""


REFUSALS = (Refused,)


@cache
def _made() -> Rig:
    folder = _closing.enter_context(tempfile.TemporaryDirectory())
    made = _closing.enter_context(rig(Path(folder)))
    made.add("one", {"p": photo(1)})
    made.indexed(1)
    made.server.stop()
    _closing.enter_context(served(made, header_timeout_s=4, idle_timeout_s=2, upload_timeout_s=4))
    with ThreadPoolExecutor(4) as pool:  # all threads of the service are there before they are counted
        list(pool.map(lambda _: _search(made), range(12)))
    return made


def _search(made: Rig) -> None:
    url, body = f"{made.server.url}/v1/search?k=1", photo(1)
    headers = {"content-type": "image/jpeg", "connection": "close"}
    for _ in range(20):  # seconds for the upload are short on a busy machine
        with urllib3.PoolManager(retries=False, timeout=PATIENCE_S) as pool:
            answer = pool.request("POST", url, body=body, headers=headers)
        if answer.status not in (408, 503):
            break
    assert answer.status == 200, answer.data[:200]
    assert answer.json()["neighbours"][0]["listing_id"] == "one"


def honest(folder: Path) -> None:
    """A search finds the listing."""
    _search(_made())


def inputs(rng: Random, folder: Path) -> Iterator[Input]:
    """Whatever is sent gets one answer below 500 or 503, and no second request can be hidden in its body."""
    while True:
        kind = rng.choice(("headers", "headers", "smuggled", "half", "spoilt", "bytes", "honest"))
        raw = _request(kind, rng)
        # A request that stays open has to be ended by a time-out. uvicorn answers none whose client has half gone.
        ends = kind in ("half", "spoilt", "bytes") and rng.random() < 0.8
        yield Input(kind, lambda raw=raw, kind=kind, ends=ends: _offer(raw, kind, ends))


def _request(kind: str, rng: Random) -> bytes:
    if kind == "bytes":
        return rng.choice((rng.randbytes(400), b"\r\n" * 900, b"GET", b"\x16\x03\x01" + rng.randbytes(200)))
    if kind == "smuggled":
        hidden = b"0\r\n\r\nGET /v1/recent HTTP/1.1\r\nHost: localhost\r\n\r\n"
        ways = (
            b"Content-Length: %d\r\nTransfer-Encoding: chunked",
            b"Transfer-Encoding: chunked\r\nContent-Length: %d",
        )
        head = rng.choice(ways) % len(hidden)
        return b"POST /v1/search HTTP/1.1\r\nHost: localhost\r\n" + head + b"\r\n\r\n" + hidden
    if kind == "honest":
        return b"GET /v1/recent HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    method = rng.choice((b"GET", b"POST", b"PUT", b"get", b"G\0T", b"M" * 3_000))
    version = rng.choice((b"HTTP/1.1", b"HTTP/1.1", b"HTTP/1.0", b"HTTP/9.9", b"", b"HTTP/1.1 x"))
    lines = [b" ".join((method, rng.choice(PATHS), version)), b"Host: localhost", *rng.choices(HEADERS, k=2)]
    raw = b"\r\n".join([*lines, b"", b""]) + rng.choice(
        (b"", b"12345", rng.randbytes(3_000), b"5\r\n12345\r\n0\r\n\r\n")
    )
    if kind == "half":
        return raw[: rng.randrange(len(raw))]
    return spoilt(raw, rng)[1] if kind == "spoilt" else raw


def _offer(raw: bytes, kind: str, ends: bool) -> None:
    said = _exchanged(raw, ends)
    if not said:
        raise Refused("no answer")
    assert said.startswith(b"HTTP/1.1 "), said[:80]
    statuses = [int(part[:3]) for part in said.split(b"HTTP/1.1 ")[1:]]
    assert all(status < 500 or status in (501, 503, 505) for status in statuses), said[:300]
    if kind == "smuggled":
        assert statuses == [400], statuses
    if statuses[-1] >= 400:
        raise Refused(str(statuses))


def _exchanged(raw: bytes, ends: bool) -> bytes:
    """What the service says until it ends the connection. `ends`: the client says that it sends no more."""
    server, said = _made().server, b""
    with socket.create_connection((server.host, server.port), PATIENCE_S) as one:
        try:
            one.sendall(raw)
            if ends:
                one.shutdown(socket.SHUT_WR)
            while some := one.recv(65536):
                said += some
        except (ConnectionResetError, BrokenPipeError):
            pass
    return said


def close() -> None:
    """End the service and the index."""
    _closing.close()
