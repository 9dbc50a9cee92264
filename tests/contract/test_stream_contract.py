"""What every stream promises about records: order, placement, verbatim bytes, nothing lost, compaction."""

from __future__ import annotations

import random
import threading
from collections import defaultdict
from collections.abc import Iterable

import pytest

from schemas.errors import ConfigError
from tests.contract.backends import StreamBackend, join, poll_until, start
from workers.streams import Partition, Record, Stream, TopicSpec

Item = tuple[bytes | None, bytes | None]

_SEND = """
import sys
from workers.streams import build_stream
url, topic, name, count = sys.argv[1:]
producer = build_stream(url, name).producer()
for number in range(int(count)):
    producer.send(topic, name.encode(), b"%d" % number)
producer.close()
"""

_SEND_UNTIL_KILLED = """
import sys
from workers.streams import build_stream
url, topic = sys.argv[1:]
producer = build_stream(url, "child").producer()
number = 0
while True:
    deliveries = [producer.send(topic, b"%d" % n, b"%d" % n) for n in range(number, number + 7)]
    for delivery in deliveries:
        delivery.wait(30)
    number += 7
    print(number, flush=True)
"""


def send(stream: Stream, topic: str, items: Iterable[Item], **options) -> None:
    producer = stream.producer()
    for delivery in [producer.send(topic, key, value, **options) for key, value in items]:
        delivery.wait(30)
    producer.close()


def read(stream: Stream, topic: str, start_at: dict[Partition, int] | None = None) -> list[Record]:
    admin = stream.admin()
    records = list(admin.read(topic, start_at))
    admin.close()
    return records


def by_key(records: Iterable[Record]) -> dict[bytes | None, list[Record]]:
    result = defaultdict(list)
    for record in records:
        result[record.key].append(record)
    return dict(result)


def test_a_key_keeps_its_order_and_its_partition(stream_backend: StreamBackend) -> None:
    stream, topic = stream_backend.build(), stream_backend.topic(partitions=5)
    rng = random.Random(1)
    items: list[Item] = [(b"key-%d" % rng.randrange(40), b"%d" % n) for n in range(600)]
    send(stream, topic, items)
    member = join(stream, stream_backend.name("group"), [topic])
    poll_until([member], lambda: len(member.records) >= 600)
    member.consumer.close()
    for key, records in by_key(member.records).items():
        assert [r.value for r in records] == [value for k, value in items if k == key]
        assert len({r.partition for r in records}) == 1
    assert len({r.partition for r in member.records}) == 5
    # offsets rise within a partition, in what is polled and in what is read
    for records in (member.records, read(stream, topic)):
        assert len(records) == 600
        for number in range(5):
            offsets = [r.offset for r in records if r.partition.number == number]
            assert offsets == sorted(set(offsets))


def test_records_without_key_spread_over_partitions(stream_backend: StreamBackend) -> None:
    stream, topic = stream_backend.build(), stream_backend.topic(partitions=3)
    # in portions, since a broker's producer may keep a batch together
    for _ in range(20):
        send(stream, topic, [(None, b"x")] * 5)
    records = read(stream, topic)
    assert len(records) == 100
    assert len({r.partition for r in records}) > 1
    assert {r.key for r in records} == {None}


def test_bytes_headers_and_none_come_back_verbatim(stream_backend: StreamBackend) -> None:
    stream, topic = stream_backend.build(), stream_backend.topic(partitions=1)
    everything = bytes(range(256))
    headers = (("ce_id", b"1"), ("ce_id", b"2"), ("empty", b""), ("größe", everything))
    items: list[Item] = [(everything, everything), (b"k", b""), (b"k", None), (b"", b"empty key"), (None, b"no key")]
    send(stream, topic, items, headers=headers)
    send(stream, topic, [(b"k", b"no headers")])
    records = read(stream, topic)
    assert [(r.key, r.value) for r in records] == [*items, (b"k", b"no headers")]
    assert [r.headers for r in records] == [headers] * 5 + [()]
    assert all(r.timestamp_ms > 1_600_000_000_000 for r in records)  # milliseconds of this century, not seconds


def test_a_big_value_passes_whole(stream_backend: StreamBackend) -> None:
    stream, topic = stream_backend.build(), stream_backend.topic(partitions=1)
    big = random.Random(2).randbytes(1_000_000)  # inline photos: 700 KB as base64
    send(stream, topic, [(b"k", big), (b"k", b"after")])
    assert [r.value for r in read(stream, topic)] == [big, b"after"]


