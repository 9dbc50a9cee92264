"""One HTTP exchange with a pinned address, bounded in bytes and time at every single read of the socket."""

from __future__ import annotations

import io
import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

from urllib3 import BaseHTTPResponse
from urllib3.connection import HTTPConnection, HTTPSConnection

from workers.intake.addresses import Target

_HEADERS = {
    "Accept": "image/jpeg, image/png, image/webp",
    "Accept-Encoding": "identity",
    "Connection": "close",
    "User-Agent": "groknet-intake",
}
_OVERHEAD_BYTES = 1_000_000  # headers (http.client allows 100 lines of 64 KiB; nobody honest sends a tenth)


class WireTooLarge(Exception):
    """More bytes came over the wire than a body of the allowed size can need."""


class Deadline:
    """A moment of the monotonic clock."""

    def __init__(self, at: float) -> None:
        self._at = at

    def left(self, cap_s: float) -> float:
        """Seconds left, at most `cap_s`; raises TimeoutError when none are."""
        seconds = min(self._at - time.monotonic(), cap_s)
        if seconds <= 0:
            raise TimeoutError
        return seconds


class _Reader(io.RawIOBase):
    """Reads a socket; no drip of status lines, headers or chunk sizes outlives the deadline or the byte budget."""

    def __init__(self, sock: socket.socket, deadline: Deadline, silence_s: float, budget: int) -> None:
        self._sock, self._deadline, self._silence_s, self._budget = sock, deadline, silence_s, budget

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        self._sock.settimeout(self._deadline.left(self._silence_s))
        count = self._sock.recv_into(buffer)
        self._budget -= count
        if self._budget < 0:
            raise WireTooLarge
        return count


class _GuardedSocket:
    """What an HTTP connection sees of its socket. Closing is left to `exchange`, which owns it."""

    def __init__(self, sock: socket.socket, reader: _Reader) -> None:
        self._sock, self._reader = sock, reader

    def makefile(self, mode: str, buffering: int | None = None) -> io.BufferedReader:
        return io.BufferedReader(self._reader)

    def sendall(self, data: bytes) -> None:
        self._sock.sendall(data)

    def settimeout(self, seconds: float | None) -> None:
        """The reader sets a time-out before each read; the connection's own is of no use."""

    def shutdown(self, how: int) -> None:
        self._sock.shutdown(how)

    def close(self) -> None:
        """Reading goes on after the connection has let go."""


@contextmanager
def exchange(
    target: Target,
    addresses: list[str],
    *,
    context: ssl.SSLContext,
    deadline: Deadline,
    connect_s: float,
    silence_s: float,
    max_bytes: int,
) -> Iterator[BaseHTTPResponse]:
    """GET `target` from the first of `addresses` that accepts a connection; the body is not read yet.

    TLS names and verifies the host, not the address. Raises OSError (TimeoutError and ssl.SSLError included),
    http.client.HTTPException, urllib3's HTTPError and WireTooLarge, here and while the body is read.
    """
    connection, sock = _connect(target, addresses, context, deadline, connect_s)
    try:
        reader = _Reader(sock, deadline, silence_s, 2 * max_bytes + _OVERHEAD_BYTES)
        connection.sock = cast(socket.socket, _GuardedSocket(sock, reader))
        sock.settimeout(deadline.left(silence_s))
        headers = {"Host": target.authority, **_HEADERS}
        connection.request("GET", target.path, headers=headers, preload_content=False, decode_content=False)
        yield connection.getresponse()
    finally:
        sock.close()


def _connect(
    target: Target, addresses: list[str], context: ssl.SSLContext, deadline: Deadline, connect_s: float
) -> tuple[HTTPConnection, socket.socket]:
    """Connect, TLS included; the last address's error is the one that is raised."""
    failure: Exception = OSError("no address")
    for address in addresses:
        connection: HTTPConnection
        seconds = deadline.left(connect_s)
        if target.scheme == "https":
            connection = HTTPSConnection(
                address, target.port, timeout=seconds, ssl_context=context, server_hostname=target.host
            )
        else:
            connection = HTTPConnection(address, target.port, timeout=seconds)
        try:
            connection.connect()
        except ssl.SSLCertVerificationError:
            connection.close()
            raise
        except Exception as error:
            connection.close()
            failure = error
            continue
        return connection, cast(socket.socket, connection.sock)
    raise failure
