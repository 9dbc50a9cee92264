"""A real Prometheus watches live workers: every selector matches a series, and alerts fire at faults and resolve.

Windows and `for` are 60 times shorter than in rules.yaml, from the same template; thresholds are the same. With
GROKNET_FAULT_TABLE=FILE the seconds until each alert fired and resolved are written there, as a table.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from deploy.operations.panels import BOARDS
from deploy.operations.rules import rule_file
from schemas.topics import hash_topic
from tests.deploy.operations.prometheus import until
from tests.deploy.operations.selectors import selectors_of
from tests.deploy.operations.test_dashboards import queries
from tests.deploy.operations.watched import PATIENCE_S, Watched, locked, tagger_of, watching

pytestmark = [pytest.mark.prometheus, pytest.mark.slow, pytest.mark.timeout(900)]

STILL_S = 15  # uploads of so long are later than 5 s: a quarter of those in the long window, which is a minute here
NOBODY = "http://127.0.0.1:9/gone.jpg"  # the port of discard, on which nobody listens


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    with watching(tmp_path_factory.mktemp("watched")) as found:
        yield found


def test_a_store_that_is_away_is_seen_by_every_alert_that_names_it(watched: Watched) -> None:
    lock = locked(watched.cluster.home / "store.db")
    alerts = ["GroknetHold", "GroknetSearchDegraded", "GroknetNoTaggerReady", "GroknetWorkerNotReady"]
    alerts += ["GroknetStalled", "GroknetLagKeepsIncreasing"]
    watched.see("the store takes no writes", alerts, lock.__enter__, lambda: lock.__exit__(None, None, None))


def test_a_stopped_indexer_is_seen_and_searches_burn_their_budget(watched: Watched) -> None:
    pid = watched.cluster.pid("indexer")
    alerts = ["GroknetWorkerDoesNotAnswer", "GroknetSearchRefuses", "GroknetSearchBurnFast"]
    watched.see(
        "the indexer is stopped", alerts, lambda: os.kill(pid, signal.SIGSTOP), lambda: os.kill(pid, signal.SIGCONT)
    )


def test_a_tagger_that_stands_still_makes_uploads_late(watched: Watched) -> None:
    def inject() -> None:
        pid = watched.cluster.pid("tagger")
        os.kill(pid, signal.SIGSTOP)
        time.sleep(STILL_S)
        os.kill(pid, signal.SIGCONT)

    watched.see(f"the tagger stands still for {STILL_S} s", ["GroknetFreshnessBurnFast"], inject, lambda: None)


def test_a_tagger_that_crashes_again_and_again_is_seen(watched: Watched) -> None:
    def crash() -> None:
        for _ in range(5):
            until(lambda: tagger_of(watched.cluster) is not None, "a tagger to kill", PATIENCE_S)
            tagger = tagger_of(watched.cluster)
            assert tagger is not None
            tagger.kill()
            until(lambda t=tagger: not t.is_running() or tagger_of(watched.cluster) != t, "its end", PATIENCE_S)

    watched.see("the tagger is killed five times", ["GroknetWorkerRestartsOften"], crash, lambda: None)


def test_bad_photos_unreachable_hosts_and_foreign_messages_are_seen(watched: Watched) -> None:
    load = watched.load

    def inject() -> None:
        load.extra = [b"not a photo", NOBODY]
        load.send(hash_topic(watched.epoch), b"foreign", b"not a hash message")

    def end() -> None:
        load.extra = []

    alerts = ["GroknetDeadLettersMany", "GroknetFetchesFail", "GroknetIndexRefuses", "GroknetProductsRefuse"]
    watched.see("bad photos, a dead photo host, a foreign hash message", alerts, inject, end)


def test_every_selector_of_every_rule_and_panel_has_matched_a_series(watched: Watched) -> None:
    rules = [rule["expr"] for group in rule_file()["groups"] for rule in group["rules"]]
    panels = [query for board in BOARDS for query in queries(board)]
    chosen = [
        expr.replace("$job", "groknet").replace("$instance", ".*").replace("$epoch", ".*").replace("$head", ".*")
        for expr in panels
    ]
    selectors = {name + matchers for expr in rules + chosen for name, matchers in selectors_of(expr)}
    assert len(selectors) > 60

    def unmatched() -> list[str]:
        return sorted(one for one in selectors if not watched.prometheus.matches(one))

    with suppress(AssertionError):
        until(lambda: not unmatched(), "every selector to match", PATIENCE_S)  # the first retry takes ten seconds
    assert unmatched() == []


def test_the_table_of_faults(watched: Watched) -> None:
    assert len(watched.rows) == 15
    file = os.environ.get("GROKNET_FAULT_TABLE")
    if file:
        head = "| fault | alert | fired after s | resolved after s |\n|---|---|---|---|\n"
        Path(file).write_text(head + "\n".join(watched.rows) + "\n")
