"""A change of the model on a home that is being searched: back-fill, coverage, switch, back; no answer mixes epochs."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import urllib3

from groknet.config import load_config
from groknet.epochs import Epochs, write_epochs
from groknet.exits import Exit
from groknet.home import Home
from groknet.supervisor import Spec, Supervisor
from tests.engines.tiny_bundle import tiny_graph, write_tiny_bundle
from tests.groknet.conftest import Call, Cluster, write_photo

OLD, NEW = "0123456789ab", "aaaaaaaaaaaa"
HTTP = urllib3.PoolManager(retries=False, timeout=20)
PATIENCE_S = 90.0


@pytest.fixture
def home(tmp_path: Path) -> Path:
    write_tiny_bundle(tmp_path / "home" / "old")
    write_tiny_bundle(tmp_path / "new", tiny_graph(1), epoch=NEW, model_version="tiny-2")
    (tmp_path / "home" / "groknet.toml").write_text('[engine]\nbundle = "old"\nthreads = 1\n')
    return tmp_path / "home"


@pytest.fixture
def running(home: Path) -> Iterator[Cluster]:
    command = [sys.executable, "-m", "groknet", "run", "all", "--home", str(home), "--port", "0"]
    environ = {name: text for name, text in os.environ.items() if not name.startswith("GROKNET")}
    cluster = Cluster(home, subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environ))
    try:
        cluster.wait_for("all workers are ready")
        yield cluster
    finally:
        cluster.stop()


class Asker:
    """Asks by photo, over and over; keeps every answer's epoch, and whether its neighbours are of it."""

    def __init__(self, home: Path, photo: Path) -> None:
        self._url = f"http://127.0.0.1:{json.loads((home / 'run' / 'search.json').read_text())['port']}"
        self._photo = photo.read_bytes()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.failures: list[Any] = []
        self.epochs: list[str] = []

    def __enter__(self) -> Asker:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def ask(self) -> tuple[int, Any]:
        headers = {"content-type": "image/jpeg"}
        answer = HTTP.request("POST", f"{self._url}/v1/search?k=3", body=self._photo, headers=headers)
        return answer.status, json.loads(answer.data)

    def _run(self) -> None:
        while not self._stop.is_set():
            status, answer = self.ask()
            if status != 200 or answer["neighbours"][0]["distance"] != 0:  # a hash of another space is far from it
                self.failures.append((status, answer))
            else:
                self.epochs.append(answer["epoch"])
            time.sleep(0.02)

    def on(self, epoch: str) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while not self.epochs or self.epochs[-1] != epoch:
            assert time.monotonic() < deadline, (self.epochs[-1:], self.failures[-1:])
            time.sleep(0.05)


def until_ready(groknet: Call, home: Path, epoch: str) -> dict[str, Any]:
    deadline = time.monotonic() + PATIENCE_S
    while True:
        rows = {row["epoch"]: row for row in groknet("epoch", "status", "--home", home, "--json").lines}
        if rows[epoch]["index"] == "ready":
            return rows[epoch]
        assert time.monotonic() < deadline, rows
        time.sleep(0.2)


def until_replaced(running: Cluster, worker: str, pid: int) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while True:
        with contextlib.suppress(FileNotFoundError, json.JSONDecodeError):  # between the two there is none
            if running.pid(worker) != pid:
                return
        assert time.monotonic() < deadline, f"{worker} {pid} is still there"
        time.sleep(0.05)


