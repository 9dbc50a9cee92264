"""What the contract suites know of a back end, and helpers that allow a broker its own pace."""

from __future__ import annotations

import itertools
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from deploy.local import Services
from workers.stores import Store, build_store
from workers.streams import Consumer, Partition, RebalanceListener, Record, Stream, TopicSpec, build_stream

ROOT = Path(__file__).parents[2]


Outage = Callable[[], AbstractContextManager[None]]


@contextmanager
def locked_file(path: Path) -> Iterator[None]:
    """Another connection holds the write lock: as silent as an embedded log can be."""
    db = sqlite3.connect(path, isolation_level=None)
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        db.execute("ROLLBACK")
        db.close()


@contextmanager
def silent_broker(services: Services, name: str = "kafka-1") -> Iterator[None]:
    """The broker keeps its connections and answers nothing."""
    services.pause(name)
    try:
        yield
    finally:
        services.resume(name)


@contextmanager
def dead_broker(services: Services, name: str = "kafka-1") -> Iterator[None]:
    """The broker is killed, and started again on leaving."""
    services.kill(name)
    try:
        yield
    finally:
        services.start(name)


@dataclass
class StreamBackend:
    """A back end under test. Topics and groups get fresh names, since a real broker outlives a test."""

    url: str
    short_session_url: str
    """The same log for members that are thrown out after `short_session_s` of silence."""
    short_session_s: float
    patience_s: float = 30.0
    """Longest time that anything that must happen may take."""
    outages: Mapping[str, Outage] = field(default_factory=dict)
    """By name: the log does not answer while one of these is entered."""
    _numbers: itertools.count[int] = field(default_factory=lambda: itertools.count(time.time_ns()))

    def build(self, worker: str = "test") -> Stream:
        return build_stream(self.url, worker)

    def name(self, prefix: str) -> str:
        return f"{prefix}-{next(self._numbers)}"

    def topic(self, partitions: int = 4, *, compacted: bool = False) -> str:
        name = self.name("topic")
        admin = self.build().admin()
        admin.ensure_topics([TopicSpec(name, partitions, compacted=compacted)])
        admin.close()
        return name


@dataclass
class StoreBackend:
    """A store under test, empty."""

    url: str

    def build(self, inline_photos_s: float | None = None) -> Store:
        return build_store(self.url, inline_photos_s=inline_photos_s)


@dataclass
class Member:
    """A consumer that remembers what its listener was told and what it was given, in order."""

    consumer: Consumer
    held: set[Partition] = field(default_factory=set)
    calls: list[tuple[str, frozenset[Partition]]] = field(default_factory=list)
    records: list[Record] = field(default_factory=list)
    on_revoked: Callable[[frozenset[Partition]], None] | None = None

    def poll(self, timeout_s: float = 0.05, max_records: int = 100) -> list[Record]:
        got = self.consumer.poll(timeout_s, max_records)
        assert all(record.partition in self.held for record in got), "a record of a partition that is not assigned"
        self.records += got
        return got

    def told(self, kind: str) -> list[frozenset[Partition]]:
        return [partitions for called, partitions in self.calls if called == kind]

    def clear(self) -> None:
        self.calls.clear()
        self.records.clear()


def join(stream: Stream, group: str, topics: Iterable[str], inherit: str = "") -> Member:
    """A member that joins with its first poll; checks the listener's calls against one another."""

    def assigned(partitions: frozenset[Partition]) -> None:
        assert partitions
        assert not partitions & member.held, "assigned names only what is new"
        member.held |= partitions
        member.calls.append(("assigned", partitions))

    def revoked(partitions: frozenset[Partition]) -> None:
        assert partitions <= member.held, "revoked names what is held"
        if member.on_revoked:
            member.on_revoked(partitions)
        member.held -= partitions
        member.calls.append(("revoked", partitions))

    def lost(partitions: frozenset[Partition]) -> None:
        assert partitions <= member.held, "lost names what was held"
        member.held -= partitions
        member.calls.append(("lost", partitions))

    listener = RebalanceListener(assigned=assigned, revoked=revoked, lost=lost)
    member = Member(stream.consumer(group, list(topics), listener, inherit))
    return member


def poll_until(members: Iterable[Member], done: Callable[[], bool], patience_s: float = 30.0) -> None:
    """Poll members in turn until `done`."""
    turn = list(members)
    deadline = time.monotonic() + patience_s
    while not done():
        assert time.monotonic() < deadline, f"not done within {patience_s} s: {[m.calls for m in turn]}"
        for member in turn:
            member.poll()


def start(script: str, *arguments: str) -> subprocess.Popen[str]:
    """Run `script` (Python text) in a process of its own, from the root of the repository; its stdout is piped."""
    command = [sys.executable, "-c", script, *arguments]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
