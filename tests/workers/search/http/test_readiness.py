"""The probe of a search service names followers that are behind, next to services that are away."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from tests.workers.indexer.running import until
from tests.workers.test_catching_up import Clock
from workers.catching_up import CatchingUp
from workers.search.find.indexers import Indexers
from workers.search.http.readiness import ReadinessProbe
from workers.serving import Health
from workers.stores import build_store


def test_a_follower_that_is_behind_is_named_until_it_has_caught_up(tmp_path: Path) -> None:
    clock, health = Clock(), Health()
    labels, occasions = CatchingUp("labels", clock), CatchingUp("occasions", clock)
    indexers = Indexers([], 1.0, callers=1, epoch="0" * 12)
    with closing(build_store(f"sqlite://{tmp_path}/store.db")) as store, closing(indexers):
        health.mark_started()
        probe = ReadinessProbe(health, indexers, store, 0.01, {"labels": labels, "occasions": occasions})
        probe.start()
        try:
            labels.waits("no broker answers")
            clock.now += 31
            until(lambda: len(health.degraded) == 2)
            assert health.degraded["labels"] == "not up to date for 31 s: no broker answers"
            occasions.reached()
            until(lambda: health.degraded.keys() == {"labels"})
            labels.reached()
            until(lambda: not health.degraded)
        finally:
            probe.stop()
