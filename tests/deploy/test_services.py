"""Real servers: what is written comes back, also after kill -9; nothing starts twice, nothing is left behind."""

from __future__ import annotations

import contextlib
import json
import os
import ssl
import subprocess
import sys
import threading
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import psutil
import pytest

from deploy.local import Services, ServicesError, ServicesSettings, ServicesState
from groknet.cli import run
from groknet.cli.exits import Exit

pytestmark = [
    pytest.mark.services,
    pytest.mark.filterwarnings("ignore:(read|open)_text is deprecated:DeprecationWarning"),  # kafka-python 3.0.12
]


def kafka_options(services: Services, mechanism: str | None = None, password: str | None = None) -> dict[str, Any]:
    """What any kafka-python client of these services is built with."""
    options: dict[str, Any] = {"bootstrap_servers": services.bootstrap}
    security = status(services).security
    if mechanism:
        options |= {
            "security_protocol": security.kafka_protocol,
            "sasl_mechanism": mechanism,
            "sasl_plain_username": security.kafka_user,
            "sasl_plain_password": password or security.kafka_password,
            "ssl_cafile": security.ca_file,
        }
    return options


def status(services: Services) -> ServicesState:
    state = services.status()
    assert state is not None
    return state


def make_topic(options: dict[str, Any]) -> str:
    from kafka.admin import KafkaAdminClient, NewTopic

    topic = f"t-{uuid.uuid4()}"
    admin = KafkaAdminClient(**options)
    try:
        admin.create_topics([NewTopic(topic, num_partitions=1, replication_factor=1)])
    finally:
        admin.close()
    return topic


def send(options: dict[str, Any], topic: str, values: list[bytes]) -> None:
    from kafka import KafkaProducer

    producer = KafkaProducer(**options, acks="all")
    try:
        for sent in [producer.send(topic, value) for value in values]:
            sent.get(timeout=30)
    finally:
        producer.close()


def receive(options: dict[str, Any], topic: str, count: int) -> list[bytes]:
    from kafka import KafkaConsumer, TopicPartition

    consumer = KafkaConsumer(**options)
    try:
        consumer.assign([TopicPartition(topic, 0)])
        consumer.seek_to_beginning()
        found: list[bytes] = []
        for _ in range(60):
            for records in consumer.poll(timeout_ms=500).values():
                found += [record.value for record in records]
            if len(found) >= count:
                break
        return found
    finally:
        consumer.close()


@contextlib.contextmanager
def session(services: Services, password: str | None = None) -> Iterator[Any]:
    from cassandra.auth import PlainTextAuthProvider
    from cassandra.cluster import EXEC_PROFILE_DEFAULT, Cluster, ExecutionProfile
    from cassandra.policies import WhiteListRoundRobinPolicy

    security = status(services).security
    options: dict[str, Any] = {}
    if security.cassandra_user:
        options["auth_provider"] = PlainTextAuthProvider(
            security.cassandra_user, password or security.cassandra_password
        )
    if security.cassandra_tls:
        options["ssl_context"] = ssl.create_default_context(cafile=security.ca_file)
        options["ssl_options"] = {"server_hostname": "localhost"}
    policy = WhiteListRoundRobinPolicy(services.contact_points)
    cluster = Cluster(
        services.contact_points,
        port=services.cassandra_port,
        protocol_version=5,
        execution_profiles={EXEC_PROFILE_DEFAULT: ExecutionProfile(load_balancing_policy=policy)},
        **options,
    )
    try:
        yield cluster.connect()
    finally:
        cluster.shutdown()


def write_rows(cql: Any, rows: dict[int, str]) -> str:
    keyspace = f"k{uuid.uuid4().hex}"
    cql.execute(f"CREATE KEYSPACE {keyspace} WITH replication = {{'class': 'SimpleStrategy', 'replication_factor': 1}}")
    cql.execute(f"CREATE TABLE {keyspace}.t (id int PRIMARY KEY, text text)")
    insert = cql.prepare(f"INSERT INTO {keyspace}.t (id, text) VALUES (?, ?)")
    for entry in rows.items():
        cql.execute(insert, entry)
    return keyspace


def read_rows(cql: Any, keyspace: str) -> dict[int, str]:
    return {row.id: row.text for row in cql.execute(f"SELECT id, text FROM {keyspace}.t")}


