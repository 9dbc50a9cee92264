"""Kill -9 at random points while listings stream: what the index holds afterwards equals the naive twin."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import urllib3

from engines.similarity import IndexLimits
from tests.workers.indexer.hash_topic import EPOCH, Naive, Publisher, message, random_hash, stream_at
from workers.indexer.snapshots import Snapshots

pytestmark = pytest.mark.slow

HTTP = urllib3.PoolManager(retries=False, timeout=10)
ROOT = Path(__file__).parents[3]
KILLS = 6
SNAPSHOT_INTERVAL_S = 0.03  # so often that kills fall into and between snapshots


class Process:
    def __init__(self, home: Path) -> None:
        command = [sys.executable, "-m", "tests.workers.indexer.indexer_process", str(home), str(SNAPSHOT_INTERVAL_S)]
        self._child = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
        assert self._child.stdout is not None
        self.url = self._child.stdout.readline().strip()
        assert self.url, "it ended before it served"

    def ready(self) -> None:
        deadline = time.monotonic() + 30
        while HTTP.request("GET", self.url + "/readyz").status != 200:
            assert time.monotonic() < deadline
            time.sleep(0.01)

    def photos(self) -> list[dict[str, Any]]:
        body = {"hashes": ["0" * 64], "k": 2000, "epoch": EPOCH}
        answer = HTTP.request("POST", self.url + "/v1/neighbours", json=body)
        found: list[dict[str, Any]] = json.loads(answer.data)["neighbours"][0]
        return found

    def end(self, how: signal.Signals) -> int:
        assert self._child.stdout is not None
        self._child.send_signal(how)
        code = self._child.wait(30)
        self._child.stdout.close()
        return code


@pytest.fixture
def spawn(tmp_path: Path) -> Iterator[Callable[[], Process]]:
    """Start indexers over the test's folder; none outlives the test."""
    with ExitStack() as stack:

        def start() -> Process:
            process = Process(tmp_path)
            stack.callback(process.end, signal.SIGKILL)
            return process

        yield start


def _burst(publisher: Publisher, naive: Naive, rng: random.Random, start: int) -> None:
    for step in range(start, start + 100):
        listing = f"shop/{rng.randrange(150)}"
        if rng.random() < 0.15:
            publisher.remove(listing, step)
            naive.remove(listing, step)
        else:
            held = message(listing, step, {f"p{i}": random_hash(rng) for i in range(rng.randint(0, 3))})
            publisher.put(held)
            naive.put(held)


def test_killed_at_random_points_the_index_loses_nothing(tmp_path, spawn):
    rng, naive = random.Random(7), Naive()
    stream = stream_at(tmp_path)
    with Publisher(stream) as publisher:
        for kill in range(KILLS):
            indexer = spawn()
            if kill % 2:
                indexer.ready()
            _burst(publisher, naive, rng, kill * 100)
            publisher.flush()
            time.sleep(rng.random() * 0.3)
            assert indexer.end(signal.SIGKILL) == -signal.SIGKILL
        _burst(publisher, naive, rng, KILLS * 100)
        publisher.flush()
    indexer = spawn()
    indexer.ready()
    assert indexer.photos() == naive.nearest("0" * 64, 2000)
    assert indexer.end(signal.SIGTERM) == 0
    assert (tmp_path / "index" / f"{EPOCH}.snapshot").is_file(), "a drain leaves a snapshot"
    indexer = spawn()
    indexer.ready()
    assert indexer.photos() == naive.nearest("0" * 64, 2000)
    assert indexer.end(signal.SIGTERM) == 0


def test_the_comparison_catches_offsets_that_run_ahead_of_the_snapshot(tmp_path, spawn):
    """The planted bug: offsets saved that the index has not reached. The check of the test above must see it."""
    rng, naive = random.Random(8), Naive()
    with Publisher(stream_at(tmp_path)) as publisher:
        _burst(publisher, naive, rng, 0)
    indexer = spawn()
    indexer.ready()
    assert indexer.photos() == naive.nearest("0" * 64, 2000)
    assert indexer.end(signal.SIGTERM) == 0
    snapshots = Snapshots(tmp_path, EPOCH, max_age_s=1e6, limits=IndexLimits())
    loaded = snapshots.load()
    assert loaded is not None
    index, offsets = loaded
    with Publisher(stream_at(tmp_path)) as publisher:
        for i in range(40):
            held = message(f"late/{i}", 5000, {"p": random_hash(rng)})
            publisher.put(held)
            naive.put(held)
    snapshots.save(index, {number: offset + 1 for number, offset in offsets.items()}, [])
    indexer = spawn()
    indexer.ready()
    assert indexer.photos() != naive.nearest("0" * 64, 2000)
    assert indexer.end(signal.SIGTERM) == 0


def test_a_snapshot_that_was_cut_off_leaves_the_one_before(tmp_path, spawn):
    with Publisher(stream_at(tmp_path)) as publisher:
        publisher.put(message("one", 1, {"p": "0" * 64}))
    indexer = spawn()
    indexer.ready()
    indexer.end(signal.SIGTERM)
    (tmp_path / "index" / f"{EPOCH}.snapshot.tmp").write_bytes(os.urandom(100))
    loaded = Snapshots(tmp_path, EPOCH, max_age_s=1e6, limits=IndexLimits()).load()
    assert loaded is not None
    assert len(loaded[0]) == 1
