"""The kinds of schedules, and how often each is drawn."""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import partial
from typing import ClassVar

from schemas.events import ListingEvent
from tests.faults import actions
from tests.faults.growing import Joining
from tests.faults.large import large_event, send_compressed
from tests.faults.photo_host import PhotoHost
from tests.faults.schedule import CASSANDRA, KAFKA, SERVERS, Behind, Schedule, pause
from tests.faults.town import TAGGERS, Town

GUEST = "tagger-c"


class Mixed(Schedule):
    """Portions with a short fault after each: workers killed and ended, servers killed and paused, dead letters
    refused, a third tagger. What is done to a server goes on behind what comes next."""

    kind = "mixed"

    def _act(self, town: Town) -> None:
        with Behind() as behind:
            for portion in self._portions(self._faults):
                town.send(portion)
                pause(self._rng.uniform(0.0, 1.0))
                name, who, action = self._draw(town)
                self.steps.append(name)
                behind.begin(who, action)

    def _draw(self, town: Town) -> tuple[str, str, Callable[[], None]]:
        """A fault: its name, whom it is done to, and how. All that is random about it is drawn here."""
        tagger, services = self._rng.choice(TAGGERS), town.services
        away_s, paused_s, stay_s = self._rng.uniform(0, 2), self._rng.uniform(1, 4), self._rng.uniform(0, 1)
        faults: dict[str, tuple[str, Callable[[], None]]] = {
            f"kill -9 {tagger}": (tagger, partial(actions.kill_worker, town, tagger)),
            f"end {tagger}": (tagger, partial(actions.end_worker, town, tagger)),
            "kill -9 indexer": ("indexer", partial(actions.kill_worker, town, "indexer")),
            "a third tagger": (GUEST, partial(actions.visit, town, GUEST, stay_s)),
            "dead letters refused": (KAFKA, partial(actions.refuse_dead_letters, town, paused_s)),
        }
        for worker in self._others:
            faults[f"kill -9 {worker}"] = (worker, partial(actions.kill_worker, town, worker))
            faults[f"end {worker}"] = (worker, partial(actions.end_worker, town, worker))
        for server in SERVERS:
            # killed or paused for longer than a session
            faults[f"kill -9 {server}"] = (server, partial(actions.kill_server, services, server, away_s))
            faults[f"pause {server}"] = (server, partial(actions.pause_server, services, server, paused_s))
        name = self._rng.choice(sorted(faults))
        return name, *faults[name]


class Outage(Schedule):
    """A server is away for 10–40 s, killed or frozen, while listings arrive; perhaps a worker is killed meanwhile."""

    kind = "outage"
    seconds: ClassVar[tuple[float, float]] = (10.0, 40.0)
    kills: ClassVar[float] = 0.3
    """How likely a tagger, or the products worker, is killed during the outage."""

    def _act(self, town: Town) -> None:
        server, how = self._rng.choice(SERVERS), self._rng.choice(("kill -9", "pause"))
        seconds, killed = self._rng.uniform(*self.seconds), self._rng.random() < self.kills
        first, *rest, last = self._portions(8)
        self.steps.append(f"{how} {server} for {seconds:.0f} s")
        action = actions.kill_server if how == "kill -9" else actions.pause_server
        town.send(first)
        with Behind() as behind:
            behind.begin(server, partial(action, town.services, server, seconds))
            for i, portion in enumerate(rest):
                pause(min(2.0, seconds / len(rest)))
                town.send(portion)  # blocks while the broker is away
                if killed and i == len(rest) // 2:
                    worker = self._rng.choice((*TAGGERS, *self._others))
                    self.steps.append(f"kill -9 {worker}")
                    behind.begin(worker, partial(actions.kill_worker, town, worker))
        town.send(last)


class LongOutage(Outage):
    """An outage that outlasts the whole ladder of in-place tries and retries (25 s here) more than twice, as one of
    15 minutes outlasts the real ladder (some 14 minutes). Nothing may be retried or given up because of it."""

    kind = "long outage"
    seconds = (60.0, 70.0)
    kills = 0.0
    by_url = 0.0


class Burst(Schedule):
    """More listings than taggers hold, many with a photo that fails at first, while the store stops for moments that
    the tries in place wait out: live partitions are paused for want of room and retry partitions until they are due,
    each with part of a fetch taken."""

    kind = "burst"
    times = 3
    by_url = 0.4
    hanging = 0.0
    stops = 3

    def _act(self, town: Town) -> None:
        first, *rest = self._portions(16)
        town.send(first)
        with Behind() as behind:
            behind.begin("feed", partial(self._feed, town, rest))
            for _ in range(self.stops):
                seconds = self._rng.uniform(1.5, 3.0)
                self.steps.append(f"pause {CASSANDRA} for {seconds:.1f} s")
                actions.pause_server(town.services, CASSANDRA, seconds)
                pause(self._rng.uniform(0.5, 1.5))

    @staticmethod
    def _feed(town: Town, portions: list[list[ListingEvent]]) -> None:
        """All the time, so that something has always been fetched and not yet taken."""
        for portion in portions:
            town.send(portion)
            pause(0.2)


class Large(Schedule):
    """Two valid events that no dead-letter topic takes whole, among others: each has a broken photo, one a photo by
    URL that times out first. No tagger may end of them."""

    kind = "large event"
    by_url = 0.0

    def _act(self, town: Town) -> None:
        first, last = self._portions(2)
        plain = large_event(self._photos, f"{self._name}-large/0", self._rng)
        retried = large_event(self._photos, f"{self._name}-large/1", self._rng, self._host)
        self.steps.append("two large events")
        town.send(first)
        town.expect([plain, retried])
        send_compressed(town.services, [plain, retried])
        town.send(last)
        pause(5.0)  # time to be started again once or twice, where they end


class RunAll(Schedule):
    """`groknet run all` on one home, whose workers are never touched but for one kill -9 of the tagger: the broker is
    away for longer than five starts of a tagger take."""

    kind = "run all"
    supervised = True
    by_url = 0.0  # its retry delays are the real ones

    def _act(self, town: Town) -> None:
        first, last = self._portions(2)
        how, seconds = self._rng.choice(("kill -9", "pause")), self._rng.uniform(105, 120)
        action = actions.kill_server if how == "kill -9" else actions.pause_server
        town.send(first)
        self.steps += [f"{how} {KAFKA} for {seconds:.0f} s", "kill -9 tagger"]
        with Behind() as behind:
            behind.begin(KAFKA, partial(action, town.services, KAFKA, seconds))
            pause(5.0)
            town.cluster.kill("tagger")
        town.send(last)


KINDS: dict[type[Schedule], float] = {
    Mixed: 47,
    Outage: 22,
    Burst: 10,
    Joining: 8,
    Large: 6,
    LongOutage: 5,
    RunAll: 2,
}
"""How often each comes in a hundred: those that take minutes are rare."""
NAMES = {kind.kind: kind for kind in KINDS}


def draw(
    seed: int,
    photos: list[bytes],
    host: PhotoHost,
    *,
    listings: int,
    faults: int,
    kind: str | None = None,
    products: bool = False,
) -> Schedule:
    """The schedule of a seed; `kind` forces its kind."""
    drawn = random.Random(f"drawn {seed}").choices(list(KINDS), weights=list(KINDS.values()))[0]
    chosen = NAMES[kind] if kind else drawn
    return chosen(seed, photos, host, listings=listings, faults=faults, products=products)
