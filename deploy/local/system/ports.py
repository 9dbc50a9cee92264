"""TCP ports on loopback: which are free, and which process has a taken one."""

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
    """Return whether a server could listen there now."""
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port))
        except OSError:
            return False
        return True


def free_ports(hosts: Collection[str], home: Path, taken: Collection[int]) -> Iterator[int]:
    """Return ports that are free on every host. Each home starts its search at another port."""
    span = _HIGHEST - _LOWEST
    start = zlib.crc32(str(home).encode()) % span
    for step in range(span):
        port = _LOWEST + (start + step) % span
        if port not in taken and all(is_free(host, port) for host in hosts):
            yield port


def holder(port: int) -> str:
    """Return which process listens on a port, as text; `another process` if the system does not say."""
    try:
        for connection in psutil.net_connections(kind="tcp"):
            if connection.status == psutil.CONN_LISTEN and connection.laddr.port == port and connection.pid:
                return f"process {connection.pid} ({psutil.Process(connection.pid).name()})"
    except psutil.Error:
        pass
    return "another process"
