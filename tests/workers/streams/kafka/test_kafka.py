"""What only a real broker can show: where keys go, how topics are kept, what becomes of poison, kills and pauses."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from deploy.local import Services
from schemas.errors import ConfigError, Invalid, Reject, Transient
from tests.contract.backends import StreamBackend, join, poll_until
from workers.streams import Consumer, Partition, Producer, RebalanceListener, Record, Stream, TopicSpec, build_stream

pytestmark = [
    pytest.mark.services,
    pytest.mark.filterwarnings("ignore:(read|open)_text is deprecated:DeprecationWarning"),  # kafka-python 3.0.12
    pytest.mark.filterwarnings("ignore:.*socket.socket:pytest.PytestUnraisableExceptionWarning"),  # as well
]


@pytest.fixture
def backend(services: Services) -> StreamBackend:
    url = f"kafka://{services.bootstrap}?session_s=6"
    return StreamBackend(url=url, short_session_url=url, short_session_s=6.0, patience_s=60.0)


@pytest.fixture
def stream(backend: StreamBackend) -> Stream:
    return backend.build()


@pytest.fixture
def client(services: Services) -> Iterator[Any]:
    from kafka.admin import KafkaAdminClient

    admin = KafkaAdminClient(bootstrap_servers=services.bootstrap)
    yield admin
    admin.close()


def config(client: Any, topic: str) -> dict[str, str]:
    from kafka.admin import ConfigResource

    found = client.describe_configs([ConfigResource("TOPIC", topic)], config_filter="all")
    return {key: entry["value"] for key, entry in found["topic"][topic].items()}


def change(client: Any, topic: str, **values: str) -> None:
    from kafka.admin import ConfigResource

    client.alter_configs([ConfigResource("TOPIC", topic, {k.replace("_", "."): v for k, v in values.items()})])


@contextmanager
def paused(services: Services) -> Iterator[None]:
    """The broker holds still, every thread of it."""
    services.pause("kafka-1")
    try:
        while (status := services.status()) is None or status.server("kafka-1").state != "paused":
            time.sleep(0.01)
        time.sleep(0.2)
        yield
    finally:
        services.resume("kafka-1")


def fill(producer: Producer, topic: str) -> int:
    """Send until the buffer is full, numbered from 1; returns how many were taken."""
    sent = 0
    while True:
        try:
            producer.send(topic, b"%d" % (sent + 1), b"")
        except Reject:
            return sent
        sent += 1


def poll_for(consumer: Consumer) -> list[Record]:
    """The next records."""
    while True:
        if records := consumer.poll(0.2, 10):
            return records


def read(stream: Stream, topic: str) -> list[tuple[bytes | None, int]]:
    admin = stream.admin()
    found = [(record.key, record.partition.number) for record in admin.read(topic)]
    admin.close()
    return found


def test_keys_lie_where_the_embedded_log_puts_them(backend: StreamBackend, tmp_path: Path) -> None:
    keys = [b"", b"a", b"listing-1", "größe".encode(), bytes(range(256)), *(b"%d" % n for n in range(200))]
    placed = []
    name = backend.topic(partitions=7)
    for url in (backend.url, f"sqlite://{tmp_path}/stream.db"):
        stream = build_stream(url, "test")
        admin, producer = stream.admin(), stream.producer()
        admin.ensure_topics([TopicSpec(name, 7)])
        for key in keys:
            producer.send(name, key, b"x")
        producer.close()
        admin.close()
        placed.append(dict(read(stream, name)))
    assert placed[0] == placed[1]
    assert len(placed[0]) == len(keys)


def test_topics_are_kept_as_they_should_be(backend: StreamBackend, stream: Stream, client: Any) -> None:
    kept, latest, both, forever = (backend.name(kind) for kind in ("kept", "latest", "both", "forever"))
    specs = [
        TopicSpec(kept, 2, retention_ms=3_600_000),
        TopicSpec(latest, 1, compacted=True),
        TopicSpec(both, 1, compacted=True, retention_ms=3_600_000),
        TopicSpec(forever, 1),
    ]
    admin = stream.admin()
    admin.ensure_topics(specs)
    admin.ensure_topics(specs)
    found = {name: config(client, name) for name in (kept, latest, both, forever)}
    assert [found[name]["cleanup.policy"] for name in found] == ["delete", "compact", "compact,delete", "delete"]
    assert [found[name]["retention.ms"] for name in (kept, both, forever)] == ["3600000", "3600000", "-1"]
    assert found[latest]["delete.retention.ms"] == str(7 * 24 * 3_600_000)  # an index may be a week old
    assert {found[name]["min.insync.replicas"] for name in found} == {"1"}  # of one broker
    change(client, kept, retention_ms="1000")
    with pytest.raises(ConfigError, match=rf"kafka-configs .*--entity-name {kept} .*retention.ms=\[3600000\]"):
        admin.ensure_topics(specs)
    with pytest.raises(ConfigError, match="replicas="):
        build_stream(f"{backend.url}&replicas=9", "test").admin().ensure_topics([TopicSpec(backend.name("nine"), 1)])
    admin.close()


def test_what_a_topic_cannot_take_is_refused_before_it_takes_others_down(
    backend: StreamBackend, stream: Stream, client: Any
) -> None:
    compacted, plain = backend.topic(compacted=True), backend.topic()
    producer = stream.producer()
    with pytest.raises(Invalid, match="compacted"):
        producer.send(compacted, None, b"x")
    with pytest.raises(Invalid, match="key, a value"):
        producer.send(plain, None, None)
    with pytest.raises(Invalid, match=r"max\.message\.bytes"):
        producer.send(plain, b"k", bytes(1_100_000))
    with pytest.raises(ConfigError, match="groknet topics apply"):
        producer.send(backend.name("absent"), b"k", b"v")
    # a bound that was lowered behind the producer's back: the client gives up for good, the producer does not
    change(client, plain, max_message_bytes="2000")
    poison = producer.send(plain, b"poison", bytes(50_000))
    with pytest.raises(Transient, match="did not take it"):
        poison.wait(30)
    with pytest.raises(Transient, match="did not take it"):
        producer.flush(30)
    for number in range(50):
        producer.send(plain, b"%d" % number, b"after")
    producer.flush(30)
    producer.close()
    assert sorted(key for key, _ in read(stream, plain)) == sorted(b"%d" % n for n in range(50))


def test_a_bound_that_an_operator_changes_is_noticed_without_a_restart(
    backend: StreamBackend, stream: Stream, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    topic = backend.topic()
    change(client, topic, max_message_bytes="2000")
    producer = stream.producer()
    with pytest.raises(Invalid, match="takes 2000 bytes"):
        producer.send(topic, b"k", bytes(50_000))
    change(client, topic, max_message_bytes="100000")
    with pytest.raises(Invalid, match="takes 2000 bytes"):  # a stream of large records does not ask for each
        producer.send(topic, b"k", bytes(50_000))
    monkeypatch.setattr("workers.streams.kafka._producer._REFUSAL_HOLDS_S", 0.0)
    producer.send(topic, b"raised", bytes(50_000)).wait(30)
    change(client, topic, max_message_bytes="2000")
    with pytest.raises(Transient, match="did not take it"):  # looked up when it was larger
        producer.send(topic, b"k", bytes(50_000)).wait(30)
    with pytest.raises(Invalid, match="takes 2000 bytes"):
        producer.send(topic, b"k", bytes(50_000))
    producer.send(topic, b"small", b"").wait(30)
    with pytest.raises(Transient, match="did not take it"):
        producer.close()
    assert sorted(key for key, _ in read(stream, topic)) == [b"raised", b"small"]


def test_a_paused_broker_fills_the_buffer_and_loses_nothing(
    backend: StreamBackend, stream: Stream, services: Services
) -> None:
    topic = backend.topic()
    producer = stream.producer()
    producer.send(topic, b"first", b"").wait(30)
    with paused(services):
        delivery = producer.send(topic, b"0", b"")
        with pytest.raises(Transient, match="wait again"):
            delivery.wait(0.1)
        with pytest.raises(Transient, match="flush again"):
            producer.flush(0.1)
        sent = 1 + fill(producer, topic)
    delivery.wait(60)
    producer.flush(60)
    producer.send(topic, b"last", b"").wait(30)
    producer.close()
    keys = [key for key, _ in read(stream, topic)]
    assert sorted(keys) == sorted([b"first", b"last", *(b"%d" % n for n in range(sent))])


def test_closing_without_a_broker_says_so_and_leaves_no_thread(
    backend: StreamBackend, stream: Stream, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workers.streams.kafka._producer._CLOSE_TIMEOUT_S", 0.2)
    topic = backend.topic()
    before = set(threading.enumerate())
    producer = stream.producer()
    producer.send(topic, b"k", b"v").wait(30)
    with paused(services):
        delivery = producer.send(topic, b"k", b"v")
        with pytest.raises(Transient, match="flush again"):
            producer.close()
        with pytest.raises(Transient):
            delivery.wait(1)
        producer.close()
        assert set(threading.enumerate()) <= before


def test_a_killed_broker_comes_back_and_its_members_go_on(
    backend: StreamBackend, stream: Stream, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    from workers.streams.kafka import _producer

    monkeypatch.setitem(_producer._OPTIONS, "delivery_timeout_ms", 300_000)  # a start on busy cores may take a minute
    topic, group = backend.topic(partitions=2), backend.name("group")
    member = join(stream, group, [topic])
    poll_until([member], lambda: len(member.held) == 2, 60.0)
    producer = stream.producer()
    before = [producer.send(topic, b"%d" % n, b"before") for n in range(100)]
    for delivery in before:
        delivery.wait(30)
    services.kill("kafka-1")
    after = [producer.send(topic, b"%d" % n, b"after") for n in range(100)]
    services.start("kafka-1")
    for delivery in after:
        delivery.wait(300)
    deadline = time.monotonic() + 60
    while len(member.records) < 200 and time.monotonic() < deadline:
        try:
            member.poll()
        except Transient:
            continue
    assert sorted((r.key, r.value) for r in member.records) == sorted(
        (b"%d" % n, text) for n in range(100) for text in (b"before", b"after")
    )
    offsets = {p: max(r.next_offset for r in member.records if r.partition == p) for p in member.held}
    while True:
        try:
            member.consumer.commit(offsets)
            break
        except Transient:
            member.poll()
    admin = stream.admin()
    assert admin.committed(group, topic) == offsets == admin.end_offsets(topic)
    admin.close()
    member.consumer.close()
    producer.close()


def test_a_broker_that_is_away_longer_than_a_record_may_take_is_used_again(
    backend: StreamBackend, stream: Stream, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    """kafka-python 3.0.12 forgets what it was about to send when an older record's time is over."""
    from workers.streams.kafka import _producer

    limit_s = 11.0  # no less than a request may take
    monkeypatch.setitem(_producer._OPTIONS, "delivery_timeout_ms", int(limit_s * 1000))
    topic, producer = backend.topic(partitions=2), stream.producer()
    sent = [producer.send(topic, b"%d" % n, b"before") for n in range(100)]
    services.kill("kafka-1")
    failures: list[Transient] = []
    deadline = time.monotonic() + 2 * limit_s
    while time.monotonic() < deadline:
        try:
            sent.append(producer.send(topic, b"%d" % len(sent), b"without"))
        except Transient as why:  # a new client finds no broker
            failures.append(why)
        time.sleep(0.05)
    services.start("kafka-1")
    deadline = time.monotonic() + 90
    while True:
        try:
            for delivery in [producer.send(topic, b"%d" % n, b"after") for n in range(100)]:
                delivery.wait(30)
            break
        except Transient:
            assert time.monotonic() < deadline
    acknowledged = 100  # those sent after
    for delivery in sent:  # each is told one or the other
        try:
            delivery.wait(30)
            acknowledged += 1
        except Transient as why:
            failures.append(why)
    assert "delivery_failed" in {why.error for why in failures}
    assert "delivery_timeout" not in {why.error for why in failures}
    with pytest.raises(Transient, match="send again later"):
        producer.close()
    assert len(read(stream, topic)) >= acknowledged  # the kill may have come before any of the first was written


