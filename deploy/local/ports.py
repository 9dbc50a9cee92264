"""Ports on loopback: which are free, and who holds one that is not."""

from __future__ import annotations

import socket
import zlib
from collections.abc import Collection, Iterator
from pathlib import Path

import psutil  # type: ignore[import-untyped]

# Below every system's range for outgoing connections (Linux: from 32768). A port inside it can be taken by any client,
# even by one that connects to the very server that is just being restarted.
_LOWEST, _HIGHEST = 15_000, 32_000


def is_free(host: str, port: int) -> bool:
    """True when a server could listen there now."""
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port))
        except OSError:
            return False
        return True


def free_ports(hosts: Collection[str], home: Path, taken: Collection[int]) -> Iterator[int]:
    """Ports that are free on each of the hosts; the search starts where another home's would not."""
    span = _HIGHEST - _LOWEST
    start = zlib.crc32(str(home).encode()) % span
    for step in range(span):
        port = _LOWEST + (start + step) % span
        if port not in taken and all(is_free(host, port) for host in hosts):
            yield port


def holder(port: int) -> str:
    """Who listens on a port, as words; where the system does not tell, `another process`."""
    try:
        for connection in psutil.net_connections(kind="tcp"):
            if connection.status == psutil.CONN_LISTEN and connection.laddr.port == port and connection.pid:
                return f"process {connection.pid} ({psutil.Process(connection.pid).name()})"
    except psutil.Error:
        pass
    return "another process"
