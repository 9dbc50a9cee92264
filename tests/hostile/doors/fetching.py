"""Answers of a photo's host: whole HTTP answers with hostile status lines, headers, redirects, chunks and bodies."""

from __future__ import annotations

import gzip
import itertools
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from random import Random
from typing import NamedTuple

from schemas.errors import Invalid, Transient
from schemas.events import ImageRef
from tests.hostile.case import Input, spoilt
from tests.workers.intake.loopback import Loopback
from workers.intake import Intake, IntakeSettings

REFUSALS = (Invalid, Transient)
MOST_MB = 100
MOST_BYTES = 20_000
PHOTO = bytes(range(256)) * 40
STATUS = ("200 OK", "200", "206 Partial", "404 No", "500 Down", "304 Same", "999 Odd", "-1 x", "200 " + "k" * 9_000)
HEADERS = (
    b"Content-Encoding: gzip",
    b"Content-Encoding: ",
    b"Content-Encoding: br, gzip, aws-chunked",
    b"Content-Length: -5",
    b"Content-Length: 99999999999999999999",
    b"Content-Length: 5, 6",
    b"Transfer-Encoding: chunked",
    b"Transfer-Encoding: gzip, chunked",
    b"Connection: upgrade",
    b"Set-Cookie: " + b"c" * 8_000,
    b"X-Bytes: \xff\xfe\x80",
    b"X-Nul: a\0b",
    b" folded: x",
    b"no colon",
    b": no name",
)
LOCATIONS = (
    "file:///etc/passwd",
    "//10.0.0.1/x",
    "https://169.254.169.254/",
    "http://[",
    "javascript:1",
    "\u202e",
    "/",
)
_numbers = itertools.count()


class _World(NamedTuple):
    """The hostile host, a service that no photo may come from, and what fetches."""

    host: Loopback
    inside: Loopback
    intake: Intake


@cache
def _world() -> _World:
    host, inside = Loopback(), Loopback()
    settings = IntakeSettings(
        allowed_private=(host.address,),
        max_bytes=MOST_BYTES,
        connect_timeout_s=5.0,
        read_timeout_s=0.3,
        total_timeout_s=1.0,
        attempts=1,
    )
    return _World(host, inside, Intake(settings))


def _fetched(raw: bytes) -> bytes:
    """What is fetched from an address that answers with these bytes, and then closes the connection."""
    host, _, intake = _world()
    path = f"/{next(_numbers)}"
    host.scripts[path] = lambda sock, _: sock.sendall(raw)
    try:
        return intake.fetch(ImageRef(image_id="a", url=host.url(path)))
    finally:
        del host.scripts[path]


def honest(folder: Path) -> None:
    """A photo comes as it is, within a time that is no bound of the hostile one."""
    raw = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(PHOTO), PHOTO)
    for _ in range(20):  # its own bound of one second is short on a busy machine
        try:
            assert _fetched(raw) == PHOTO
        except Transient:
            continue
        return
    raise AssertionError("an honest host is never heard")


def inputs(rng: Random, folder: Path) -> Iterator[Input]:
    """Whatever is taken is no larger than a photo may be, and nothing was asked of the service inside."""
    while True:
        kind = rng.choice(("headers", "headers", "redirect", "chunks", "interim", "bomb", "spoilt", "spoilt"))
        raw = _answer(kind, rng)
        yield Input(kind, lambda raw=raw: _offer(raw))


def _answer(kind: str, rng: Random) -> bytes:
    lines = [b"HTTP/1.1 " + rng.choice(STATUS).encode(), *rng.choices(HEADERS, k=rng.choice((0, 1, 3)))]
    body = rng.choice((PHOTO, b"", rng.randbytes(300), bytes(MOST_BYTES + 1)))
    if kind == "redirect":
        inside = _world().inside.url("/secret")
        place = rng.choice((*LOCATIONS, inside, inside.replace("http:", "https:"), rng.randbytes(30).decode("latin-1")))
        lines = [b"HTTP/1.1 302 Found", b"Location: " + place.encode("utf-8", "replace"), *lines[1:]]
    elif kind == "chunks":
        lines = [b"HTTP/1.1 200 OK", b"Transfer-Encoding: chunked"]
        size = rng.choice((b"100", b"-1", b"zz", b"f" * 40, b"0x10", b"10;" + b"e" * 20_000, b""))
        body = size + b"\r\n" + rng.randbytes(0x100) + b"\r\n" + rng.choice((b"0\r\n\r\n", b"", b"0\r\nT: x\r\n" * 300))
    elif kind == "interim":
        lines = [b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n"] * rng.choice((1, 19, 21, 2_000)) + [b"HTTP/1.1 200 OK"]
    elif kind == "bomb":
        lines, body = (
            [b"HTTP/1.1 200 OK", b"Content-Encoding: gzip"],
            gzip.compress(bytes(rng.choice((10, 19, 30)) << 20)),
        )
    raw = b"\r\n".join([*lines, b"", b""]) + body
    if kind == "spoilt":
        _, raw = spoilt(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(PHOTO), PHOTO), rng)
    return raw


def _offer(raw: bytes) -> None:
    try:
        assert 0 < len(_fetched(raw)) <= MOST_BYTES
    finally:
        assert not _world().inside.hits


def close() -> None:
    """End both hosts."""
    for one in _world()[:2]:
        one.close()
