"""Keeps the counts up to date: a thread reads the topic `listings.together` by offset, from its beginning.

It needs no consumer group, because every search service reads all occasions. A message that cannot be used is counted
and skipped. While the stream is away the counts stay as they are.
"""

from __future__ import annotations

import logging
import threading
import time

from schemas.errors import ConfigError, InvalidEvent, Transient
from schemas.occasions import decode_occasion
from schemas.topics import TOGETHER, TOGETHER_DAYS, TOPICS
from workers.catching_up import CatchingUp
from workers.streams.base import Partition, Record, Stream, StreamAdmin, TopicSpec
from workers.together.counts import Counts
from workers.topic_records import RefusedRecords
from workers.watching import suggestion_metrics as metrics

_log = logging.getLogger(__name__)
_PAUSES_S = (0.1, 5.0)
_WINDOW_US = TOGETHER_DAYS * 24 * 3600 * 1_000_000
_JOIN_S = 5.0  # a stream that is away may hold the thread longer; it is a daemon
_LOOK_EVERY = 500  # records between two looks at whether to stop


class Follower:
    """The thread that follows the topic, and the counts that it keeps."""

    def __init__(self, stream: Stream, most: int, poll_interval_s: float = 1.0) -> None:
        """`most`: occasions that are held. `poll_interval_s`: between two looks at the end of the topic."""
        self.counts = Counts(most)
        self.progress = CatchingUp("occasions")
        self._stream, self._poll_interval_s = stream, poll_interval_s
        self._offsets: dict[Partition, int] = {}
        self._stop = threading.Event()
        self._read = threading.Event()
        self._away = "the topic has not been read yet"
        self._refused = RefusedRecords(_log, "an occasion")
        self._thread = threading.Thread(target=self._run, name="search-together", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        metrics.OCCASIONS.set(0)
        self.progress.begin()
        self._thread.start()

    def close(self) -> None:
        """End the thread."""
        self._stop.set()
        if self._thread.ident is not None:
            self._thread.join(_JOIN_S)
        self.progress.end()

    @property
    def waiting_for(self) -> str:
        """Why there are no counts yet; empty once the topic has been read to its end."""
        return "" if self._read.is_set() else self._away

    @property
    def stale(self) -> bool:
        """Whether the stream does not answer now, so that the counts may be behind."""
        return bool(self._away)

    def _run(self) -> None:
        pause_s = _PAUSES_S[0]
        admin: StreamAdmin | None = None
        while not self._stop.is_set():
            try:
                if admin is None:
                    admin = self._stream.admin()
                    admin.ensure_topics([_spec()])
                if self._catch_up(admin):
                    self._note("")
                    self._read.set()
                pause_s = _PAUSES_S[0]
                self._stop.wait(self._poll_interval_s)
            except (Transient, ConfigError) as error:
                self._note(str(error))
                self._stop.wait(pause_s)
                pause_s = min(2 * pause_s, _PAUSES_S[1])
            except Exception as error:  # a fault of ours must not end the counts for good, nor the searches
                _log.exception("following %s failed; it goes on", TOGETHER)
                self._note(f"a fault of the service ({type(error).__name__}); its log says more")
                self._stop.wait(_PAUSES_S[1])
        if admin is not None:
            admin.close()

    def _catch_up(self, admin: StreamAdmin) -> bool:
        """Take everything up to the present end of the topic. False if it was told to stop before."""
        ends = admin.end_offsets(TOGETHER)
        if any(end < self._offsets.get(partition, 0) for partition, end in ends.items()):
            _log.warning("%s was replaced by a shorter topic: it is read from its beginning", TOGETHER)
            self._offsets = {}
            self.counts.clear()
        self.counts.expire(time.time_ns() // 1000 - _WINDOW_US)
        if any(self._offsets.get(partition, 0) < end for partition, end in ends.items()):
            start = {partition: self._offsets.get(partition, 0) for partition in ends}
            for number, record in enumerate(admin.read(TOGETHER, start), 1):
                self._take(record)
                self._offsets[record.partition] = record.next_offset
                if number % _LOOK_EVERY == 0 and self._stop.is_set():
                    return False
            for partition, end in ends.items():  # the topic deletes old records
                self._offsets[partition] = max(self._offsets.get(partition, 0), end)
        metrics.OCCASIONS.set(len(self.counts))
        return True

    def _take(self, record: Record) -> None:
        try:
            key = (record.key or b"").decode("ascii", "replace")
            if record.value is None:
                self.counts.withdraw(key)
                return
            occasion = decode_occasion(record.value)
            if key != occasion.occasion_id:
                text = "key: not the occasion_id of the message; keys order what is sent under one id"
                raise InvalidEvent("together", "key_mismatch", text)
        except InvalidEvent as error:
            self._refuse(error, record)
            return
        if occasion.event_time >= time.time_ns() // 1000 - _WINDOW_US:
            self.counts.add(occasion)

    def _refuse(self, error: InvalidEvent, record: Record) -> None:
        metrics.OCCASIONS_REFUSED.labels(error.error).inc()
        self._refused.note(error.error, record, error.message)

    def _note(self, away: str) -> None:
        if away and not self.stale:
            _log.warning("%s cannot be read; the counts stay as they are: %s", TOGETHER, away)
        self._away = away
        if away:
            self.progress.waits(away)
        else:
            self.progress.reached()


def _spec() -> TopicSpec:
    topic = next(topic for topic in TOPICS if topic.name == TOGETHER)
    return TopicSpec(topic.name, topic.partitions, topic.cleanup == "compact", topic.retention_ms)
