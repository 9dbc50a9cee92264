"""Kill -9 at random points while listings come, change and go: the products in the end are those of the naive twin."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from tests.workers.indexer.hash_topic import EPOCH, Publisher, stream_at
from tests.workers.indexer.running import until
from tests.workers.products.products_process import SETTINGS
from tests.workers.products.running import running
from tests.workers.products.test_worker import Town, check, groups, ids
from workers.stores import build_store

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[3]
KILLS = 5


def begin(home: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.workers.products.products_process", str(home)]
    child = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    assert child.stdout.readline().strip() == "begins"
    return child


@pytest.mark.parametrize("seed", range(2))
def test_kills_lose_no_change_and_give_no_second_id(tmp_path: Path, seed: int) -> None:
    draw = random.Random(seed)
    stream = stream_at(tmp_path)
    with closing(build_store(f"sqlite://{tmp_path}/store.db")) as store, Publisher(stream, EPOCH) as publisher:
        town = Town(publisher, store, seed)
        for _ in range(KILLS):
            child = begin(tmp_path)
            town.send(25)
            time.sleep(draw.uniform(0.0, 0.4))  # where the kill falls; no judgement depends on it
            child.send_signal(signal.SIGKILL)
            child.wait()
            assert child.stdout is not None
            child.stdout.close()
        rules = {"radius_bits": SETTINGS.radius_bits, "most_copies": SETTINGS.most_copies, "batch": SETTINGS.batch}
        with running(stream, store, **rules):
            until(lambda: groups(store) == town.expected())
        check(stream, store)
        assert any(len(group) > 1 for group in groups(store))
        before = ids(store)
        with running(stream, store, **rules):
            pass
        assert ids(store) == before
