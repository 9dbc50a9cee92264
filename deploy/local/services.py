"""The services of one home: starts Kafka and Cassandra, waits for them, disturbs them for tests, stops them."""

from __future__ import annotations

import contextlib
import fcntl
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import TracebackType

import msgspec
import psutil  # type: ignore[import-untyped]

from deploy.local import cassandra, kafka
from deploy.local.downloads.jars import class_path, default_cache
from deploy.local.downloads.java import find_java
from deploy.local.errors import ServicesError
from deploy.local.faults import fault, last_words
from deploy.local.guard import Guard
from deploy.local.planning import adopt, plan
from deploy.local.settings import FORMAT, Server, ServicesSettings, ServicesState
from deploy.local.system import processes
from deploy.local.system.probes import cassandra_answers, change_password, kafka_answers
from deploy.local.tls import make_certificate

_POLL_S = 0.1
_PROGRESS_EVERY_S = 5.0
_BOOTSTRAPPED = ".joined"
_FIRST_PASSWORD = "cassandra"  # of the user cassandra, in every new Cassandra
"""A file in a node's folder: the node has joined the ring, so it need not wait for its turn again."""


def _quiet(_: str) -> None:
    """Say nothing."""


class Services:
    """The services of a home. Several threads and processes may use it at once; every change takes a lock."""

    def __init__(
        self,
        home: Path,
        settings: ServicesSettings | None = None,
        *,
        cache: Path | None = None,
        say: Callable[[str], None] = _quiet,
    ) -> None:
        """Name the home; nothing starts yet.

        Args:
            home: the folder.
            settings: choices for a new home.
            cache: the folder with the jars of all homes.
            say: gets one line at each step.
        """
        self.home = home.expanduser().resolve()
        self._settings = settings or ServicesSettings()
        self._cache = cache or default_cache()
        self._say = say
        self._class_paths: dict[str, str] = {}
        self._guard: Guard | None = None

    @property
    def file(self) -> Path:
        """HOME/services.json: a `ServicesState`."""
        return self.home / "services.json"

    @property
    def bootstrap(self) -> str:
        """Kafka's addresses as HOST:PORT, separated by commas."""
        return ",".join(self._known().bootstrap)

    @property
    def contact_points(self) -> list[str]:
        """Cassandra's addresses."""
        return self._known().contact_points

    @property
    def cassandra_port(self) -> int:
        """The client port of each node. Raises ServicesError if the home has no node."""
        port = self._known().cassandra_port
        if port is None:
            raise ServicesError(f"{self.home} has no Cassandra node; it was made with nodes 0")
        return port

    def __enter__(self) -> Services:
        """Start the services, and make sure that none outlives this process, even if it is killed."""
        self._guard = Guard(self.home)
        try:
            self.up()
        except BaseException:
            self._guard.release()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop the services."""
        try:
            self.down()
        finally:
            if self._guard is not None:
                self._guard.release()

    def up(self) -> ServicesState:
        """Start what does not run, resume what is paused, wait until all answer, and return the status.

        Raises:
            ServicesError: a port is taken, the home has other servers, or a server ended or did not answer in time.
                What this call has started is then stopped again.
        """
        with self._locked():
            running = processes.find(self.home)
            state = self._planned(running)
            self._write(state)
            started: list[str] = []
            try:
                for wave in _waves(state):
                    for server in wave:
                        if server.name in running:
                            server.pid = running[server.name].pid
                            running[server.name].resume()  # a paused server would never answer
                        else:
                            started.append(server.name)
                            self._spawn(state, server)
                    self._await(state, wave)
            except BaseException:
                self._stop(started)
                self._write(state)
                raise
            self._write(state)
        return self._live(state)

    def down(self) -> list[str]:
        """Stop every server of the home, also left-over ones: TERM, and KILL after a bound. Returns their names."""
        with self._locked():
            names = self._stop(list(processes.find(self.home)))
            state = self._read()
            if state is not None:
                self._write(state)
        return names

    def status(self) -> ServicesState | None:
        """Return what runs, where, and whether it answers; None if the home has no services."""
        state = self._read()
        return None if state is None else self._live(state)

    def left_over(self) -> list[str]:
        """Return servers that run for this home but are not in its services.json, one sentence for each."""
        state = self._read()
        known = {server.name for server in state.servers} if state else set()
        return [
            f"{name} runs as process {process.pid} since {processes.started_at(process)}"
            for name, process in processes.find(self.home).items()
            if name not in known
        ]

    def kill(self, name: str) -> None:
        """Kill one server, and wait until it is gone. It stays down until `start` or `up`."""
        processes.kill(self._process(name))

    def pause(self, name: str) -> None:
        """Send SIGSTOP: it keeps its connections and answers nothing. Raises ServicesError if it does not stop."""
        try:
            processes.pause(self._process(name))
        except (TimeoutError, psutil.NoSuchProcess) as error:
            raise ServicesError(
                f"{name} cannot be paused: {error}; look at it with `groknet services status`"
            ) from None

    def resume(self, name: str) -> None:
        """Send SIGCONT."""
        self._process(name).resume()

    def stop(self, name: str) -> None:
        """Stop one server as `down` does."""
        self._process(name)
        self._stop([name])

    def start(self, name: str) -> None:
        """Start one server that is down, and wait until it answers."""
        state = self._known()
        server = _named(state, name)
        with self._locked():
            if name in processes.find(self.home):
                raise ServicesError(f"{name} runs already; stop it first")
            self._spawn(state, server)
        self._await(state, [server])
        with self._locked():
            self._write(state)

    def restart(self, name: str) -> None:
        """Stop one server if it runs, start it, and wait until it answers."""
        self._stop([name])
        self.start(name)

    def _planned(self, running: dict[str, psutil.Process]) -> ServicesState:
        state = self._read()
        left = self.left_over()
        if left:
            raise ServicesError(f"{'; '.join(left)}: left over; stop with `groknet services down --home {self.home}`")
        if state is None:
            return plan(self.home, self._settings)
        return adopt(state, self._settings, set(running), self._say)

    def _spawn(self, state: ServicesState, server: Server) -> None:
        java = find_java()
        kind = server.name.partition("-")[0]
        path = self._class_path(kind)
        folder = Path(server.folder)
        (self.home / "services").mkdir(mode=0o700, exist_ok=True)
        folder.mkdir(parents=True, exist_ok=True)
        Path(server.logs[0]).parent.mkdir(parents=True, exist_ok=True)
        security = state.security
        if security.kafka_tls or security.cassandra_tls:
            hosts = sorted({entry.host for entry in state.servers})
            trusted = make_certificate(java, self.home / "services" / "tls", hosts, security.store_password or "")
            security.ca_file = str(trusted)
        output = Path(server.logs[1])
        if kind == "kafka":
            kafka.write_files(state, server, self._settings)
            if not kafka.is_formatted(server):
                try:
                    self._format(kafka.format_command(java, server, state.cluster_id, security), path, server)
                finally:
                    kafka.format_file(server).unlink(missing_ok=True)
            command = kafka.start_command(java, state, server, self._settings)
        else:
            cassandra.write_files(state, server, self._settings)
            command = cassandra.start_command(java, path, state, server, self._settings)
        server.pid = processes.spawn(command, {"CLASSPATH": path}, output)

    def _class_path(self, kind: str) -> str:
        if kind not in self._class_paths:
            self._class_paths[kind] = class_path(kind, self._cache, self._say)
        return self._class_paths[kind]

    def _format(self, command: Sequence[str], path: str, server: Server) -> None:
        ended = subprocess.run(
            command, env={"CLASSPATH": path}, capture_output=True, text=True, check=False, timeout=120
        )
        if ended.returncode:
            words = (ended.stdout + ended.stderr).strip().splitlines() or ["it said nothing"]
            raise ServicesError(f"{server.name}: its folder cannot be formatted: {fault(words)}")

    def _await(self, state: ServicesState, servers: Sequence[Server]) -> None:
        began = time.monotonic()
        waiting, spoken = list(servers), began
        while waiting:
            for server in list(waiting):
                if _answers(state, server) or (self._set_password(state, server) and _answers(state, server)):
                    waiting.remove(server)
                    self._ready(server, time.monotonic() - began)
                elif server.pid is None or not processes.lives(server.pid):
                    raise ServicesError(f"{server.name} ended before it answered: {last_words(server)}")
            now = time.monotonic()
            if waiting and now - began > self._settings.start_timeout_s:
                name, limit = waiting[0].name, self._settings.start_timeout_s
                raise ServicesError(f"{name} did not answer within {limit:.0f} s; see {waiting[0].logs[0]}")
            if waiting and now - spoken >= _PROGRESS_EVERY_S:
                spoken = now
                self._say(f"waiting for {', '.join(server.name for server in waiting)} ({now - began:.0f} s)")
            time.sleep(_POLL_S if waiting else 0)

    def _set_password(self, state: ServicesState, server: Server) -> bool:
        """Replace Cassandra's well-known first password at the first start. Returns whether that was done now."""
        user, password = state.security.cassandra_user, state.security.cassandra_password
        if user is None or password is None or not server.name.startswith("cassandra"):
            return False
        if any((Path(one.folder) / _BOOTSTRAPPED).exists() for one in state.servers):
            return False
        tls, port = state.security.cassandra_tls, server.ports["client"]
        return change_password(server.host, port, tls=tls, user=user, old=_FIRST_PASSWORD, new=password)

    def _ready(self, server: Server, seconds: float) -> None:
        if server.name.startswith("cassandra"):
            (Path(server.folder) / _BOOTSTRAPPED).touch()
        self._say(f"{server.name} answers on {server.host}:{server.ports['client']} after {seconds:.1f} s")

    def _stop(self, names: Sequence[str]) -> list[str]:
        """Stop some servers: TERM to all, and KILL to those left after the bound."""
        found = {name: process for name, process in processes.find(self.home).items() if name in names}
        for process in found.values():
            processes.terminate(process)
        deadline = time.monotonic() + self._settings.stop_timeout_s
        for name, process in found.items():
            if not processes.wait(process, max(0.01, deadline - time.monotonic())):
                self._say(f"{name} (process {process.pid}) did not stop within the bound; killed")
                processes.kill(process)
        return sorted(found)

    def _live(self, state: ServicesState) -> ServicesState:
        """Return the state with current values of process, memory and readiness."""
        found = processes.find(self.home)
        for server in state.servers:
            process = found.get(server.name)
            server.pid, server.started_at, server.state, server.resident_bytes = None, None, "down", 0
            if process is None:
                continue
            try:
                server.started_at = processes.started_at(process)
                server.resident_bytes = int(process.memory_info().rss)
                paused = processes.is_paused(process)
            except psutil.NoSuchProcess:
                continue
            server.pid = process.pid
            server.state = "paused" if paused else "ready" if _answers(state, server) else "starting"
        return state

    def _process(self, name: str) -> psutil.Process:
        process = processes.find(self.home).get(name)
        if process is None:
            names = ", ".join(sorted(processes.find(self.home))) or "nothing"
            raise ServicesError(f"{name} does not run on {self.home}; there runs {names}")
        return process

    def _known(self) -> ServicesState:
        state = self._read()
        if state is None:
            raise ServicesError(f"{self.home} has no services; start some: `groknet services up --home {self.home}`")
        return state

    def _read(self) -> ServicesState | None:
        try:
            state = msgspec.json.decode(self.file.read_bytes(), type=ServicesState)
        except FileNotFoundError:
            return None
        except (OSError, msgspec.DecodeError) as error:
            raise ServicesError(f"{self.file} cannot be read ({error}); remove it when nothing runs here") from None
        if state.format != FORMAT:
            raise ServicesError(f"{self.file} has format {state.format}, not {FORMAT}; use another --home")
        return state

    def _write(self, state: ServicesState) -> None:
        part = self.file.with_suffix(".part")
        part.unlink(missing_ok=True)
        part.touch(mode=0o600)
        part.write_bytes(msgspec.json.format(msgspec.json.encode(self._live(state))) + b"\n")
        part.replace(self.file)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        try:
            self.home.mkdir(mode=0o700, parents=True, exist_ok=True)
            file = (self.home / ".services.lock").open("a")
        except OSError as error:
            raise ServicesError(f"--home {self.home}: {error.strerror}; name a folder that you can write to") from None
        with file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


def _waves(state: ServicesState) -> Iterator[list[Server]]:
    """Yield groups of servers that may start together. New nodes come alone, because only one may join at a time."""
    brokers = [server for server in state.servers if server.name.startswith("kafka")]
    nodes = [server for server in state.servers if server.name.startswith("cassandra")]
    fresh = [node for node in nodes[1:] if not (Path(node.folder) / _BOOTSTRAPPED).exists()]
    yield [*brokers, *(node for node in nodes if node not in fresh)]
    for node in fresh:
        yield [node]


def _answers(state: ServicesState, server: Server) -> bool:
    port, security = server.ports["client"], state.security
    if server.name.startswith("kafka"):
        return kafka_answers(server.host, port, tls=security.kafka_tls)
    return cassandra_answers(
        server.host,
        port,
        tls=security.cassandra_tls,
        user=security.cassandra_user,
        password=security.cassandra_password,
    )


def _named(state: ServicesState, name: str) -> Server:
    server = state.server(name)
    if server is None:
        raise ServicesError(f"{name}: no such server; there are {', '.join(entry.name for entry in state.servers)}")
    return server