def test_a_record_comes_back(services: Services) -> None:
    options = kafka_options(services)
    topic = make_topic(options)
    send(options, topic, [b"lamp"])
    assert receive(options, topic, 1) == [b"lamp"]


def test_a_row_comes_back(services: Services) -> None:
    with session(services) as cql:
        assert read_rows(cql, write_rows(cql, {1: "lamp"})) == {1: "lamp"}


def test_nothing_acknowledged_is_lost_by_kill_9(services: Services) -> None:
    options = kafka_options(services)
    topic = make_topic(options)
    values = [f"value {number}".encode() for number in range(200)]
    send(options, topic, values)
    before = {server.name: server.pid for server in status(services).servers}

    services.kill("kafka-1")
    with session(services) as cql:
        keyspace = write_rows(cql, {})
        acknowledged, writer = keep_writing(cql, keyspace)
        while writer.is_alive() and len(acknowledged) < 200:
            writer.join(0.001)
        services.kill("cassandra-1")
        writer.join()
    assert {server.state for server in status(services).servers} == {"down"}
    services.up()

    after = {server.name: server.pid for server in status(services).servers}
    assert all(after[name] not in {None, before[name]} for name in before)
    assert receive(options, topic, len(values)) == values
    with session(services) as cql:
        assert len(acknowledged) >= 200
        assert set(acknowledged) <= set(read_rows(cql, keyspace))


def keep_writing(cql: Any, keyspace: str) -> tuple[list[int], threading.Thread]:
    """Write rows until that fails; returns the list of those that were acknowledged, which grows meanwhile."""
    insert = cql.prepare(f"INSERT INTO {keyspace}.t (id, text) VALUES (?, ?)")
    acknowledged: list[int] = []

    def write() -> None:
        with contextlib.suppress(Exception):  # any kind: the server is killed under it
            while True:
                cql.execute(insert, (len(acknowledged), "row"), timeout=5.0)
                acknowledged.append(len(acknowledged))

    writer = threading.Thread(target=write)
    writer.start()
    return acknowledged, writer


def test_up_where_all_is_up_changes_nothing(services: Services) -> None:
    before = [(server.name, server.pid, server.started_at, server.ports) for server in status(services).servers]
    again = Services(services.home).up()
    assert [(server.name, server.pid, server.started_at, server.ports) for server in again.servers] == before


@pytest.mark.parametrize("wake", [lambda services: services.resume("kafka-1"), lambda services: services.up()])
def test_a_paused_server_is_seen_and_resumed(services: Services, wake: Callable[[Services], object]) -> None:
    services.pause("kafka-1")
    try:
        assert [server.state for server in status(services).servers] == ["paused", "ready"]
    finally:
        wake(services)
    assert [server.state for server in status(services).servers] == ["ready", "ready"]


def test_services_json_says_what_runs_and_is_its_owners(services: Services) -> None:
    state = msgspec.json.decode(services.file.read_bytes(), type=ServicesState)
    assert services.file.stat().st_mode & 0o777 == 0o600
    assert state.bootstrap == services.bootstrap.split(",")
    for server in state.servers:
        assert server.pid is not None
        assert psutil.Process(server.pid).memory_info().rss > 100e6


def test_the_command_line_tells_the_same(services: Services, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["services", "status", "--json", "--home", str(services.home)]) == Exit.OK
    printed = json.loads(capsys.readouterr().out)
    assert [server["pid"] for server in printed["servers"]] == [server.pid for server in status(services).servers]
    assert printed["security"]["store_password"] == "***"

    assert run(["services", "logs", "kafka-1", "--lines", "3", "--home", str(services.home)]) == Exit.OK
    lines = capsys.readouterr().out.splitlines()
    assert lines
    assert all(line.startswith("kafka-1: ") for line in lines)
    assert run(["services", "logs", "kafka-7", "--home", str(services.home)]) == Exit.NOT_FOUND

    assert run(["services", "up", "--home", str(services.home)]) == Exit.OK
    table = capsys.readouterr().out
    assert all(f"{server.pid}" in table for server in status(services).servers)


