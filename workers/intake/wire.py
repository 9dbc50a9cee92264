"""One HTTP request to an address that was checked before. Every read of the socket is bounded in bytes and time."""

from __future__ import annotations

import http.client
import io
import logging
import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPResponse
from typing import Any, cast

from urllib3 import BaseHTTPResponse
from urllib3.connection import HTTPConnection, HTTPSConnection

from workers.intake.addresses import Target

_HEADERS = {
    "Accept": "image/jpeg, image/png, image/webp, image/*;q=0.5",
    "Accept-Encoding": "identity",
    "Connection": "close",
    "User-Agent": "groknet-intake",
}
_OVERHEAD_BYTES = 1_000_000  # for headers: http.client allows 100 lines of 64 KiB, and honest hosts send far less


# urllib3 logs whole URLs, with their query strings, and a stack for each answer that has a broken header.
for _name in ("urllib3.connection", "urllib3.response"):
    logging.getLogger(_name).setLevel(logging.ERROR)
_MAX_INTERIM = 20  # answers of the kind 1xx before the real one; a host sends one or two
_SWITCHING = 101  # the only 1xx after which the protocol changes


class WireTooLarge(Exception):
    """The answer has more bytes than a photo of the allowed size can need."""


class _Response(HTTPResponse):
    """An answer whose interim answers, such as 103 Early Hints, are skipped. http.client skips only 100 Continue."""

    def _read_status(self) -> tuple[str, int, str]:
        for _ in range(_MAX_INTERIM):
            version, status, reason = super()._read_status()  # type: ignore[misc]
            if not 100 < status < 200 or status == _SWITCHING:
                return version, status, reason
            http.client.parse_headers(self.fp)
        raise http.client.HTTPException("too many interim answers")


class _PlainConnection(HTTPConnection):
    response_class = _Response


class _TlsConnection(HTTPSConnection):
    response_class = _Response


class Deadline:
    """The moment of the monotonic clock at which a fetch must have ended."""

    def __init__(self, at: float) -> None:
        self._at = at

    def left(self, cap_s: float) -> float:
        """Return the seconds that are left, at most `cap_s`. Raises TimeoutError if none are left."""
        seconds = min(self._at - time.monotonic(), cap_s)
        if seconds <= 0:
            raise TimeoutError
        return seconds


class _Reader(io.RawIOBase):
    """Reads a socket within a deadline and a number of bytes. Both also bound headers and chunk sizes that drip."""

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
    """The socket as an HTTP connection sees it. `exchange` owns the socket and closes it."""

    def __init__(self, sock: socket.socket, reader: _Reader) -> None:
        self._sock, self._reader = sock, reader

    def makefile(self, mode: str, buffering: int | None = None) -> io.BufferedReader:
        return io.BufferedReader(self._reader)

    def sendall(self, data: bytes) -> None:
        self._sock.sendall(data)

    def settimeout(self, seconds: float | None) -> None:
        """Do nothing: the reader sets a time-out before each read."""

    def shutdown(self, how: int) -> None:
        self._sock.shutdown(how)

    def close(self) -> None:
        """Do nothing: the answer is still read after the connection has closed its socket."""


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
    """Send a GET request for `target` to the first of `addresses` that accepts a connection. The body is not read yet.

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
    """Connect to the first address that accepts, with TLS for https. Raises the error of the last address."""
    failure: Exception = OSError("no address")
    for address in addresses:
        connection: HTTPConnection
        seconds = deadline.left(connect_s)
        if target.scheme == "https":
            connection = _TlsConnection(
                address, target.port, timeout=seconds, ssl_context=context, server_hostname=target.host
            )
        else:
            connection = _PlainConnection(address, target.port, timeout=seconds)
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
