"""Keeps the health of a search service up to date: whether it is ready, and which service is away.

A search needs the engine and the index, so without one of them the service is not ready. While the store or the stream
is away the service stays ready, because another instance would fare no better, and `/readyz` names the service under
`degraded`: without the store most requests get 503, without the stream the index no longer changes. A thread that
follows a topic and is behind is named there as well.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping

from schemas.errors import Transient
from workers.catching_up import CatchingUp
from workers.http.serving import Health
from workers.search.find.indexers import Indexers
from workers.stores import Store
from workers.watching import metrics

_log = logging.getLogger(__name__)
_SERVICES = ("store", "stream")
_WARMING_S = 0.05  # between two checks while the engine warms up, which takes about a second
_STORE_PAUSES = 5  # a store that answers is asked every fifth time, because a probe writes


class ReadinessProbe:
    """Two threads: one asks the indexers, the other asks the store, which may take 2 s to say that it is away."""

    def __init__(
        self,
        health: Health,
        indexers: Indexers,
        store: Store,
        interval_s: float,
        followers: Mapping[str, CatchingUp],
    ) -> None:
        """`followers`: by what they keep up to date, the progress of the threads that follow topics."""
        self._followers = followers
        self._health, self._indexers, self._store, self._interval_s = health, indexers, store, interval_s
        self._stop = threading.Event()
        self._away: dict[str, str] = {}
        self._lock = threading.Lock()
        self._threads = [
            threading.Thread(target=loop, name=f"search-probe-{name}", daemon=True)
            for name, loop in (("index", self._watch_index), ("store", self._watch_store))
        ]
        for service in _SERVICES:
            metrics.REACHABLE.labels(service).set(1)

    def start(self) -> None:
        """Start the threads."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End the threads, which may take 2 s."""
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _watch_index(self) -> None:
        health = self._health
        while not self._stop.is_set():
            state = self._indexers.state()
            health.source_stale = state.stale
            waiting_for = state.waiting_for if health.started else "the engine's first batch"
            if health.failure is None and waiting_for:
                health.mark_unready(waiting_for)
            elif health.failure is None:
                health.mark_ready()
            self._note("stream", state.stream_away)
            for name, progress in self._followers.items():
                self._note(name, progress.why_behind)
            self._stop.wait(self._interval_s if health.started else _WARMING_S)

    def _watch_store(self) -> None:
        while not self._stop.is_set():
            why = ""
            try:
                self._store.probe()
            except Transient as error:
                why = error.message
            except Exception as error:  # a store that is closed or refuses access: searches fail as well
                why = str(error)
            self._note("store", why)
            self._stop.wait(self._interval_s * (1 if why else _STORE_PAUSES))

    def _note(self, name: str, why: str) -> None:
        """Note whether a service answers (`why` is empty) or is away, or whether a follower has caught up or is behind.
        A change is one line in the log."""
        with self._lock:
            before = name in self._away
            if why:
                self._away[name] = why
            else:
                self._away.pop(name, None)
            self._health.degraded = dict(self._away)
        if name in _SERVICES:
            metrics.REACHABLE.labels(name).set(not why)
        if why and not before:
            text = "the %s does not answer: %s" if name in _SERVICES else "%s: %s"
            _log.warning("degraded: " + text, name, why)
        elif before and not why:
            _log.warning("the %s answers again" if name in _SERVICES else "%s have caught up", name)
