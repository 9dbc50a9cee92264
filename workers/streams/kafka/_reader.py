"""Reads topics without a group: from an offset to an offset, or one record of each partition."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any

from kafka import KafkaConsumer as Client  # type: ignore[import-untyped]
from kafka import TopicPartition

from schemas.errors import Transient
from workers.streams.base import Partition, Record
from workers.streams.kafka._connect import open_client, translated
from workers.streams.kafka._fetching import FETCH_OPTIONS, record_of, release_parked
from workers.streams.kafka._settings import KafkaSettings

_POLL_S = 0.5
_PAGE_RECORDS = 500
_FETCH_WAIT_MS = 20  # a longer wait would delay the next reading, and no record is awaited after the end
_SILENCE_S = 15.0  # without any progress for this long, the brokers are taken to be unreachable
_FIRSTS_SILENCE_S = 5.0  # shorter, because it is asked every few seconds, just after brokers answered


class Reader:
    """A client for one reading at a time. Opening it takes tens of milliseconds, so it is kept for the next one."""

    def __init__(self, settings: KafkaSettings, worker: str, **options: Any) -> None:
        """Connect. `options` are options of kafka-python. Raises ConfigError or Transient."""
        self._settings = settings
        options = {**FETCH_OPTIONS, "fetch_max_wait_ms": _FETCH_WAIT_MS, **options}
        self._client, _ = open_client(Client, settings, client_id=worker, **options)

    def read(self, ends: Mapping[Partition, int], start: Mapping[Partition, int]) -> Iterator[Record]:
        """Yield every record with `start` <= offset < `ends`, in offset order within a partition. Partitions that are
        not in `start` are read from the beginning.

        Raises Transient if brokers do not answer.
        """
        left = self._begin(ends, start)
        heard = time.monotonic()
        while left:
            fetched = self._poll(_PAGE_RECORDS)
            for place, items in fetched.items():
                partition = Partition(*place)
                for item in items:
                    if item.offset < ends[partition]:
                        yield record_of(partition, item)
            heard = self._heard(bool(self._finish(left) or fetched), heard, left, _SILENCE_S)

    def first_timestamps_ms(
        self, ends: Mapping[Partition, int], start: Mapping[Partition, int]
    ) -> dict[Partition, int]:
        """The timestamp of the first record at or after `start`, in ms since the epoch, UTC. Partitions without such a
        record before `ends` are absent.

        Raises Transient if brokers do not answer.
        """
        left = self._begin({p: end for p, end in ends.items() if p in start}, start)
        found: dict[Partition, int] = {}
        heard = time.monotonic()
        while left:
            fetched = self._poll(1)
            for place, (item, *_) in fetched.items():
                del left[place]
                found[Partition(*place)] = item.timestamp
            done = self._finish(left)
            if fetched and left:
                with translated(self._settings, "reading"):
                    self._client.assign(list(left))  # drops other fetched records of the finished partition
            heard = self._heard(bool(done or fetched), heard, left, _FIRSTS_SILENCE_S)
        return found

    def close(self) -> None:
        """Release."""
        self._client.close(autocommit=False)

    def _begin(self, ends: Mapping[Partition, int], start: Mapping[Partition, int]) -> dict[TopicPartition, int]:
        """Assign the partitions that may have records with `start` <= offset < `ends`, and return their ends."""
        left = {TopicPartition(*p): end for p, end in ends.items() if start.get(p, 0) < end}
        if left:
            with translated(self._settings, "reading"):
                self._client.unsubscribe()
                self._client.assign(list(left))
                for place in left:
                    self._client.seek(place, start.get(Partition(*place), 0))
        return left

    def _poll(self, max_records: int) -> dict[TopicPartition, list[Any]]:
        with translated(self._settings, "reading"):
            release_parked(self._client)
            fetched: dict[TopicPartition, list[Any]] = self._client.poll(
                timeout_ms=int(_POLL_S * 1000), max_records=max_records
            )
        return fetched

    def _heard(self, news: bool, heard: float, left: Mapping[TopicPartition, int], silence_s: float) -> float:
        """The time of the last record (`time.monotonic()`). Raises Transient if that is longer ago than `silence_s`."""
        now = time.monotonic()
        if news:
            return now
        if now - heard > silence_s:
            topic = next(iter(left)).topic
            raise Transient("stream", "log_silent", f"{topic}: no record came for {silence_s:.0f} s before its end")
        return heard

    def _finish(self, left: dict[TopicPartition, int]) -> bool:
        """Remove the partitions that have been read to their end. Compaction may have deleted their last records."""
        with translated(self._settings, "reading"):
            done = [
                place
                for place, end in left.items()
                if (position := self._client.position(place, timeout_ms=0)) is not None and position >= end
            ]
            if done:
                for place in done:
                    del left[place]
                self._client.pause(*done)
        return bool(done)
