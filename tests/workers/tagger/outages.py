"""A store and a stream that can be taken away and brought back, around the rig's own: the port in front, nothing faked
behind it."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import Any

from schemas.errors import Transient
from workers.stores import Store
from workers.streams import Stream


class Outage:
    """`begin` takes a service away, `end` brings it back."""

    def __init__(self, stage: str) -> None:
        self._stage = stage
        self._away = threading.Event()
        self.refused = 0
        """Calls that came while it was away."""

    def begin(self) -> None:
        self._away.set()

    def end(self) -> None:
        self._away.clear()

    def check(self) -> None:
        if self._away.is_set():
            self.refused += 1
            raise Transient(self._stage, "unavailable", f"the {self._stage} does not answer")


class Guarded:
    """Any port object whose calls fail during an outage, but for those that ask no server."""

    _LOCAL = frozenset({"close", "pause", "resume"})

    def __init__(self, behind: Any, outage: Outage) -> None:
        self._behind, self._outage = behind, outage

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._behind, name)
        if not callable(found) or name in self._LOCAL:
            return found

        def guarded(*arguments: Any, **named: Any) -> Any:
            self._outage.check()
            return found(*arguments, **named)

        return guarded


class GuardedStore(Guarded):
    """A store: a batch of changes fails change by change, as the port has it."""

    def apply(self, changes: Any) -> Any:
        try:
            self._outage.check()
        except Transient as why:
            return [why for _ in changes]
        return self._behind.apply(changes)


def guarded_store(store: Store, outage: Outage) -> Any:
    return GuardedStore(store, outage)


def guarded_stream(stream: Stream, outage: Outage) -> Stream:
    """A stream whose producers, consumers and admin clients fail during an outage."""

    def consumer(*arguments: Any, **named: Any) -> Any:
        outage.check()
        return Guarded(stream.consumer(*arguments, **named), outage)

    return replace(
        stream,
        consumer=consumer,
        producer=lambda: Guarded(stream.producer(), outage),
        admin=lambda: Guarded(stream.admin(), outage),
    )
