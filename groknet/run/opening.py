"""Opens the stream and the store of a starting worker, and waits for one that does not answer."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import TypeVar

from groknet.home.config import Loaded
from groknet.home.epochs import in_force
from groknet.run.open_back_ends import make_topics, wanted_topics
from groknet.run.process import Process, Stopped
from schemas.errors import Transient
from workers.http.serving import Health
from workers.stores import Store, build_store
from workers.streams import Stream, build_stream

_log = logging.getLogger(__name__)
_FIRST_PAUSE_S = 0.2
_LONGEST_PAUSE_S = 3.0  # between two tries, so that a service that is back is used within seconds

T = TypeVar("T")


class Opening:
    """Opens what a worker needs. The log and /readyz say what it waits for.

    Every method raises ConfigError if the service refuses the worker, because neither waiting nor a restart would help.
    It raises `Stopped` if the process is told to stop first.
    """

    def __init__(self, process: Process, loaded: Loaded, health: Health) -> None:
        self._process = process
        self._loaded = loaded
        self._health = health

    def stream(self, epoch: str | None = None) -> Stream:
        """Wait until the stream answers, and open it under this worker's name. The topics of a home exist then, and
        with `epoch` those of the epoch as well."""
        stream = build_stream(self._loaded.config.stream.url, self._process.name)
        self.topics(stream, epoch)
        return stream

    def topics(self, stream: Stream, epoch: str | None) -> None:
        """Wait until the stream answers, and create the missing topics."""
        wanted = wanted_topics(self._loaded, epoch)
        self.until("stream", lambda: make_topics(stream, wanted))

    def store(self, stack: ExitStack) -> Store:
        """Wait until the store answers, and open it. `stack` closes it."""
        section = self._loaded.config.store
        store = self.until("store", lambda: build_store(section.url, inline_photos_s=section.keep_inline_photos_s))
        stack.callback(store.close)
        return store

    def in_force(self, store: Store) -> Loaded:
        """Wait until the store answers, and return the configuration with the bundle of the epoch in force.

        Raises BundleRefused if this home does not have that bundle.
        """
        return self.until("store", lambda: in_force(self._loaded, store))

    def until(self, service: str, attempt: Callable[[], T]) -> T:
        """Repeat `attempt` until it does not raise `Transient`, and return its result. `service` is `stream` or
        `store`."""
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