def test_a_home_without_services_is_said_to_have_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["services", "down", "--home", str(tmp_path)]) == Exit.OK
    assert run(["services", "up", "--brokers", "2", "--home", str(tmp_path)]) == Exit.USAGE
    assert "--brokers 2: can be 0, 1 or 3" in capsys.readouterr().err
    assert run(["services", "status", "--home", str(tmp_path)]) == Exit.NOT_RUNNING
    assert "start some: `groknet services up" in capsys.readouterr().err


def test_other_servers_than_the_home_has_are_refused(services: Services) -> None:
    with pytest.raises(ServicesError, match="made with brokers 1, not 3"):
        Services(services.home, ServicesSettings(brokers=3)).up()
    with pytest.raises(ServicesError, match="stop it first"):
        Services(services.home, ServicesSettings(cassandra_port=services.cassandra_port + 1)).up()


def test_one_left_over_is_named_and_stopped(tmp_path: Path) -> None:
    services = Services(tmp_path, ServicesSettings(nodes=0, java_options=("-XX:TieredStopAtLevel=1",)))
    try:
        services.up()
        pid = status(services).servers[0].pid
        assert pid is not None
        services.file.unlink()
        with pytest.raises(ServicesError, match=rf"kafka-1 runs as process {pid} since 20.*services down"):
            services.up()
        assert services.status() is None
    finally:
        assert services.down() == ["kafka-1"]
    assert not psutil.pid_exists(pid)
    assert services.down() == []


def test_no_server_outlives_the_process_that_holds_it(tmp_path: Path) -> None:
    code = (
        "import sys, pathlib, deploy.local as d\n"
        "settings = d.ServicesSettings(nodes=0, java_options=('-XX:TieredStopAtLevel=1',))\n"
        "with d.Services(pathlib.Path(sys.argv[1]), settings) as services:\n"
        "    print(services.status().servers[0].pid, flush=True); sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        server = psutil.Process(int(holder.stdout.readline()))
        holder.kill()
    server.wait(30)
    assert Services(tmp_path).down() == []


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        (ServicesSettings(nodes=0, kafka_options={"log.segment.bytes": "many"}), r"kafka-1.*log\.segment\.bytes"),
        (ServicesSettings(nodes=0, kafka_options={"num.io.threads": "0"}), r"kafka-1.*num\.io\.threads"),
        (ServicesSettings(brokers=0, cassandra_options={"colour": "red"}), r"cassandra-1 ended.*colour"),
        (ServicesSettings(brokers=0, java_options=("-XX:Nope",)), r"cassandra-1 ended.*Nope"),
    ],
)
def test_a_server_that_cannot_start_says_why_and_nothing_stays(
    tmp_path: Path, settings: ServicesSettings, reason: str
) -> None:
    services = Services(tmp_path, settings)
    with pytest.raises(ServicesError, match=reason):
        services.up()
    assert services.down() == []


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"])
def test_a_record_comes_back_through_password_and_tls(secured: Services, mechanism: str) -> None:
    options = kafka_options(secured, mechanism)
    topic = make_topic(options)
    send(options, topic, [b"lamp"])
    assert receive(options, topic, 1) == [b"lamp"]


def test_a_wrong_kafka_password_is_refused(secured: Services) -> None:
    from kafka.admin import KafkaAdminClient
    from kafka.errors import KafkaError

    options = kafka_options(secured, "PLAIN", password="wrong")
    with pytest.raises(KafkaError):
        KafkaAdminClient(**options, bootstrap_timeout_ms=2000)


def test_a_row_comes_back_through_password_and_tls(secured: Services) -> None:
    from cassandra.cluster import NoHostAvailable

    with session(secured) as cql:
        assert read_rows(cql, write_rows(cql, {1: "lamp"})) == {1: "lamp"}
    first = "cassandra"  # the password of every new Cassandra, which the first start replaces
    with pytest.raises(NoHostAvailable, match=r"(?i)password|credentials"), session(secured, first):
        pass
    with pytest.raises(NoHostAvailable, match=r"(?i)password|credentials"), session(secured, "wrong"):
        pass


def test_no_password_is_printed(secured: Services, capsys: pytest.CaptureFixture[str]) -> None:
    run(["services", "status", "--json", "--home", str(secured.home)])
    password = status(secured).security.kafka_password
    assert password is not None
    assert password not in capsys.readouterr().out
    assert os.stat(secured.home / "services" / "kafka-1" / "server.properties").st_mode & 0o777 == 0o600
