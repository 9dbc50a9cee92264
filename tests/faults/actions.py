"""What is done to workers and servers. A fault is over when what it was done to is ready again."""

from __future__ import annotations

import time

from deploy.local import Services
from tests.faults import servers
from tests.faults.cluster import Cluster
from tests.faults.ladder import SLOWNESS
from tests.faults.town import Town

AFTER_OUTAGE_S = 150.0 * SLOWNESS
"""For a worker that is killed while a server is away: it can be ready only after the longest outage."""


def _cluster(town: Town) -> Cluster:
    assert isinstance(town.cluster, Cluster), "a supervisor's workers are its own"
    return town.cluster


def kill_worker(town: Town, worker: str) -> None:
    """Kill -9, start again as a supervisor does, wait until it is ready."""
    _cluster(town).kill(worker)
    _cluster(town).url(worker, revive=True, timeout_s=AFTER_OUTAGE_S)


def end_worker(town: Town, worker: str) -> None:
    """SIGTERM, start again, wait until it is ready."""
    _cluster(town).term(worker)
    _cluster(town).url(worker, revive=True, timeout_s=AFTER_OUTAGE_S)


def join(town: Town, worker: str) -> None:
    """One more tagger; returns when it is ready."""
    _cluster(town).start(worker)
    _cluster(town).url(worker, revive=True, timeout_s=AFTER_OUTAGE_S)


def leave(town: Town, worker: str) -> None:
    """SIGTERM, for good."""
    _cluster(town).leave(worker)


def visit(town: Town, worker: str, stay_s: float) -> None:
    """One more tagger joins, works for a moment and leaves: two rebalances."""
    join(town, worker)
    time.sleep(stay_s)
    leave(town, worker)


def refuse_dead_letters(town: Town, seconds: float) -> None:
    """The broker refuses every dead letter for a while. Taggers keep what they have to write, and go on."""
    servers.refuse_dead_letters(town.services, True)
    time.sleep(seconds)
    servers.refuse_dead_letters(town.services, False)


def kill_server(services: Services, server: str, away_s: float) -> None:
    """SIGKILL, a while without it, and back: returns when it answers."""
    services.kill(server)
    time.sleep(away_s)
    services.start(server)


def pause_server(services: Services, server: str, seconds: float) -> None:
    """SIGSTOP for a while."""
    services.pause(server)
    time.sleep(seconds)
    services.resume(server)
