"""Running workers. Each writes HOME/run/<worker>.json, and holds a lock that ends with its process."""

from __future__ import annotations

import fcntl
import socket
import time
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

import msgspec

from engines.files import write_file
from groknet.cli.exits import CommandError, Exit
from groknet.home.paths import Home

Worker = Literal["tagger", "indexer", "search", "products"]
SUPERVISOR = "supervisor"
SERVICES = ("stream", "store")
"""The services that workers need. While a starting worker waits for one, /readyz names it: `the stream: …`."""
_GAVE_UP = "gave-up"


class Running(msgspec.Struct, frozen=True, kw_only=True):
    """`HOME/run/<worker>.json`: the process, and the address on which it answers HTTP."""

    pid: int
    host: str
    port: int

    @property
    def url(self) -> str:
        """The base URL, without a slash at the end."""
        return f"http://{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"


class Lock:
    """An exclusive lock on a name in a home. It ends with `release` or with the process, even after kill -9."""

    def __init__(self, home: Home, name: str, patience_s: float = 0.0) -> None:
        """Take the lock, and wait for it at most `patience_s` seconds. Raises CommandError, which names the process
        that has it."""
        self._file = (home.run / f"{name}.lock").open("a")
        deadline = time.monotonic() + patience_s
        while True:
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except OSError:
                if time.monotonic() >= deadline:
                    self._file.close()
                    raise _already_running(home, name) from None
                time.sleep(0.05)

    def release(self) -> None:
        """Release the lock."""
        self._file.close()


def _already_running(home: Home, name: str) -> CommandError:
    running = read_running(home, name)
    who = f"process {running.pid}" if running else "another process"
    text = f"{name} is running already on {home.root} as {who}; stop it with `kill {running.pid if running else 'PID'}`"
    return CommandError(f"{text}, or use another --home", Exit.USAGE)


def write_running(home: Home, name: str, running: Running) -> None:
    """Announce a worker. Readers see either the old file or the new one, never a part of it."""
    write_file(home.run / f"{name}.json", msgspec.json.encode(running) + b"\n", shared=True)


def forget_running(home: Home, name: str) -> None:
    """Remove the announcement."""
    (home.run / f"{name}.json").unlink(missing_ok=True)


def read_running(home: Home, name: str) -> Running | None:
    """The announcement, even if its process has ended. None if there is none."""
    try:
        return msgspec.json.decode((home.run / f"{name}.json").read_bytes(), type=Running)
    except (OSError, msgspec.DecodeError):
        return None


def write_gave_up(home: Home, names: dict[str, str]) -> None:
    """Record which workers the supervisor of a home has given up, and why."""
    if names:
        write_file(home.run / f"{_GAVE_UP}.json", msgspec.json.encode(names) + b"\n", shared=True)
    else:
        (home.run / f"{_GAVE_UP}.json").unlink(missing_ok=True)


def read_gave_up(home: Home) -> dict[str, str]:
    """The workers that the running supervisor of a home has given up, and why. Empty if no supervisor runs."""
    try:
        found = msgspec.json.decode((home.run / f"{_GAVE_UP}.json").read_bytes(), type=dict[str, str])
    except (OSError, msgspec.DecodeError):
        return {}
    return found if is_locked(home, SUPERVISOR) else {}


def usual_port(home: Home, name: str, host: str, wanted: int) -> int:
    """The TCP port of a worker. It is `wanted`; for 0 it is the port that this worker had last in this home, if it is
    free, and otherwise a new one, which is remembered.

    So a worker that is started again answers on the same port, and its clients need not look for it.
    """
    if wanted:
        return wanted
    for port in port_candidates(home, name):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
            except OSError:
                continue
            free = int(probe.getsockname()[1])
            remember_port(home, name, free)
            return free
    return 0


def port_candidates(home: Home, name: str, preferred: int = 0) -> list[int]:
    """The TCP ports to try for a worker, in their order: the one it had last in this home, the preferred one, and 0 for
    any free one. Zeros stand only at the end."""
    return [*dict.fromkeys(port for port in (_port_in(home.run / f"{name}.port"), preferred) if port), 0]


