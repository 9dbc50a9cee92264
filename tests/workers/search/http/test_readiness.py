"""The probe of a search service names followers that are behind, next to services that are away."""

from __future__ import annotations

import time
from contextlib import closing
from pathlib import Path

from tests.workers.indexer.running import counted, until
from tests.workers.search.rig import rig
from tests.workers.test_catching_up import Clock
from workers.catching_up import CatchingUp
from workers.http.serving import Health, serve, waiting_room
from workers.intake import Intake, IntakeSettings
from workers.search import SearchSettings, build_search
from workers.search.find.indexers import Indexers
from workers.search.http.readiness import ReadinessProbe
from workers.search.http.switchboard import Switchboard
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


def test_after_a_change_that_failed_the_metric_shows_the_followers_that_serve(tmp_path: Path) -> None:
    with rig(tmp_path) as made:  # what serves at present
        beginning, failed = Health(), Health()
        board = Switchboard(waiting_room(beginning, "search"), beginning)
        settings = SearchSettings(port=0, indexer_urls=[made.indexer.server.url])
        app = build_search(
            settings,
            store=made.store,
            engine=made.engine,
            health=failed,
            intake=Intake(IntakeSettings()),
            kept=tmp_path / "other.db",
            stream=made.stream,
        )
        server = serve(board, "127.0.0.1", 0)
        try:
            failed.fail(RuntimeError("planted"))
            assert not board.change(app, failed, wanted=lambda: True)
        finally:
            server.stop()
        ended = time.monotonic()

        def is_that_of_a_living_one() -> bool:
            since = time.monotonic() - ended
            return counted("groknet_follower_behind_seconds", of="labels") < since

        until(is_that_of_a_living_one)
