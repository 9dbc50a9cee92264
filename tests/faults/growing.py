"""Taggers that are started one after another while listings arrive must share the live partitions."""

from __future__ import annotations

import time
from collections.abc import Callable

from kafka import errors
from kafka.admin import KafkaAdminClient

from tests.faults import actions, groups
from tests.faults.ladder import SLOWNESS
from tests.faults.schedule import Schedule
from tests.faults.town import TAGGERS, Town

EVEN_S = 20.0 * SLOWNESS
"""From a join or a leave until shares are within one of each other: several rebalances, each a heartbeat long."""
GUEST = "tagger-c"


class Joining(Schedule):
    """One tagger, then two, then three, then two again; each time they must share the live partitions evenly."""

    kind = "joining"

    def _act(self, town: Town) -> None:
        first, second, third, last = self._portions(4)
        actions.leave(town, TAGGERS[1])
        town.send(first)
        self._change(town, f"{TAGGERS[1]} joins", lambda: actions.join(town, TAGGERS[1]), members=2)
        town.send(second)
        self._change(town, f"{GUEST} joins", lambda: actions.join(town, GUEST), members=3)
        town.send(third)
        self._change(town, f"{GUEST} leaves", lambda: actions.leave(town, GUEST), members=2)
        town.send(last)

    def _change(self, town: Town, name: str, change: Callable[[], None], *, members: int) -> None:
        self.steps.append(name)
        change()
        shares = wait_even(town.services.bootstrap, members)
        if not groups.even(shares, members):
            said = "/".join(str(count) for count in sorted(shares.values()))
            self.verdict.uneven.append(
                f"{name}: {members} taggers have {said or 'no'} live partitions {EVEN_S:.0f} s later"
            )


def wait_even(bootstrap: str, members: int, patience_s: float = EVEN_S) -> dict[str, int]:
    """The live partitions of each member once they are even, or when the time is up."""
    client = KafkaAdminClient(bootstrap_servers=bootstrap)
    try:
        deadline = time.monotonic() + patience_s
        while True:
            try:
                shares = groups.live_shares(client)
            except errors.KafkaError:
                shares = {}
            if groups.even(shares, members) or time.monotonic() > deadline:
                return shares
            time.sleep(0.2)
    finally:
        client.close()