def test_threads_that_send_while_no_broker_answers_share_one_attempt_to_find_one(
    backend: StreamBackend, stream: Stream, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    from workers.streams.kafka import _producer

    topic, producer = backend.topic(partitions=1), stream.producer()
    producer.send(topic, b"k", b"before").wait(30)
    attempts, open_client = [], _producer.open_client

    def counted(*args: Any, **options: Any) -> tuple[Any, Any]:
        attempts.append(threading.get_ident())
        return open_client(*args, **options)

    monkeypatch.setattr(_producer, "open_client", counted)
    told: list[str] = []
    together = threading.Barrier(4)

    def send() -> None:
        together.wait()
        try:
            producer.send(topic, b"k", b"without")
        except Transient as why:
            told.append(why.error)

    services.kill("kafka-1")
    producer._broken = True  # as after a record whose time was over
    threads = [threading.Thread(target=send) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    services.start("kafka-1")
    assert told == ["log_unreachable"] * 4
    assert len(attempts) == 1  # which took seconds, when the threads had long been waiting for it
    producer.send(topic, b"k", b"after").wait(30)
    assert len(attempts) == 2
    producer.close()
    assert read(stream, topic) == [(b"k", 0)] * 2


def test_the_listener_runs_in_the_polling_thread_and_its_error_comes_out_of_poll(
    backend: StreamBackend, stream: Stream
) -> None:
    topic = backend.topic(partitions=1)
    threads: list[threading.Thread] = []
    held: set[Partition] = set()

    def assigned(partitions: frozenset[Partition]) -> None:
        threads.append(threading.current_thread())
        held.update(partitions)
        raise LookupError("from the listener")

    consumer = stream.consumer(backend.name("group"), [topic], RebalanceListener(assigned=assigned))
    with pytest.raises(LookupError, match="from the listener"):
        poll_for(consumer)
    assert threads == [threading.current_thread()]
    producer = stream.producer()
    producer.send(topic, b"k", b"v").wait(30)
    producer.close()
    assert {record.partition for record in poll_for(consumer)} == held
    consumer.close()
    with pytest.raises(ValueError, match="after close"):
        consumer.poll(0, 1)


def test_an_unknown_topic_is_named_with_the_remedy(backend: StreamBackend, stream: Stream) -> None:
    with pytest.raises(ConfigError, match="groknet topics apply"):
        stream.consumer("group", [backend.topic(), backend.name("absent")], RebalanceListener())


def test_a_slow_revocation_keeps_the_partitions_from_others(backend: StreamBackend, stream: Stream) -> None:
    topic, group = backend.topic(partitions=2), backend.name("group")
    first = join(stream, group, [topic])
    poll_until([first], lambda: len(first.held) == 2, 60.0)
    second = join(backend.build("other"), group, [topic])
    seen: list[int] = []

    def slow(partitions: frozenset[Partition]) -> None:
        for _ in range(20):
            second.poll(0.05)
            seen.append(len(second.held & partitions))

    first.on_revoked = slow
    poll_until([first, second], lambda: len(first.held) == 1 and len(second.held) == 1, 60.0)
    assert seen == [0] * 20
    first.consumer.close()
    second.consumer.close()