def test_a_new_model_takes_over_and_gives_back_while_photos_are_searched(
    groknet: Call, running: Cluster, home: Path, tmp_path: Path
) -> None:
    for seed in range(6):
        write_photo(tmp_path / f"photos/shop/{seed}.jpg", seed)
    photo = tmp_path / "photos/shop/0.jpg"
    assert groknet("submit", "--home", home, "--wait", tmp_path / "photos").code == Exit.OK
    assert groknet("epoch", "switch", NEW, "--home", home).code == Exit.NOT_FOUND
    with Asker(home, photo) as asker:
        asker.on(OLD)
        done = groknet("backfill", "--home", home, "--bundle", tmp_path / "new", "--rate", 0, "--json")
        assert (done.code, done.json["done"], done.json["coverage"]) == (Exit.OK, 6, 1.0)
        row = until_ready(groknet, home, NEW)
        assert (row["active"], row["wanted"], row["covered"], row["indexed"]) == (False, 6, 6, 6)

        write_photo(tmp_path / "more/shop/7.jpg", 7)
        write_photo(tmp_path / "more/shop/8.jpg", 8)
        groknet("submit", "--home", home, "--wait", tmp_path / "more")  # the old model's tagger still runs
        low = groknet("epoch", "switch", NEW, "--home", home)
        assert low.code == Exit.FAILED
        assert "75.00%" in low.err
        assert groknet("backfill", "--home", home, "--epoch", NEW, "--json").json["done"] == 2
        old_tagger = running.pid("tagger")
        assert groknet("epoch", "switch", NEW, "--home", home).code == Exit.OK
        asker.on(NEW)
        assert sorted(set(asker.epochs)) == [OLD, NEW]
        assert asker.epochs == sorted(asker.epochs), "once over, no answer of the old epoch"

        until_replaced(running, "tagger", old_tagger)  # on busy cores it drains later than search changes over
        write_photo(tmp_path / "last/shop/9.jpg", 9)
        sent = groknet("submit", "--home", home, "--wait", "--json", tmp_path / "last")
        assert [line["status"] for line in sent.lines] == ["searchable"], "the tagger runs on the new bundle"
        assert groknet("show", "--home", home, "--json", "shop/9").json["model_version"] == "tiny-2"
        removed = groknet("remove", "--home", home, "--wait", "--json", "shop/8")
        assert [line["status"] for line in removed.lines] == ["removed"]

        before = len(asker.epochs)
        assert groknet("epoch", "back", "--home", home).code == Exit.OK
        asker.on(OLD)
        later = asker.epochs[before:]
        assert later == sorted(later, key=[NEW, OLD].index)
    assert asker.failures == []
    assert groknet("epoch", "forget", OLD, "--home", home).code == Exit.USAGE, "it is in force"
    beside = running.pid(f"indexer-{NEW}")
    assert groknet("epoch", "forget", NEW, "--home", home).code == Exit.OK
    deadline = time.monotonic() + PATIENCE_S
    while Path(f"/proc/{beside}").exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    found = groknet("search", "--home", home, "--json", "-k", 20, photo).json
    assert "shop/8" not in {n["listing_id"] for n in found}, (
        "removed from the store: not shown, whatever the index holds"
    )
    assert running.stop() == 0


def test_a_bundle_named_by_hand_overrules_the_file(groknet: Call, home: Path, tmp_path: Path) -> None:
    place = Home(home)
    old, new = str(home / "old"), str(tmp_path / "new")
    write_epochs(place, Epochs(configured=old, active=NEW, previous=OLD, bundles={OLD: old, NEW: new}))
    assert load_config(place, {}).config.engine.bundle == new
    assert load_config(place, {}, bundle=Path(old)).config.engine.bundle == old
    (home / "groknet.toml").write_text('[engine]\nbundle = "other"\n')
    assert load_config(place, {}).config.engine.bundle == str(home / "other")
    (home / "epochs.json").write_text("{")
    answer = groknet("epoch", "status", "--home", home)
    assert answer.code == Exit.USAGE
    assert "epochs.json" in answer.err


def test_what_runs_beside_the_workers_takes_none_of_them_with_it(tmp_path: Path) -> None:
    said: list[str] = []
    supervisor = Supervisor(Home(tmp_path).make(), [], said.append)
    supervisor.beside([Spec("indexer", ["show"], "indexer-x")])  # a usage error, which ends the others for good
    (child,) = supervisor.children
    deadline = time.monotonic() + PATIENCE_S
    while child.restarts < 2:
        assert time.monotonic() < deadline
        supervisor.tick()
        time.sleep(0.02)
    assert said[0].startswith("indexer-x ended (exit code 2)")
    supervisor.beside([])
    while supervisor.children:
        assert time.monotonic() < deadline
        supervisor.tick()
        time.sleep(0.02)
