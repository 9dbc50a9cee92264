"""What a home is given before anything starts: ports, files, jars."""

from __future__ import annotations

import hashlib
import http.server
import os
import re
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

import deploy.local
from deploy.local import Services, ServicesError, ServicesSettings, ServicesState
from deploy.local.cassandra import configuration
from deploy.local.downloads.jars import REPOSITORY_VARIABLE, Jar, class_path, fetch, read_lock
from deploy.local.downloads.java import JAVA_VARIABLE, find_java
from deploy.local.downloads.relock import SERVERS
from deploy.local.faults import fault
from deploy.local.kafka import properties
from deploy.local.planning import adopt, plan

ROOM = Path(deploy.local.__file__).parent
NO_OTHER = ServicesSettings()


def quiet(_: str) -> None:
    """Say nothing."""


def listen() -> socket.socket:
    taken = socket.socket()
    taken.bind(("127.0.0.1", 0))
    taken.listen()
    return taken


def all_ports(state: ServicesState) -> list[tuple[str, int]]:
    return [(server.host, port) for server in state.servers for port in server.ports.values()]


def test_every_home_has_passwords_of_its_own(tmp_path: Path) -> None:
    """Cassandra's well-known first password is none of them."""
    secured = ServicesSettings(kafka_protocol="SASL_SSL", cassandra_auth=True)
    homes = [plan(tmp_path / name, secured).security for name in ("one", "two")]
    passwords = {word for home in homes for word in (home.kafka_password, home.cassandra_password, home.store_password)}
    assert len(passwords) == 6
    assert all(word is not None and re.fullmatch(r"[A-Za-z0-9_-]{20,}", word) for word in passwords)


def test_all_servers_listen_on_loopback_alone(tmp_path: Path) -> None:
    state = plan(tmp_path, ServicesSettings(brokers=3, nodes=3))
    assert {server.host for server in state.servers} <= {"127.0.0.1", "127.0.0.2", "127.0.0.3"}
    for server in state.servers:
        if server.name.startswith("cassandra"):
            written = configuration(state, server, NO_OTHER)
            assert written["listen_address"] == written["rpc_address"] == server.host
        else:
            listeners = properties(state, server, NO_OTHER)["listeners"].split(",")
            assert listeners
            assert all(re.search(r"://127\.0\.0\.1:\d+$", one) for one in listeners)


@pytest.mark.parametrize("count", [0, 1, 3])
def test_no_port_is_given_out_twice(tmp_path: Path, count: int) -> None:
    state = plan(tmp_path, ServicesSettings(brokers=count, nodes=count))
    ports = all_ports(state)
    assert len(ports) == len(set(ports)) == 5 * count
    assert len(state.bootstrap) == len(state.contact_points) == count


def test_usual_ports_that_are_taken_are_left_to_their_owner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with listen() as kafka, listen() as cassandra:
        monkeypatch.setattr("deploy.local.planning._KAFKA_PORT", kafka.getsockname()[1])
        monkeypatch.setattr("deploy.local.planning._CASSANDRA_PORT", cassandra.getsockname()[1])
        ports = {port for _, port in all_ports(plan(tmp_path, NO_OTHER))}
    assert len(ports) == 5
    assert all(15_000 <= port < 32_000 for port in ports)


@pytest.mark.parametrize("option", ["kafka_port", "cassandra_port"])
def test_a_named_port_that_is_taken_is_refused_with_its_holder(tmp_path: Path, option: str) -> None:
    with listen() as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ServicesError, match=rf"port {port} is taken by process {os.getpid()} \(py"):
            Services(tmp_path, ServicesSettings(**{option: port})).up()
    assert Services(tmp_path).status() is None


def test_a_kept_port_that_is_taken_moves_and_is_named(tmp_path: Path) -> None:
    state = plan(tmp_path, NO_OTHER)
    said: list[str] = []
    with listen() as taken:
        port = taken.getsockname()[1]
        state.servers[0].ports["client"] = port
        adopted = adopt(state, NO_OTHER, (), said.append)
    moved = adopted.servers[0].ports["client"]
    assert moved != port
    assert adopted.bootstrap == [f"127.0.0.1:{moved}"]
    assert len(said) == 1
    assert re.match(rf"port {port} of kafka-1 is taken by process \d+ \(.*; it moves to {moved}$", said[0])


def test_ports_can_be_named_anew_while_nothing_runs(tmp_path: Path) -> None:
    with listen() as probe:
        port = probe.getsockname()[1]
    state = adopt(plan(tmp_path, NO_OTHER), ServicesSettings(cassandra_port=port), (), quiet)
    assert state.cassandra_port == port


def test_impossible_numbers_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ServicesError, match="--brokers 2: can be 0, 1 or 3"):
        plan(tmp_path, ServicesSettings(brokers=2))


