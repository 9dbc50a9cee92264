"""Asks a server in its own protocol whether it answers, without a client library."""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
from collections.abc import Iterator

_TIMEOUT_S = 2.0


def kafka_answers(host: str, port: int, *, tls: bool) -> bool:
    """Return whether a broker answers ApiVersions (key 18, version 0), which it does once it is in the cluster.

    It needs no password, because clients ask this before they log in. Source: Kafka protocol guide.
    """
    client = b"groknet-probe"
    body = struct.pack(">hhih", 18, 0, 1, len(client)) + client
    try:
        with _connection(host, port, tls) as connection:
            connection.sendall(struct.pack(">i", len(body)) + body)
            (size,) = struct.unpack(">i", _read(connection, 4))
            correlation, error = struct.unpack(">ih", _read(connection, size)[:6])
            return bool(correlation == 1 and error == 0)
    except OSError:
        return False


_STARTUP, _READY, _AUTHENTICATE, _AUTH_RESPONSE, _AUTH_SUCCESS = 0x01, 0x02, 0x03, 0x0F, 0x10
_QUERY, _RESULT, _ONE = 0x07, 0x08, 0x0001


def cassandra_answers(host: str, port: int, *, tls: bool, user: str | None, password: str | None) -> bool:
    """Return whether a node lets a client in, with version 4 of the native protocol."""
    try:
        with _connection(host, port, tls) as connection:
            return _log_in(connection, user, password) in {_READY, _AUTH_SUCCESS}
    except OSError:
        return False


def change_password(host: str, port: int, *, tls: bool, user: str, old: str, new: str) -> bool:
    """Give a user of Cassandra another password, and return whether that was done. `new` has letters, digits, _ and -
    alone."""
    query = f"ALTER ROLE {user} WITH PASSWORD = '{new}'".encode()
    try:
        with _connection(host, port, tls) as connection:
            if _log_in(connection, user, old) != _AUTH_SUCCESS:
                return False
            return (
                _ask(connection, _QUERY, struct.pack(">i", len(query)) + query + struct.pack(">hB", _ONE, 0)) == _RESULT
            )
    except OSError:
        return False


def _log_in(connection: socket.socket, user: str | None, password: str | None) -> int:
    """Begin a session, and return the opcode of the last answer."""
    options = struct.pack(">h", 1) + _string("CQL_VERSION") + _string("3.0.0")
    answer = _ask(connection, _STARTUP, options)
    if answer == _AUTHENTICATE and user is not None:
        token = f"\0{user}\0{password}".encode()
        answer = _ask(connection, _AUTH_RESPONSE, struct.pack(">i", len(token)) + token)
    return answer


def _string(text: str) -> bytes:
    return struct.pack(">h", len(text)) + text.encode()


def _ask(connection: socket.socket, opcode: int, body: bytes) -> int:
    """Send one frame and return the opcode of the answer. Frame: version, flags, stream, opcode, length, body."""
    connection.sendall(struct.pack(">BBhBi", 4, 0, 0, opcode, len(body)) + body)
    _, _, _, answer, size = struct.unpack(">BBhBi", _read(connection, 9))
    _read(connection, size)
    return int(answer)


@contextlib.contextmanager
def _connection(host: str, port: int, tls: bool) -> Iterator[socket.socket]:
    with socket.create_connection((host, port), _TIMEOUT_S) as plain:
        if plain.getsockname() == plain.getpeername():  # our port connected to itself, so nobody listens
            raise ConnectionRefusedError
        if not tls:
            yield plain
            return
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE  # this only asks whether it answers; clients check the certificate
        with context.wrap_socket(plain) as secure:
            yield secure


def _read(connection: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        part = connection.recv(size - len(data))
        if not part:
            raise ConnectionResetError
        data += part
    return data
