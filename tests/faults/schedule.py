"""One schedule: a workload in portions, a fault after each, drawn from a seed alone."""

from __future__ import annotations

import itertools
import random
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial

from tests.faults import servers
from tests.faults.poison import poisoned
from tests.faults.town import TAGGERS, Town
from tests.faults.workload import workload

KAFKA, CASSANDRA, GUEST = "kafka-1", "cassandra-1", "tagger-c"
_runs = itertools.count()


class Schedule:
    """What is sent and what is done; `steps` names the faults so far."""

    def __init__(self, seed: int, photos: list[bytes], *, listings: int, faults: int) -> None:
        self._rng = random.Random(seed)
        self._faults = faults
        name = f"run-{next(_runs)}"  # a town may see several, the same seed twice among them
        self._events = poisoned(workload(listings, photos, seed, name), share=0.05, seed=seed)
        self._under_way: dict[str, Future[None]] = {}
        self.steps: list[str] = []

    def run(self, town: Town) -> None:
        """Send the events in portions, begin one fault after each, wait until all is over and committed. What is
        done to a server, or waits for one, goes on behind what comes next; nothing has two faults at once."""
        portion = -(-len(self._events) // self._faults)
        with ThreadPoolExecutor(4) as behind:
            for i in range(self._faults):
                town.send(self._events[i * portion : (i + 1) * portion])
                time.sleep(self._rng.uniform(0.0, 1.0))
                name, who, action = self._draw(town)
                self.steps.append(name)
                self._over(who)
                self._under_way[who] = behind.submit(action)
                town.cluster.revive()
            self._over(*self._under_way)
        town.until_committed()

    def _over(self, *names: str) -> None:
        for name in names:
            if name in self._under_way:
                self._under_way.pop(name).result()

    def _draw(self, town: Town) -> tuple[str, str, Callable[[], None]]:
        """A fault: its name, whom it is done to, and how. All that is random about it is drawn here."""
        tagger, cluster, services = self._rng.choice(TAGGERS), town.cluster, town.services
        away_s, paused_s, stay_s = self._rng.uniform(0, 2), self._rng.uniform(1, 4), self._rng.uniform(0, 1)
        faults: dict[str, tuple[str, Callable[[], None]]] = {
            f"kill -9 {tagger}": (tagger, partial(cluster.kill, tagger)),
            f"end {tagger}": (tagger, partial(cluster.term, tagger)),
            "kill -9 indexer": ("indexer", partial(cluster.kill, "indexer")),
            "a third tagger": (GUEST, partial(_visit, town, stay_s)),
            "dead letters refused": (KAFKA, partial(_refuse_dead_letters, town, paused_s)),
        }
        for server in (KAFKA, CASSANDRA):
            faults[f"kill -9 {server}"] = (server, partial(servers.kill, services, server, away_s))
            # longer than a session, shorter than what a store is waited for
            faults[f"pause {server}"] = (server, partial(servers.pause, services, server, paused_s))
        name = self._rng.choice(sorted(faults))
        return name, *faults[name]


def _visit(town: Town, stay_s: float) -> None:
    """A third tagger joins, works for a moment and leaves: two rebalances."""
    town.cluster.start(GUEST)
    town.cluster.url(GUEST, revive=True)
    time.sleep(stay_s)
    town.cluster.leave(GUEST)


def _refuse_dead_letters(town: Town, seconds: float) -> None:
    """Taggers that have one to write must end without committing; they are started again, as by a supervisor."""
    servers.refuse_dead_letters(town.services, True)
    time.sleep(seconds)
    town.cluster.revive()
    servers.refuse_dead_letters(town.services, False)
