"""Open the stream and the store of a worker that starts. It waits for one that does not answer."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import TypeVar

from groknet.home.config import Loaded
from groknet.home.epochs import in_force
from groknet.run.open_back_ends import make_topics
from groknet.run.process import Process, Stopped
from schemas.errors import Transient
from schemas.topics import HASHES_PREFIX, TOPICS, topics_for
from workers.serving import Health
from workers.stores import Store, build_store
from workers.streams import Stream, build_stream

_log = logging.getLogger(__name__)
_FIRST_PAUSE_S = 0.2
_LONGEST_PAUSE_S = 3.0  # between two tries: a service that has come back is used within seconds

T = TypeVar("T")


class Opening:
    """Opens what a worker needs, and says in the log and at /readyz what it waits for.

    Everything here raises ConfigError when the service refuses us (a restart heals that as little as waiting does),
    and `Stopped` when the process is told to end first.
    """

    def __init__(self, process: Process, loaded: Loaded, health: Health) -> None:
        self._process = process
        self._loaded = loaded
        self._health = health

    def stream(self, epoch: str | None = None) -> Stream:
        """The stream under this worker's name, once it answers; with the topics of a home, or those of an epoch too."""
        stream = build_stream(self._loaded.config.stream.url, self._process.name)
        self.topics(stream, epoch)
        return stream

    def topics(self, stream: Stream, epoch: str | None) -> None:
        """Make the topics that are missing, once the stream answers."""
        common = [topic for topic in TOPICS if not topic.name.startswith(HASHES_PREFIX)]
        self.until("stream", lambda: make_topics(stream, common if epoch is None else topics_for(epoch)))

    def store(self, stack: ExitStack) -> Store:
        """The store, once it answers; `stack` closes it."""
        store = self.until("store", lambda: build_store(self._loaded.config.store.url))
        stack.callback(store.close)
        return store

    def in_force(self, store: Store) -> Loaded:
        """The configuration with the bundle of the epoch in force, once the store can tell it.

        Raises BundleRefused when this home does not have that bundle.
        """
        return self.until("store", lambda: in_force(self._loaded, store))

    def until(self, service: str, attempt: Callable[[], T]) -> T:
        """Try until it works: `Transient` means that the service (`stream` or `store`) is away."""
        since, pause_s, before = time.monotonic(), _FIRST_PAUSE_S, self._health.waiting_for
        waits = False
        while not self._process.stop.is_set():
            try:
                result = attempt()
            except Transient as why:
                self._health.waiting_for = f"the {service}: {why.message}"
                if not waits:
                    _log.warning("waiting for the %s, which does not answer: %s", service, why.message)
                waits = True
                self._process.stop.wait(pause_s)
                pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
                continue
            self._health.waiting_for = before
            if waits:
                _log.warning("the %s answers, after %.0f s", service, time.monotonic() - since)
            return result
        raise Stopped
