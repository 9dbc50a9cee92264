"""kafka-python and cassandra-driver alone: they read the same events, write the same cells, send the same messages.

This is the cost of a program without logic: it decodes, orders, checks and retries nothing. Options make it look up
listings three times for each event, as a tagger must, and decode photos. One process leaves cores idle while it waits.
Several processes, each with its own partitions, fill the machine as a tagger does.
"""

from __future__ import annotations

import multiprocessing
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from threading import Barrier
from typing import Any

from cassandra import WriteTimeout  # type: ignore[import-untyped]
from cassandra.cluster import Cluster  # type: ignore[import-untyped]
from cassandra.query import BatchStatement, BatchType, tuple_factory  # type: ignore[import-untyped]
from kafka import KafkaConsumer, KafkaProducer, TopicPartition  # type: ignore[import-untyped]

from workers.collector import spare_collector
from workers.streams.base import Record

_TABLES = ("listings", "thumbnails")
_POLL_RECORDS = 128  # also the number of writes in flight, as in our store
_LOOK_UPS, _LOOK_UP_LISTINGS = 3, 32  # look-ups of an event, and listings in one request, as in the tagger
_HEADS = (
    "SELECT listing_id, event_time, newest, versions FROM {ks}.listings"
    " WHERE listing_id IN ? AND model_version = '' AND image_id = ''"
)


@dataclass(frozen=True, slots=True)
class Copied:
    """What a tagger wrote for some listings, by listing id: the rows as (table, values), and the hash message."""

    rows: dict[str, list[tuple[str, Sequence[Any]]]]
    messages: dict[bytes, Record]


def connect(place: tuple[str, int]) -> Any:
    """A session with the driver's defaults."""
    host, port = place
    return Cluster([host], port=port, protocol_version=5).connect()


def copy_rows(session: Any, keyspace: str, ids: set[str]) -> dict[str, list[tuple[str, Sequence[Any]]]]:
    """The raw rows of these listings."""
    found: dict[str, list[tuple[str, Sequence[Any]]]] = defaultdict(list)
    for table in _TABLES:
        for row in session.execute(f"SELECT * FROM {keyspace}.{table}"):
            if row.listing_id in ids:
                values = [dict(value) if hasattr(value, "items") else value for value in row]
                found[row.listing_id].append((table, values))
    return found


@dataclass(frozen=True, slots=True)
class Spent:
    """What some processes took for their events, in seconds: from the first event to the last by `time.perf_counter`,
    and the processor time of all of them."""

    since: float
    until: float
    cpu_s: float


@dataclass(frozen=True, slots=True)
class Clients:
    """The work of the bare clients. `each` is called for each event if it is given."""

    copied: Copied
    bootstrap: str
    topic: str
    hash_topic: str
    node: tuple[str, int]
    keyspace: str
    look_up: bool = False
    each: Callable[[], object] | None = None

    def run(self, counts: Mapping[int, int], processes: int) -> Spent:
        """Process all events and return what they took. `counts` are the events by partition of `topic`. The partitions
        are divided among the processes."""
        context = multiprocessing.get_context("spawn")
        barrier, answers = context.Barrier(processes), context.SimpleQueue()
        parts = [{p: n for p, n in counts.items() if p % processes == i} for i in range(processes)]
        children = [context.Process(target=_child, args=(self, part, barrier, answers)) for part in parts]
        for child in children:
            child.start()
        for child in children:
            child.join()
            if child.exitcode:
                raise RuntimeError(f"bare clients: a process ended with {child.exitcode}")
        spent: list[Spent] = [answers.get() for _ in children]
        return Spent(min(s.since for s in spent), max(s.until for s in spent), sum(s.cpu_s for s in spent))


def _child(clients: Clients, counts: Mapping[int, int], barrier: Barrier, answers: Any) -> None:
    spare_collector()  # the tagger does the same
    session = connect(clients.node)
    try:
        answers.put(_work(clients, counts, session, barrier))
    finally:
        session.cluster.shutdown()


def _work(clients: Clients, counts: Mapping[int, int], session: Any, barrier: Barrier) -> Spent:
    copied, keyspace = clients.copied, clients.keyspace
    inserts = {table: _insert(session, keyspace, table) for table in _TABLES}
    heads = session.prepare(_HEADS.format(ks=keyspace))
    session.row_factory = tuple_factory  # the driver's default makes a class for every answer
    consumer, producer = _clients(clients.bootstrap, clients.topic, list(counts))
    clock, cpu = 0.0, 0.0
    try:
        barrier.wait(60)
        for records in _polled(consumer, sum(counts.values())):
            if not clock:
                clock, cpu = time.perf_counter(), time.process_time()
            if clients.each is not None:
                for _ in records:
                    clients.each()
            _all(session, [_batch(inserts, copied.rows[record.key.decode()]) for record in records])
            for record in records:
                message = copied.messages[record.key]
                producer.send(clients.hash_topic, value=message.value, key=message.key, headers=list(message.headers))
            producer.flush()
            if clients.look_up:
                ids = [record.key.decode() for record in records]
                parts = [ids[i : i + _LOOK_UP_LISTINGS] for i in range(0, len(ids), _LOOK_UP_LISTINGS)]
                _all(session, [heads.bind([part]) for part in parts] * _LOOK_UPS)
            consumer.commit()
        return Spent(clock, time.perf_counter(), time.process_time() - cpu)
    finally:
        producer.close()
        consumer.close()


def _clients(bootstrap: str, topic: str, partitions: Sequence[int]) -> tuple[Any, Any]:
    consumer = KafkaConsumer(
        bootstrap_servers=bootstrap,
        group_id=f"bare-{time.time_ns()}",
        auto_offset_reset="earliest",
        enable_auto_commit=False,
        metrics_enabled=False,
    )
    consumer.assign([TopicPartition(topic, partition) for partition in partitions])
    producer = KafkaProducer(
        bootstrap_servers=bootstrap, acks="all", enable_idempotence=True, linger_ms=20, metrics_enabled=False
    )
    return consumer, producer


def _all(session: Any, statements: list[Any]) -> None:
    """Run statements concurrently, and return when each has its answer. On a busy disk one may need a second try, as in
    a tagger."""
    for statement, future in [(statement, session.execute_async(statement)) for statement in statements]:
        try:
            future.result()
        except WriteTimeout:
            session.execute(statement)


def _batch(inserts: dict[str, Any], rows: list[tuple[str, Sequence[Any]]]) -> Any:
    batch = BatchStatement(BatchType.UNLOGGED)
    for table, values in rows:
        batch.add(inserts[table].bind(values))
    return batch


def _polled(consumer: Any, count: int) -> Iterator[list[Any]]:
    left = count
    while left > 0:
        polled = consumer.poll(timeout_ms=100, max_records=_POLL_RECORDS)
        records = [record for found in polled.values() for record in found]
        if records:
            yield records
        left -= len(records)


def _insert(session: Any, keyspace: str, table: str) -> Any:
    columns = session.execute(f"SELECT * FROM {keyspace}.{table} LIMIT 1").column_names
    marks = ", ".join("?" * len(columns))
    return session.prepare(f"INSERT INTO {keyspace}.{table} ({', '.join(columns)}) VALUES ({marks})")
