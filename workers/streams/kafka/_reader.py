"""Reading topics without a group: from an offset to an offset, or one record of each partition."""

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
_FETCH_WAIT_MS = 20  # a request that waits for more holds up the next reading: there is an end, so none need wait
_SILENCE_S = 15.0  # without any progress, brokers count as away
_FIRSTS_SILENCE_S = 5.0  # of a question that is asked every few seconds, just after brokers answered another


class Reader:
    """A client for one reading at a time; opening one costs tens of milliseconds, so that they are kept."""

    def __init__(self, settings: KafkaSettings, worker: str, **options: Any) -> None:
        """Connects; `options` are kafka-python's. Raises ConfigError or Transient."""
        self._settings = settings
        options = {**FETCH_OPTIONS, "fetch_max_wait_ms": _FETCH_WAIT_MS, **options}
        self._client, _ = open_client(Client, settings, client_id=worker, **options)

    def read(self, ends: Mapping[Partition, int], start: Mapping[Partition, int]) -> Iterator[Record]:
        """Every record from `start` (absent: the beginning) to before `ends`, in offset order within a partition.

        Raises Transient when brokers do not answer.
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
        """Timestamp of the first record at or after `start`, of partitions that have one before `ends`.

        Raises Transient when brokers do not answer.
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
                    self._client.assign(list(left))  # drops what else was fetched of the one that is done
            heard = self._heard(bool(done or fetched), heard, left, _FIRSTS_SILENCE_S)
        return found

    def close(self) -> None:
        """Release."""
        self._client.close(autocommit=False)

    def _begin(self, ends: Mapping[Partition, int], start: Mapping[Partition, int]) -> dict[TopicPartition, int]:
        """Take up partitions that may have records from `start` to before `ends`; returns their ends."""
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
        """When something last came (monotonic); raises Transient after too long a silence."""
        now = time.monotonic()
        if news:
            return now
        if now - heard > silence_s:
            topic = next(iter(left)).topic
            raise Transient("stream", "log_silent", f"{topic}: nothing came for {silence_s:.0f} s before its end")
        return heard

    def _finish(self, left: dict[TopicPartition, int]) -> bool:
        """Take off what has been read to its end; compaction may have taken the last records before it."""
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