def remember_port(home: Home, name: str, port: int) -> None:
    """Remember a worker's TCP port for its next start in this home."""
    write_file(home.run / f"{name}.port", str(port).encode(), shared=True)


def forget_port(home: Home, name: str) -> None:
    """Forget a worker's TCP port, so that its next start tries the preferred one first."""
    (home.run / f"{name}.port").unlink(missing_ok=True)


def holder_of(home: Home, host: str, port: int) -> str:
    """The process that probably has a taken port, in words that follow "is taken by"."""
    for path in sorted(home.run.glob("*.json")):
        running = read_running(home, path.stem)
        if running is not None and running.port == port and path.stem != SUPERVISOR and is_locked(home, path.stem):
            return f"{path.stem} of this home (process {running.pid})"
    try:
        _, body = Http(Running(pid=0, host=host, port=port).url, 1.0).request("GET", "/readyz")
    except OSError:
        body = None
    ours = isinstance(body, dict) and "waiting_for" in body
    return "a groknet worker of another home" if ours else "a program that is not groknet"


def _port_in(path: Path) -> int:
    """The port in a file. 0 if there is none, for example after a full disk."""
    try:
        port = int(path.read_bytes())
    except (OSError, ValueError):
        return 0
    return port if 0 < port < 65536 else 0


def is_locked(home: Home, name: str) -> bool:
    """True while a process holds the lock. Only the lock proves that the process runs."""
    path: Path = home.run / f"{name}.lock"
    if not path.exists():
        return False
    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return True
    return False


class Http:
    """A small HTTP client for a worker on loopback. It opens a connection for each request, which takes 0.25 ms there.
    So no connection is left half open when a worker is restarted."""

    def __init__(self, url: str, timeout_s: float = 10.0, token: str | None = None) -> None:
        parts = urlsplit(url)
        self._address = parts.hostname or "127.0.0.1", parts.port
        self._timeout_s = timeout_s
        self._headers = {"authorization": f"Bearer {token}"} if token else {}

    def request(
        self, method: str, path: str, body: bytes | None = None, content_type: str | None = None
    ) -> tuple[int, Any]:
        """Status and decoded JSON (None if the answer is not JSON). Raises OSError if nobody answers."""
        status, data = self.fetch(method, path, body, content_type)
        try:
            return status, msgspec.json.decode(data)
        except msgspec.DecodeError:
            return status, None

    def fetch(
        self, method: str, path: str, body: bytes | None = None, content_type: str | None = None
    ) -> tuple[int, bytes]:
        """Status and body as bytes. Raises OSError if nobody answers."""
        connection = HTTPConnection(*self._address, timeout=self._timeout_s)
        try:
            headers = self._headers | ({"content-type": content_type} if content_type else {})
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            return answer.status, answer.read()
        except HTTPException as error:
            raise ConnectionError(str(error)) from error
        finally:
            connection.close()


class Hold(msgspec.Struct, frozen=True, kw_only=True):
    """A hold: a service does not answer, and the worker keeps its events in hand. `since` is in UTC seconds."""

    service: str
    since: float
    why: str = ""


class Readiness(msgspec.Struct, frozen=True, kw_only=True):
    """The answer of a worker at /readyz."""

    ready: bool
    standby: bool = False
    """Whether it waits for another worker that does its work, and would take over."""
    stale: bool = False
    waiting_for: str = ""
    hold: Hold | None = None
    degraded: dict[str, str] = {}
    """The services that are away although the worker needs them for a part of its answers, each with the reason."""


def readiness(running: Running, timeout_s: float = 2.0) -> Readiness | None:
    """The answer of a worker at /readyz. None if it does not answer, or if the answer is not that of a worker."""
    try:
        _, body = Http(running.url, timeout_s).request("GET", "/readyz")
        return msgspec.convert(body, Readiness)
    except (OSError, msgspec.ValidationError):
        return None


def is_ready(running: Running, timeout_s: float = 2.0) -> bool:
    """True if the worker says at /readyz that it is ready."""
    says = readiness(running, timeout_s)
    return says is not None and says.ready
