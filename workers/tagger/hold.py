"""The hold: while the store or the stream is away, a tagger takes nothing new and keeps what it has in hand.

No event causes an outage, so an outage must not use up an event's tries. When an event fails because the store or the
stream did not answer, a probe asks that service about something else. If the probe fails too, the service counts as
away and the hold begins. From then on one thread probes until the service answers again. Then everything that waits is
tried again at once.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from schemas.errors import Transient, is_outage
from workers.http.serving import Health
from workers.watching import metrics

_log = logging.getLogger(__name__)

Service = Literal["store", "stream"]
_PROBE_EVERY_S = 0.5  # so a service is used again within a second of its return
_GRACE_S = 20.0  # a cluster that has just come back may refuse some keys for seconds; that is still the outage


@dataclass(frozen=True, slots=True)
class Away:
    """A service that does not answer: since when (UTC seconds), and its last error."""

    since: float
    why: str


class _Probe:
    """Asks one service whether it answers. Threads whose events failed at the same time share one answer."""

    def __init__(self, ask: Callable[[], None]) -> None:
        self._ask = ask
        self._lock = threading.Lock()
        self._asked = 0.0
        self._answer: Transient | None = None

    def __call__(self, since: float) -> Transient | None:
        """None if the service answered a probe that began at `since` (`time.monotonic()`) or later, else its error. An
        answer from before an event failed says nothing about that failure."""
        with self._lock:
            if self._asked < since:
                self._asked = time.monotonic()
                try:
                    self._ask()
                    self._answer = None
                except Transient as why:
                    self._answer = why
            return self._answer


class Hold:
    """Knows which services are away. Thread-safe. `start` runs the thread that notices when they are back."""

    def __init__(self, probes: Mapping[Service, Callable[[], None]], health: Health) -> None:
        """`probes`: each returns if its service answers, and raises Transient if it does not."""
        self._probes = {service: _Probe(ask) for service, ask in probes.items()}
        self._health = health
        self._away: dict[Service, Away] = {}
        self._changed = threading.Condition()
        self._stopped = False
        self._alerted = False
        self._ended = -_GRACE_S
        self._listeners: list[Callable[[], None]] = []
        self._thread = threading.Thread(target=self._watch, name="hold", daemon=True)
        for service in self._probes:
            metrics.HOLD.labels(service).set(0)
            metrics.REACHABLE.labels(service).set(1)

    @property
    def on(self) -> bool:
        """True if a service is away."""
        return bool(self._away)

    @property
    def away(self) -> frozenset[Service]:
        """The services that are away."""
        return frozenset(self._away)

    def start(self, when_changed: Callable[[], None]) -> None:
        """Start the thread. It calls `when_changed` when the hold ends."""
        self._listeners.append(when_changed)
        self._thread.start()

    def stop(self) -> None:
        """End the thread. Idempotent."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    def judge(self, why: Transient, since: float | None = None) -> bool:
        """Decide whether an event failed because of an outage. If so, the event is kept and its try does not count.

        Asks the services, which may take seconds. An outage that ended less than 20 s ago counts as well.

        Args:
            why: the error.
            since: when the event failed, as `time.monotonic()`; default: now.
        """
        if not is_outage(why):
            return False
        return self.on or self.look(since) or time.monotonic() - self._ended < _GRACE_S

    def alert(self, why: Transient) -> None:
        """Report a failed call from a thread that must not wait. The services are asked in the background."""
        if is_outage(why):
            with self._changed:
                self._alerted = True
                self._changed.notify_all()

    def look(self, since: float | None = None) -> bool:
        """Probe every service. Returns True if one does not answer. It is also called regularly while nothing fails, so
        that an idle tagger notices an outage as well. `since` is `time.monotonic()` in seconds, by default now."""
        since = time.monotonic() if since is None else since
        for service, probe in self._probes.items():
            failure = probe(since)
            metrics.REACHABLE.labels(service).set(failure is None)
            if failure is not None:
                self._begin(service, failure)
        return self.on

    def _begin(self, service: Service, why: Transient) -> None:
        with self._changed:
            if service in self._away:
                return
            self._away[service] = Away(time.time(), why.message)
            self._tell()
            self._changed.notify_all()
        _log.warning(
            "hold: the %s does not answer, so nothing new is taken and what is in hand waits: %s", service, why.message
        )

    def _end(self, service: Service) -> None:
        with self._changed:
            away = self._away.pop(service, None)
            self._ended = time.monotonic()
            self._tell()
        if away is not None:
            _log.warning("the %s answers again after %.0f s; the hold on it ends", service, time.time() - away.since)
        if not self.on:
            for listener in self._listeners:
                listener()

    def _tell(self) -> None:
        for service in self._probes:
            metrics.HOLD.labels(service).set(service in self._away)
        first = next(iter(self._away.items()), None)
        self._health.hold = None
        if first is not None:
            service, away = first
            self._health.hold = {"service": service, "since": away.since, "why": away.why}

    def _watch(self) -> None:
        while True:
            with self._changed:
                while not (self._away or self._alerted or self._stopped):
                    self._changed.wait()
                if self._stopped:
                    return
                alerted, self._alerted = self._alerted, False
                if not alerted:
                    self._changed.wait(_PROBE_EVERY_S)
                away = list(self._away)
            if alerted:
                self.look()
            for service in away:
                if self._probes[service](time.monotonic()) is None:
                    metrics.REACHABLE.labels(service).set(1)
                    self._end(service)