def test_three_brokers_keep_three_copies_and_vote(tmp_path: Path) -> None:
    state = plan(tmp_path, ServicesSettings(brokers=3, nodes=0))
    written = properties(state, state.servers[1], ServicesSettings(kafka_options={"num.io.threads": "9"}))
    controllers = [server.ports["controller"] for server in state.servers]
    assert written["node.id"] == "2"
    assert written["controller.quorum.voters"] == ",".join(
        f"{number}@127.0.0.1:{port}" for number, port in enumerate(controllers, 1)
    )
    assert (written["default.replication.factor"], written["min.insync.replicas"]) == ("3", "2")
    assert "CONTROLLER" not in written["advertised.listeners"]
    assert written["num.io.threads"] == "9"


def test_three_nodes_share_ports_and_differ_in_address(tmp_path: Path) -> None:
    state = plan(tmp_path, ServicesSettings(brokers=0, nodes=3))
    written = [configuration(state, server, NO_OTHER) for server in state.servers]
    assert [entry["listen_address"] for entry in written] == ["127.0.0.1", "127.0.0.2", "127.0.0.3"]
    for key in ("storage_port", "native_transport_port", "seed_provider"):
        assert len({str(entry[key]) for entry in written}) == 1


def test_locks_pin_what_they_were_resolved_from() -> None:
    for server, coordinates in SERVERS.items():
        jars = read_lock(ROOM / "downloads" / f"{server}.lock")
        pinned = {f"{jar.group}:{jar.artifact}:{jar.version}" for jar in jars}
        assert pinned >= set(coordinates)
        assert len({jar.path for jar in jars}) == len(jars)
        assert all(re.fullmatch(r"[0-9a-f]{64}", jar.sha256) and jar.size > 0 for jar in jars)


class _Repository(http.server.BaseHTTPRequestHandler):
    """A Maven repository that has one jar, and another one under its name the first times it is asked."""

    content = b"jar"
    wrong_answers = 0

    def do_GET(self) -> None:
        found = self.path == "/org/example/tool/1.0/tool-1.0-linux.jar"
        body = (b"not" if type(self).wrong_answers > 0 else self.content) if found else b""
        type(self).wrong_answers -= found
        self.send_response(200 if found else 404)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing on stderr."""


@pytest.fixture
def repository(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[_Repository]]:
    kind = type("Repository", (_Repository,), {})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), kind)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    monkeypatch.setenv(REPOSITORY_VARIABLE, f"http://127.0.0.1:{server.server_port}/")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    try:
        yield kind
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


TOOL = Jar("org.example", "tool", "1.0", "linux", hashlib.sha256(b"jar").hexdigest(), 3)


def test_a_wrong_download_is_tried_again(repository: type[_Repository], tmp_path: Path) -> None:
    repository.wrong_answers = 2
    assert fetch(TOOL, tmp_path).read_bytes() == b"jar"


def test_what_the_lock_does_not_pin_is_refused(repository: type[_Repository], tmp_path: Path) -> None:
    repository.wrong_answers = 99
    with pytest.raises(ServicesError, match=r"tool-1\.0-linux\.jar is not the file that the lock pins"):
        fetch(TOOL, tmp_path)


def test_an_absent_jar_is_named(repository: type[_Repository], tmp_path: Path) -> None:
    with pytest.raises(ServicesError, match=r"\.jar cannot be downloaded.*GROKNET_MAVEN_REPOSITORY"):
        class_path("kafka", tmp_path, quiet)
    assert not list((tmp_path / "jars").rglob("*.jar"))


def test_java_of_another_version_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    java = tmp_path / "java"
    java.write_text("#!/bin/sh\necho 'openjdk version \"21.0.1\"' >&2\n")
    java.chmod(0o700)
    monkeypatch.setenv(JAVA_VARIABLE, str(java))
    with pytest.raises(ServicesError, match="its version is 21; name a `java` of version 17"):
        find_java()
    monkeypatch.setenv(JAVA_VARIABLE, str(tmp_path / "none"))
    with pytest.raises(ServicesError, match="does not run"):
        find_java()


def test_a_fault_is_the_root_cause_and_not_its_stack() -> None:
    lines = [
        "ERROR Exception encountered during startup",
        "java.lang.IllegalStateException: Failed to bind port 26000",
        "\tat org.apache.cassandra.Some.method(Some.java:1)",
        "Caused by: io.netty.Errors$NativeIoException: bind failed: Address already in use",
        "\tat io.netty.Some.method(Some.java:2)",
        "INFO stopping",
    ]
    assert fault(lines) == lines[3]
    assert fault(["INFO one", "INFO two"]) == "INFO two"
    assert fault([]) == "it said nothing"
