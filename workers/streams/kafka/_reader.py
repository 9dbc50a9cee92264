"""Reading a topic from an offset to an offset, without a group."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping

from kafka import KafkaConsumer as Client  # type: ignore[import-untyped]
from kafka import TopicPartition

from schemas.errors import Transient
from workers.streams.base import Partition, Record
from workers.streams.kafka._connect import open_client, translated
from workers.streams.kafka._consumer import FETCH_OPTIONS, record_of
from workers.streams.kafka._parked import release_parked
from workers.streams.kafka._settings import KafkaSettings

_POLL_S = 0.5
_PAGE_RECORDS = 500
_FETCH_WAIT_MS = 20  # a request that waits for more holds up the next reading: there is an end, so none need wait
_SILENCE_S = 15.0  # without any progress, brokers count as away


class Reader:
    """A client for one reading at a time; opening one costs tens of milliseconds, so that they are kept."""

    def __init__(self, settings: KafkaSettings, worker: str) -> None:
        """Connects; raises ConfigError or Transient."""
        self._settings = settings
        options = {**FETCH_OPTIONS, "fetch_max_wait_ms": _FETCH_WAIT_MS}
        self._client, _ = open_client(Client, settings, client_id=worker, **options)

    def read(self, ends: Mapping[Partition, int], start: Mapping[Partition, int]) -> Iterator[Record]:
        """Every record from `start` (absent: the beginning) to before `ends`, in offset order within a partition.

        Raises Transient when brokers do not answer.
        """
        left = {TopicPartition(*p): end for p, end in ends.items() if start.get(p, 0) < end}
        if not left:
            return
        with translated(self._settings, "reading"):
            self._client.unsubscribe()
            self._client.assign(list(left))
            for place in left:
                self._client.seek(place, start.get(Partition(*place), 0))
        heard = time.monotonic()
        while left:
            with translated(self._settings, "reading"):
                release_parked(self._client)
                fetched = self._client.poll(timeout_ms=int(_POLL_S * 1000), max_records=_PAGE_RECORDS)
            for place, items in fetched.items():
                partition = Partition(*place)
                for item in items:
                    if item.offset < ends[partition]:
                        yield record_of(partition, item)
            if self._finish(left) or fetched:
                heard = time.monotonic()
            elif time.monotonic() - heard > _SILENCE_S:
                topic = next(iter(left)).topic
                raise Transient("stream", "log_silent", f"{topic}: nothing came for {_SILENCE_S:.0f} s before its end")

    def close(self) -> None:
        """Release."""
        self._client.close(autocommit=False)

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
