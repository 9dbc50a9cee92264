"""The parts of the embedded log that a contract cannot see: placement, assignment, liveness, compaction, options."""

from __future__ import annotations

import os
import random
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from schemas.errors import ConfigError, Invalid, Reject, Transient
from workers.streams import Partition, RebalanceListener, TopicSpec, build_stream
from workers.streams.embedded import EmbeddedAdmin
from workers.streams.embedded import _producer as producer_module
from workers.streams.embedded._assignment import assign
from workers.streams.embedded._log import COMPACTION_LAG_MS, TOMBSTONE_KEEP_MS
from workers.streams.embedded._partitioner import murmur2, partition_of
from workers.streams.embedded._process import ProcessId, surely_dead, this_process


def test_a_probe_fails_where_the_disk_has_no_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`tests/groknet/test_full_disk.py` fills a real disk."""
    admin = EmbeddedAdmin(tmp_path / "stream.db")
    admin.ensure_topics([TopicSpec("t", 1)])
    admin.probe("t")
    there = os.statvfs(tmp_path)
    full = os.statvfs_result([there.f_bsize, there.f_frsize, there.f_blocks, 0, 0, *list(there)[5:]])
    monkeypatch.setattr(os, "statvfs", lambda path: full)
    with pytest.raises(Transient, match="no room on its disk") as caught:
        admin.probe("t")
    assert caught.value.error == "disk_full"
    admin.close()


@pytest.mark.parametrize(
    ("key", "expected"),
    [  # from the tests of Apache Kafka, clients' UtilsTest.testMurmur2
        (b"21", -973932308),
        (b"foobar", -790332482),
        (b"a-little-bit-long-string", -985981536),
        (b"a-little-bit-longer-string", -1486304829),
        (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
        (b"abc", 479470107),
    ],
)
def test_placement_is_that_of_kafka(key: bytes, expected: int) -> None:
    assert murmur2(key) == expected % 2**32
    assert partition_of(key, 8) == (expected & 0x7FFFFFFF) % 8


def test_assignment_is_balanced_complete_and_sticky() -> None:
    rng = random.Random(6)
    topics = ["t1", "t2", "t3"]
    partitions = [Partition(t, n) for t in topics for n in range(rng.randrange(1, 9))]
    members: dict[str, frozenset[str]] = {}
    result: dict[Partition, str] = {}
    for step in range(300):
        before = dict(result)
        if members and rng.random() < 0.5:
            members.pop(rng.choice(list(members)))
        else:
            members[f"m{step}"] = frozenset(rng.sample(topics, rng.randrange(1, 4)))
        result = assign(partitions, members, result)
        for topic in topics:
            able = [m for m, subscribed in members.items() if topic in subscribed]
            mine = [p for p in partitions if p.topic == topic]
            assert all(result[p] in able for p in mine) if able else all(p not in result for p in mine)
            if able:
                loads = [sum(result[p] == m for p in mine) for m in able]
                assert max(loads) - min(loads) <= 1
                # no more moves than balance asks for: nobody who stays gives away below the new floor
                for m in able:
                    kept = sum(before.get(p) == m and result[p] == m for p in mine)
                    had = sum(before.get(p) == m for p in mine)
                    assert kept >= min(had, len(mine) // len(able))
        assert assign(partitions, members, result) == result


def test_a_dead_process_is_told_from_a_live_one_and_from_its_successor() -> None:
    me = this_process()
    assert not surely_dead(me)
    assert surely_dead(me._replace(started=me.started + 1))  # the number was given to a later process
    assert not surely_dead(me._replace(space="another machine", pid=2**22 - 1))
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    there = ProcessId(me.space, child.pid, 0)
    assert not surely_dead(there)
    child.kill()
    child.wait()
    child.stdin.close()
    assert surely_dead(there)


def test_compaction_deletes_what_is_replaced_and_old_tombstones_only(tmp_path: Path) -> None:
    stream = build_stream(f"sqlite://{tmp_path}/stream.db", "test")
    admin, producer = EmbeddedAdmin(tmp_path / "stream.db"), stream.producer()
    admin.ensure_topics([TopicSpec("c", 2, compacted=True), TopicSpec("plain", 2)])
    rng = random.Random(7)
    items = [(b"%d" % rng.randrange(50), None if rng.random() < 0.2 else b"%d" % n) for n in range(1500)]
    for key, value in items:
        producer.send("c", key, value)
        producer.send("plain", key, value)
    producer.close()
    now = time.time_ns() // 1_000_000
    ends = admin.end_offsets("c")
    assert admin.compact(now) == 0  # a reader under way still finds its keys
    last = dict(items)
    assert admin.compact(now + COMPACTION_LAG_MS) == 1500 - len(last)
    records = list(admin.read("c"))
    assert len(records) == len(last)
    assert {r.key: r.value for r in records} == last
    tombstones = {key for key, value in last.items() if value is None}
    assert tombstones
    assert admin.compact(now + TOMBSTONE_KEEP_MS) == len(tombstones)
    assert {r.key: r.value for r in admin.read("c")} == {k: v for k, v in last.items() if v is not None}
    assert len(list(admin.read("plain"))) == 1500
    assert admin.end_offsets("c") == ends
    # a key that compaction forgot comes back like a new one
    producer = stream.producer()
    for value in (b"1", b"2"):
        producer.send("c", min(tombstones), value)
    producer.close()
    assert admin.compact(now + TOMBSTONE_KEEP_MS) == 1
    assert {r.key: r.value for r in admin.read("c")}[min(tombstones)] == b"2"
    admin.close()


def test_retention_deletes_the_old_and_a_late_group_starts_at_what_is_left(tmp_path: Path) -> None:
    stream = build_stream(f"sqlite://{tmp_path}/stream.db", "test")
    admin, producer = EmbeddedAdmin(tmp_path / "stream.db"), stream.producer()
    admin.ensure_topics([TopicSpec("t", 1, retention_ms=1000)])
    producer.send("t", b"k", b"old")
    producer.close()
    assert admin.compact(time.time_ns() // 1_000_000 + 2000) == 1
    producer = stream.producer()
    producer.send("t", b"k", b"new").wait(10)
    consumer = stream.consumer("g", ["t"], RebalanceListener())
    assert [(r.offset, r.value) for r in consumer.poll(10, 10)] == [(1, b"new")]
    consumer.close()
    producer.close()
    admin.close()


def test_a_locked_log_is_transient_and_a_full_buffer_is_a_reject(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(producer_module, "_BUFFER_RECORDS", 5)
    stream = build_stream(f"sqlite://{tmp_path}/stream.db", "test")
    admin, producer = stream.admin(), stream.producer()
    admin.ensure_topics([TopicSpec("t", 1)])
    producer.send("t", b"k", b"0").wait(10)
    other = sqlite3.connect(tmp_path / "stream.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    deliveries = [producer.send("t", b"k", b"%d" % n) for n in range(5)]
    with pytest.raises(Reject, match="slow down"):
        producer.send("t", b"k", b"too many")
    with pytest.raises(Transient, match="durable"):
        deliveries[0].wait(0.05)
    with pytest.raises(Transient):
        producer.flush(0.05)
    other.execute("ROLLBACK")
    other.close()
    producer.flush(30)
    for delivery in deliveries:
        delivery.wait(0)
    assert [r.value for r in admin.read("t")] == [b"0", *(b"%d" % n for n in range(5))]
    producer.close()
    admin.close()


def test_a_record_that_cannot_be_sent_is_refused_at_once(tmp_path: Path) -> None:
    stream = build_stream(f"sqlite://{tmp_path}/stream.db", "test")
    admin, producer = stream.admin(), stream.producer()
    with pytest.raises(ConfigError, match="nowhere"):
        producer.send("nowhere", b"k", b"v")
    admin.ensure_topics([TopicSpec("c", 1, compacted=True)])
    with pytest.raises(Invalid, match="key"):
        producer.send("c", None, b"v")
    producer.close()
    with pytest.raises(ValueError, match="close"):
        producer.send("c", b"k", b"v")
    admin.close()


def test_a_topic_made_after_the_consumer_joined_is_found(tmp_path: Path) -> None:
    stream = build_stream(f"sqlite://{tmp_path}/stream.db?lease_s=1", "test")
    consumer = stream.consumer("g", ["late"], RebalanceListener())
    assert consumer.poll(0, 10) == []
    admin, producer = stream.admin(), stream.producer()
    admin.ensure_topics([TopicSpec("late", 1)])
    producer.send("late", b"k", b"v")
    assert [r.value for r in consumer.poll(30, 10)] == [b"v"]
    for opened in (consumer, producer, admin):
        opened.close()


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("redis://x", "sqlite://"),
        ("sqlite://relative.db", "ABSOLUTE"),
        ("sqlite:///", "ABSOLUTE"),
        ("sqlite:///tmp/x.db?sync=off", "sync"),
        ("sqlite:///tmp/x.db?lease_s=soon", "lease_s"),
        ("sqlite:///tmp/x.db?lease_s=nan", "lease_s"),
    ],
)
def test_an_unusable_url_names_the_remedy(url: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        build_stream(url, "test")


def test_a_folder_that_cannot_be_made_is_transient(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder, for root neither")
    with pytest.raises(Transient):
        build_stream(f"sqlite://{tmp_path}/file/sub/stream.db", "test").admin()
