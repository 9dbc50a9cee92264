"""The target list that `groknet run all` serves: every worker is in it, and each target shows its own metrics."""

from __future__ import annotations

import json
import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from urllib.request import urlopen

import pytest
from starlette.testclient import TestClient

from groknet.home.paths import Home
from groknet.home.running import Running, port_candidates, remember_port
from groknet.run.targets import build_targets_app
from tests.groknet.conftest import Cluster, start_all


def test_a_worker_on_every_address_is_listed_at_the_address_that_was_asked() -> None:
    found = [
        ("tagger", "tagger-2", Running(pid=1, host="0.0.0.0", port=9591)),
        ("indexer", "indexer", Running(pid=2, host="::1", port=9580)),
    ]
    client = TestClient(build_targets_app(lambda: found, lambda: None), base_url="http://watched.example:9570")
    assert client.get("/targets").json() == [
        {"targets": ["watched.example:9570"], "labels": {"worker": "supervisor", "name": "supervisor"}},
        {"targets": ["watched.example:9591"], "labels": {"worker": "tagger", "name": "tagger-2"}},
        {"targets": ["[::1]:9580"], "labels": {"worker": "indexer", "name": "indexer"}},
    ]


def test_a_worker_tries_the_port_it_had_then_the_default(tmp_path: Path) -> None:
    home = Home(tmp_path).make()
    assert port_candidates(home, "indexer", 9580) == [9580, 0]
    remember_port(home, "indexer", 40_001)
    assert port_candidates(home, "indexer", 9580) == [40_001, 9580, 0]
    assert port_candidates(home, "indexer") == [40_001, 0]


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory, bundle: Path) -> Iterator[Cluster]:
    """Two taggers, with the default port of the first tagger taken, and targets on any free port."""
    home = tmp_path_factory.mktemp("watched")
    (home / "groknet.toml").write_text("[targets]\nport = 0\n")
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            taken.bind(("127.0.0.1", 9590))
            taken.listen()
        except OSError:
            pass  # another program has it, which is as good
        running = start_all(home, bundle, "--taggers", "2")
        try:
            running.wait_for("all workers are ready")
            yield running
        finally:
            running.stop()


def asked(url: str) -> str:
    with urlopen(url, timeout=10) as answer:
        return answer.read().decode()


@pytest.mark.slow
@pytest.mark.alone
def test_prometheus_finds_every_worker_and_each_shows_its_own_metrics(watched: Cluster) -> None:
    (line,) = [line for line in watched.said if "targets for Prometheus: " in line]
    url = line.split("targets for Prometheus: ")[1]
    groups = {one["labels"]["name"]: one for one in json.loads(asked(url))}
    kinds = {name: one["labels"]["worker"] for name, one in groups.items()}
    assert kinds == {
        "supervisor": "supervisor",
        "tagger": "tagger",
        "tagger-2": "tagger",
        "indexer": "indexer",
        "search": "search",
    }
    assert groups["tagger"]["targets"] != ["127.0.0.1:9590"]
    own = {
        "tagger": "groknet_lag_seconds",
        "indexer": "groknet_index_vectors",
        "search": "groknet_search_seconds",
    }
    for name, kind in kinds.items():
        text = asked(f"http://{groups[name]['targets'][0]}/metrics")
        assert "groknet_build_info{" in text
        assert "process_open_fds " in text
        for worker, metric in own.items():
            assert (f"# TYPE {metric} " in text) == (worker == kind)
        if kind in ("tagger", "search"):
            assert 'engine="onnxruntime"' in text


@pytest.mark.slow
@pytest.mark.alone
def test_a_restart_is_counted(watched: Cluster) -> None:
    (line,) = [line for line in watched.said if "targets for Prometheus: " in line]
    base = line.split("targets for Prometheus: ")[1].removesuffix("/targets")
    assert 'groknet_worker_restarts_total{process="tagger-2"} 0.0' in asked(base + "/metrics")
    os.kill(watched.pid("tagger-2"), signal.SIGKILL)
    watched.wait_for("tagger-2 ready")
    assert 'groknet_worker_restarts_total{process="tagger-2"} 1.0' in asked(base + "/metrics")
