"""A node that refuses a password once is looked for again, by the driver's own handlers."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

cassandra = pytest.importorskip("cassandra")

from cassandra import AuthenticationFailed  # noqa: E402
from cassandra.cluster import _ControlReconnectionHandler  # noqa: E402
from cassandra.policies import SimpleConvictionPolicy  # noqa: E402
from cassandra.pool import Host, _HostReconnectionHandler  # noqa: E402

from workers.stores.cassandra import _session  # noqa: E402, F401  # its import is what is tested


class Scheduler:
    """Notes what it is to run later."""

    def __init__(self) -> None:
        self.planned: list[float] = []

    def schedule(self, delay: float, *_: object) -> None:
        self.planned.append(delay)


class Refusing:
    """A control connection that is refused."""

    def _reconnect_internal(self) -> None:
        raise AuthenticationFailed("no")


def refused() -> None:
    raise AuthenticationFailed("no")


def delays() -> Iterator[float]:
    yield from (0.5, 1.0, 2.0)


def test_a_refused_password_is_not_the_last_try() -> None:
    scheduler, control = Scheduler(), Refusing()
    host = Host("127.0.0.1", SimpleConvictionPolicy)
    of_host = _HostReconnectionHandler(host, refused, False, None, None, scheduler, delays(), None)
    of_control = _ControlReconnectionHandler(control, scheduler, delays(), None)
    for handler in (of_host, of_control):
        scheduler.planned.clear()
        handler.run()
        handler.run()
        assert scheduler.planned == [0.5, 1.0]
