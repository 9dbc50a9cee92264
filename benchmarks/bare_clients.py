"""kafka-python and cassandra-driver alone: read the same events, write the same cells, send the same messages.

What a program costs that has no thoughts of its own: nothing is decoded, ordered, checked or retried. It may ask for
the same heads of listings as a tagger has to, three times an event, and do nothing with the answers; and decode.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from cassandra import WriteTimeout  # type: ignore[import-untyped]
from cassandra.cluster import Cluster  # type: ignore[import-untyped]
from cassandra.query import BatchStatement, BatchType, tuple_factory  # type: ignore[import-untyped]
from kafka import KafkaConsumer, KafkaProducer  # type: ignore[import-untyped]

from workers.streams.base import Record

_TABLES = ("listings", "thumbnails")
_POLL_RECORDS = 128  # also the writes in flight, as our store's bound
_LOOK_UPS, _LOOK_UP_LISTINGS = 3, 32  # of an event, and in one request: as the tagger's
_HEADS = (
    "SELECT listing_id, event_time, newest, versions FROM {ks}.listings"
    " WHERE listing_id IN ? AND model_version = '' AND image_id = ''"
)


@dataclass(frozen=True, slots=True)
class Copied:
    """What a tagger wrote for some listings, by listing id: (table, values of a row), and the hash message."""

    rows: dict[str, list[tuple[str, Sequence[Any]]]]
    messages: dict[bytes, Record]


def connect(place: tuple[str, int]) -> Any:
    """A session as the driver makes it."""
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


def run(
    copied: Copied,
    *,
    bootstrap: str,
    topic: str,
    hash_topic: str,
    session: Any,
    keyspace: str,
    look_up: bool = False,
    each: Callable[[], object] | None = None,
) -> tuple[float, float]:
    """Seconds of the clock and of the processor for each event of `topic`; with `look_up`, heads are read as well, and
    `each` is called for each event."""
    inserts = {table: _insert(session, keyspace, table) for table in _TABLES}
    heads = session.prepare(_HEADS.format(ks=keyspace))
    session.row_factory = tuple_factory  # the driver's own makes a class for every answer
    consumer, producer = _clients(bootstrap, topic)
    done, clock, cpu = 0, 0.0, 0.0
    try:
        for records in _polled(consumer, len(copied.messages)):
            if not done:
                clock, cpu = time.perf_counter(), time.process_time()
            if each is not None:
                for _ in records:
                    each()
            _all(session, [_batch(inserts, copied.rows[record.key.decode()]) for record in records])
            for record in records:
                message = copied.messages[record.key]
                producer.send(hash_topic, value=message.value, key=message.key, headers=list(message.headers))
            producer.flush()
            if look_up:
                ids = [record.key.decode() for record in records]
                parts = [ids[i : i + _LOOK_UP_LISTINGS] for i in range(0, len(ids), _LOOK_UP_LISTINGS)]
                _all(session, [heads.bind([part]) for part in parts] * _LOOK_UPS)
            consumer.commit()
            done += len(records)
        return (time.perf_counter() - clock) / done, (time.process_time() - cpu) / done
    finally:
        producer.close()
        consumer.close()


def _clients(bootstrap: str, topic: str) -> tuple[Any, Any]:
    consumer = KafkaConsumer(
        topic,
        bootstrap_servers=bootstrap,
        group_id=f"bare-{time.time_ns()}",
        auto_offset_reset="earliest",
        enable_auto_commit=False,
        metrics_enabled=False,
    )
    producer = KafkaProducer(
        bootstrap_servers=bootstrap, acks="all", enable_idempotence=True, linger_ms=20, metrics_enabled=False
    )
    return consumer, producer


def _all(session: Any, statements: list[Any]) -> None:
    """Side by side; returns when each has its answer. On a busy disk one may need a second try, as from a tagger."""
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
