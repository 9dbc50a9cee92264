"""Reports a running tagger to operators: lag, assignment and reachability as metrics, and one log line a minute."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from schemas.errors import GroknetError, Transient
from schemas.topics import RETRY_DELAYS_S
from workers.streams.base import Partition, StreamAdmin
from workers.tagger.hold import Hold
from workers.tagger.lane import Lane
from workers.watching import metrics

_log = logging.getLogger(__name__)
_LINE_EVERY_S = 60.0


class Watch:
    """A thread that measures every `interval_s` seconds. No error in this thread ends the worker."""

    def __init__(
        self,
        lanes: Sequence[Lane],
        hold: Hold,
        *,
        admin: Callable[[], StreamAdmin],
        interval_s: float,
        outcomes: Callable[[], Counter[str]],
        in_flight: Callable[[], int],
    ) -> None:
        """`outcomes` returns the number of events by outcome since its last call."""
        self._lanes, self._hold, self._admin, self._interval_s = lanes, hold, admin, interval_s
        self._outcomes, self._in_flight = outcomes, in_flight
        self._lag: dict[str, tuple[int, float]] = {}
        self._stop = threading.Event()
        self._line_due = time.monotonic() + _LINE_EVERY_S
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread and write the last line."""
        self._stop.set()
        self._line()

    def _run(self) -> None:
        while not self._stop.wait(self._interval_s):
            try:
                self._hold.look()
                self._measure()
            except GroknetError as why:
                _log.debug("the lag cannot be measured now: %s", why)
            except Exception:
                _log.exception("the watch failed and continues")
            if time.monotonic() >= self._line_due:
                self._line_due += _LINE_EVERY_S
                self._line()

    def _measure(self) -> None:
        """Also while the store is away, when lag grows. While the stream is, lag is not known: not a number."""
        known = "stream" not in self._hold.away
        for lane in self._lanes:
            for topic in lane.source.topics:
                mine = frozenset(p for p in lane.assigned if p.topic == topic)
                metrics.ASSIGNED.labels(topic).set(len(mine))
                if not known:
                    metrics.LAG_RECORDS.labels(topic).set(math.nan)
                    metrics.LAG_SECONDS.labels(topic).set(math.nan)
                    continue
                self._lag[topic] = lag(self._admin(), lane.source.group, topic, mine)
                records, seconds = self._lag[topic]
                metrics.LAG_RECORDS.labels(topic).set(records)
                metrics.LAG_SECONDS.labels(topic).set(seconds)

    def _line(self) -> None:
        """Log what happened in the last minute, if anything happened."""
        ended = self._outcomes()
        waiting = {topic: records for topic, (records, _) in self._lag.items() if records}
        if not ended and not waiting and not self._in_flight():
            return
        done = ", ".join(f"{count} {outcome}" for outcome, count in ended.most_common()) or "nothing finished"
        lags = ", ".join(
            f"{records} in {topic} (oldest due for {self._lag[topic][1]:.0f} s)" for topic, records in waiting.items()
        )
        _log.info("last minute: %s; %d in hand; not committed: %s", done, self._in_flight(), lags or "nothing")


def lag(admin: StreamAdmin, group: str, topic: str, partitions: frozenset[Partition]) -> tuple[int, float]:
    """The number of uncommitted records in some partitions of a topic, and for how many seconds the oldest has been
    due.

    A record is due at its timestamp; on a retry topic, its delay later. Raises Transient.
    """
    ends, committed = admin.end_offsets(topic), admin.committed(group, topic)
    behind = {p: committed.get(p, 0) for p, end in ends.items() if p in partitions and end > committed.get(p, 0)}
    records = sum(ends[p] - offset for p, offset in behind.items())
    return records, oldest_due_s(admin.timestamps_ms(behind), topic) if behind else 0.0


def oldest_due_s(timestamps_ms: Mapping[Partition, int], topic: str, now: float | None = None) -> float:
    """Seconds since the oldest of these records was due; 0 if none is due. `timestamps_ms` are in ms since the epoch,
    UTC, and `now` in seconds since the epoch, UTC."""
    if not timestamps_ms:
        return 0.0
    due = min(timestamps_ms.values()) / 1000 + RETRY_DELAYS_S.get(topic, 0.0)
    return max(0.0, (time.time() if now is None else now) - due)


class Probe:
    """Asks the stream whether it answers and has room. Its admin client is opened at the first call."""

    def __init__(self, open_admin: Callable[[], StreamAdmin], topic: str) -> None:
        self._open = open_admin
        self._topic = topic
        self._lock = threading.Lock()
        self._opened: StreamAdmin | None = None

    def admin(self) -> StreamAdmin:
        """The admin client. Raises Transient if the stream does not answer."""
        with self._lock:
            if self._opened is None:
                self._opened = self._open()
            return self._opened

    def __call__(self) -> None:
        """Return if the stream answers and has room, else raise Transient."""
        self.admin().probe(self._topic)

    def close(self) -> None:
        """Close the admin client. Idempotent."""
        with self._lock:
            opened, self._opened = self._opened, None
        if opened is not None:
            try:
                opened.close()
            except Transient:
                return  # the stream is away, so there is nothing to close
