"""A disk without room, as a limit of file sizes: the tagger says so in one sentence, waits, and goes on by itself."""

from __future__ import annotations

import json
import resource
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import urllib3

from groknet.cli.exits import Exit
from tests.groknet.conftest import START_S, Call, Cluster, start_all, write_photo

pytestmark = pytest.mark.slow

NO_ROOM, ROOM = 0, resource.RLIM_INFINITY


@pytest.fixture
def small(tmp_path: Path, bundle: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    monkeypatch.setenv("GROKNET__INDEXER__SNAPSHOT_INTERVAL_S", "0.2")
    running = start_all(tmp_path / "home", bundle)
    try:
        running.wait_for("all workers are ready")
        yield running
    finally:
        running.stop()


def allow(cluster: Cluster, size: int) -> None:
    """How large the files of both workers may become from now on, in bytes."""
    for worker in ("tagger", "indexer"):
        resource.prlimit(cluster.pid(worker), resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


def ready(cluster: Cluster, worker: str) -> tuple[int, dict[str, object]]:
    said = json.loads((cluster.home / "run" / f"{worker}.json").read_text())
    answer = urllib3.request("GET", f"http://{said['host']}:{said['port']}/readyz", retries=False, timeout=10)
    return answer.status, json.loads(answer.data)


def test_without_room_the_tagger_holds_says_so_and_goes_on(groknet: Call, small: Cluster, tmp_path: Path) -> None:
    pids = {worker: small.pid(worker) for worker in ("tagger", "indexer", "search")}
    before = [write_photo(tmp_path / f"before-{i}.jpg", i) for i in range(3)]
    assert groknet("submit", "--home", small.home, "--wait", *before).code == Exit.OK
    allow(small, NO_ROOM)
    later = [write_photo(tmp_path / f"later-{i}.jpg", 10 + i) for i in range(3)]
    assert groknet("submit", "--home", small.home, *later).code == Exit.OK
    deadline = time.monotonic() + START_S
    while (answer := ready(small, "tagger"))[0] != 503:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert "no room" in json.dumps(answer[1]), answer
    allow(small, ROOM)
    while groknet("show", "--home", small.home, "later-0", "later-1", "later-2").code != Exit.OK:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert groknet("submit", "--home", small.home, "--wait", "--json", *later).code == Exit.OK
    while ready(small, "tagger")[0] != 200:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert {worker: small.pid(worker) for worker in pids} == pids
    for worker in pids:
        log = (small.home / "logs" / f"{worker}.log").read_text()
        assert "Traceback" not in log, log[-3000:]
    assert (small.home / "logs" / "tagger.log").read_text().count("no room") >= 1
    assert groknet("dlq", "list", "--home", small.home, "--json").lines == []