def test_read_starts_where_told_and_ends_at_the_end_of_the_call(stream_backend: StreamBackend) -> None:
    stream, topic = stream_backend.build(), stream_backend.topic(partitions=2)
    assert read(stream, topic) == []
    send(stream, topic, [(b"%d" % n, b"%d" % n) for n in range(60)])
    admin = stream.admin()
    ends = admin.end_offsets(topic)
    assert set(ends) == {Partition(topic, 0), Partition(topic, 1)}
    everything = list(admin.read(topic))
    assert len(everything) == 60
    for partition, end in ends.items():
        mine = [r for r in everything if r.partition == partition]
        assert mine[-1].next_offset == end
    middle = {Partition(topic, 0): ends[Partition(topic, 0)] // 2, Partition(topic, 1): ends[Partition(topic, 1)]}
    expected = [r for r in everything if r.offset >= middle[r.partition]]
    reading = admin.read(topic, middle)
    send(stream, topic, [(b"late", b"late")])
    assert sorted(reading, key=lambda r: (r.partition, r.offset)) == sorted(
        expected, key=lambda r: (r.partition, r.offset)
    )
    admin.close()


def test_the_last_record_of_every_key_survives_compaction(stream_backend: StreamBackend) -> None:
    stream, topic = stream_backend.build(), stream_backend.topic(partitions=2, compacted=True)
    rng = random.Random(3)
    items: list[Item] = [(b"key-%d" % rng.randrange(30), None if rng.random() < 0.2 else b"%d" % n) for n in range(500)]
    send(stream, topic, items)
    records = read(stream, topic)
    last = dict(items)  # the naive twin of compaction
    assert {key: mine[-1].value for key, mine in by_key(records).items()} == last
    member = join(stream, stream_backend.name("group"), [topic])
    poll_until([member], lambda: {r.key for r in member.records} == set(last))
    poll_until([member], lambda: {k: v[-1].value for k, v in by_key(member.records).items()} == last)
    member.consumer.close()


def test_threads_and_processes_that_send_at_once_lose_nothing(stream_backend: StreamBackend) -> None:
    stream, topic = stream_backend.build(), stream_backend.topic(partitions=3)
    children = [start(_SEND, stream_backend.url, topic, name, "300") for name in ("child-1", "child-2")]
    producer = stream.producer()

    def work(name: bytes) -> None:
        for number in range(300):
            producer.send(topic, name, b"%d" % number)

    threads = [threading.Thread(target=work, args=(b"thread-%d" % n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    producer.flush(30)
    for child in children:
        assert child.wait(60) == 0
        child.stdout.close()
    names = {b"child-1", b"child-2", b"thread-0", b"thread-1", b"thread-2", b"thread-3"}
    found = by_key(read(stream, topic))
    assert set(found) == names
    for records in found.values():
        assert [r.value for r in records] == [b"%d" % n for n in range(300)]
    producer.close()
    producer.close()


def test_what_was_acknowledged_survives_a_kill(stream_backend: StreamBackend) -> None:
    stream, topic = stream_backend.build(), stream_backend.topic()
    child = start(_SEND_UNTIL_KILLED, stream_backend.url, topic)
    for _ in range(20):
        child.stdout.readline()
    child.kill()
    acknowledged = [int(line) for line in child.stdout.read().splitlines() if line] or [140]
    child.wait()
    child.stdout.close()
    found = {record.value for record in read(stream, topic)}
    assert {b"%d" % n for n in range(acknowledged[-1])} <= found
    send(stream, topic, [(b"after", b"after")])  # the log goes on at once
    assert {record.value for record in read(stream, topic)} == found | {b"after"}


def test_close_makes_everything_sent_durable(stream_backend: StreamBackend) -> None:
    stream, topic = stream_backend.build(), stream_backend.topic()
    producer = stream.producer()
    for n in range(2500):
        producer.send(topic, b"%d" % n, b"")
    producer.close()
    assert len(read(stream_backend.build("other"), topic)) == 2500


def test_topics_are_what_they_were_made(stream_backend: StreamBackend) -> None:
    stream, name = stream_backend.build(), stream_backend.name("topic")
    admin, producer = stream.admin(), stream.producer()
    spec = TopicSpec(name, 3, compacted=False, retention_ms=3_600_000)
    assert name not in admin.topics()
    admin.ensure_topics([spec])
    admin.ensure_topics([spec])
    assert name in admin.topics()
    assert admin.end_offsets(name) == {Partition(name, n): 0 for n in range(3)}
    with pytest.raises(ConfigError, match=name):
        admin.ensure_topics([TopicSpec(name, 4, retention_ms=3_600_000)])
    admin.set_retention(name, 7_200_000)
    admin.ensure_topics([TopicSpec(name, 3, compacted=False, retention_ms=7_200_000)])
    with pytest.raises(ConfigError, match=name):
        admin.ensure_topics([spec])
    with pytest.raises(ConfigError):
        admin.set_retention(stream_backend.name("unknown"), 1)
    with pytest.raises(ConfigError):
        admin.end_offsets(stream_backend.name("unknown"))
    admin.probe(name)
    with pytest.raises(ConfigError):
        admin.probe(stream_backend.name("unknown"))
    producer.close()
    admin.close()
    admin.close()
