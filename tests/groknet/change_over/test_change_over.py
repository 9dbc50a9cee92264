"""A change of the model under homes that share a store and are being searched: nothing missing, nothing mixed."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import urllib3

from deploy.local import Services
from groknet.cli.exits import Exit
from groknet.home.paths import Home
from groknet.run.presence import Presence
from groknet.run.supervisor import Spec, Supervisor
from schemas.events import ImageRef, ListingEvent, encode_event
from schemas.topics import UPLOADED
from tests.contract import cassandra_keyspace
from tests.engines.tiny_bundle import tiny_graph, write_tiny_bundle
from tests.groknet.conftest import Answer, Call, Cluster, write_photo
from workers.stores import build_store
from workers.streams import build_stream

pytestmark = pytest.mark.slow

OLD, NEW = "0123456789ab", "aaaaaaaaaaaa"
HTTP = urllib3.PoolManager(retries=False, timeout=20, maxsize=4)
PATIENCE_S = 120.0


def until(true: Callable[[], Any], what: object = "") -> Any:
    deadline = time.monotonic() + PATIENCE_S
    while not (found := true()):
        assert time.monotonic() < deadline, what() if callable(what) else what
        time.sleep(0.1)
    return found


class Town:
    """Homes `one` and `two` on one store and stream, and what runs on them."""

    def __init__(self, folder: Path, stream: str, store: str) -> None:
        self.folder, self.stream_url, self.store_url = folder, stream, store
        self.old, self.new = folder / "bundles/old", folder / "bundles/new"
        write_tiny_bundle(self.old)
        write_tiny_bundle(self.new, tiny_graph(1), epoch=NEW, model_version="tiny-2")
        self.photos = folder / "photos"
        self.processes: list[subprocess.Popen[str]] = []
        self.clusters: list[Cluster] = []
        for name in ("one", "two"):
            (folder / name).mkdir()
            lines = [f'[stream]\nurl = "{stream}"', f'[store]\nurl = "{store}"', "[engine]", f'bundle = "{self.old}"']
            (folder / name / "groknet.toml").write_text("\n".join([*lines, "threads = 1", ""]))
        self.one, self.two = folder / "one", folder / "two"

    def run_all(self, home: Path) -> Cluster:
        process = self._start("run", "all", "--home", str(home), "--port", "0", stderr=subprocess.PIPE)
        self.clusters.append(Cluster(home, process))
        self.clusters[-1].wait_for("all workers are ready")
        return self.clusters[-1]

    def run(self, worker: str, home: Path, *more: object) -> subprocess.Popen[str]:
        """A worker by hand, without a supervisor."""
        log = (self.folder / f"{home.name}-{worker}.log").open("a")
        process = self._start("run", worker, "--home", str(home), *map(str, more), stderr=log)
        log.close()
        self.processes.append(process)
        return process

    def _start(self, *arguments: str, stderr: Any) -> subprocess.Popen[str]:
        environ = {name: text for name, text in os.environ.items() if not name.startswith("GROKNET")}
        return subprocess.Popen([sys.executable, "-m", "groknet", *arguments], stderr=stderr, text=True, env=environ)

    def photo(self, listing_id: str, seed: int) -> Path:
        return write_photo(self.photos / f"{listing_id}.jpg", seed)

    def close(self) -> None:
        for process in self.processes:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        for cluster in self.clusters:
            cluster.stop()
        for process in self.processes:
            process.wait(60)


@pytest.fixture
def town(tmp_path: Path) -> Iterator[Town]:
    made = Town(tmp_path, f"sqlite://{tmp_path}/shared/stream.db", f"sqlite://{tmp_path}/shared/store.db")
    try:
        yield made
    finally:
        made.close()


class Asker:
    """Asks by photo, over and over; keeps every answer's epoch, and whether its neighbours are of it."""

    def __init__(self, home: Path, photo: Path) -> None:
        self._url = f"http://127.0.0.1:{json.loads((home / 'run' / 'search.json').read_text())['port']}"
        self._photo = photo
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

    def nearest(self, photo: Path) -> tuple[int, Any]:
        headers = {"content-type": "image/jpeg"}
        answer = HTTP.request("POST", f"{self._url}/v1/search?k=20", body=photo.read_bytes(), headers=headers)
        return answer.status, json.loads(answer.data)

    def _run(self) -> None:
        while not self._stop.is_set():
            status, answer = self.nearest(self._photo)
            if status != 200 or answer["neighbours"][0]["distance"] != 0:  # a hash of another space is far from it
                self.failures.append((status, answer))
            else:
                self.epochs.append(answer["epoch"])
            time.sleep(0.02)

    def on(self, epoch: str) -> None:
        until(lambda: self.epochs and self.epochs[-1] == epoch, lambda: (self.epochs[-1:], self.failures[-1:]))

    def finds(self, listing_id: str, photo: Path) -> bool:
        status, answer = self.nearest(photo)
        assert status == 200, answer
        return any((n["listing_id"], n["distance"]) == (listing_id, 0) for n in answer["neighbours"])


class Uploads:
    """A seller who uploads one listing after the other, two a second, without waiting for any."""

    def __init__(self, town: Town) -> None:
        self._town = town
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.sent: list[str] = []

    def __enter__(self) -> Uploads:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        producer = build_stream(self._town.stream_url, "seller").producer()
        while not self._stop.wait(0.5):
            listing_id = f"live/{len(self.sent)}"
            photo = self._town.photo(listing_id, 1000 + len(self.sent)).read_bytes()
            event = ListingEvent(
                event_id=listing_id,
                listing_id=listing_id,
                event_time=1_700_000_000_000_000,
                type="created",
                images=[ImageRef(image_id="1", data=photo)],
            )
            producer.send(UPLOADED, listing_id.encode(), encode_event(event)).wait(60)
            self.sent.append(listing_id)
        producer.close()


def workers(answer: Answer) -> dict[tuple[str, str], dict[str, Any]]:
    """The workers that `groknet epoch status --json` names, by home and name."""
    return {(Path(line["home"]).name, line["worker"]): line for line in answer.lines if "worker" in line}


def epochs(answer: Answer) -> dict[str, dict[str, Any]]:
    return {line["epoch"]: line for line in answer.lines if "epoch" in line}


def until_told(groknet: Call, town: Town, told: Callable[[Answer], bool]) -> Answer:
    answers: list[Answer] = []

    def ask() -> bool:
        answers[:] = [groknet("epoch", "status", "--home", town.one, "--json")]
        return answers[0].code == Exit.OK and told(answers[0])

    until(ask, lambda: answers[0].out + answers[0].err)
    return answers[0]


def change_of_two_homes(groknet: Call, town: Town) -> None:
    """One home supervised and searched, a tagger by hand in the other; a new model takes over, and gives back."""
    for seed in range(6):
        town.photo(f"shop/{seed}", seed)
    first = town.run_all(town.one)
    by_hand = town.run("tagger", town.two)
    assert groknet("submit", "--home", town.one, "--wait", town.photos).code == Exit.OK
    until_told(groknet, town, lambda answer: ("two", "tagger") in workers(answer))
    assert groknet("epoch", "switch", NEW, "--home", town.one).code == Exit.NOT_FOUND
    pids = {name: first.pid(name) for name in ("tagger", "search")}
    with Asker(town.one, town.photos / "shop/0.jpg") as asker:
        asker.on(OLD)
        done = groknet("backfill", "--home", town.one, "--bundle", town.new, "--rate", 0, "--json")
        assert (done.code, done.json["done"], done.json["coverage"]) == (Exit.OK, 6, 1.0)
        until_told(groknet, town, lambda answer: epochs(answer)[NEW]["index"] == "ready")
        with Uploads(town) as uploads:
            until(lambda: len(uploads.sent) >= 3)
            switched = groknet("epoch", "switch", NEW, "--home", town.one, "--json")
            assert (switched.code, switched.json["late"], switched.json["apart"]) == (Exit.OK, [], []), switched.err
            after = len(uploads.sent)
            asker.on(NEW)
            until(lambda: len(uploads.sent) >= after + 3)
        assert asker.epochs == sorted(asker.epochs), "once over, no answer of the old epoch"
        status = until_told(groknet, town, lambda answer: epochs(answer)[NEW]["wanted"] == 6 + len(uploads.sent))
        for key in (("one", "tagger"), ("one", "search"), ("two", "tagger")):
            assert (workers(status)[key]["runs"], workers(status)[key]["cannot"]) == (NEW, {})
        assert pids == {name: first.pid(name) for name in pids}, "each is the process that it was"
        assert by_hand.poll() is None
        assert epochs(status)[NEW]["active"]
        until(lambda: all(asker.finds(i, town.photos / f"{i}.jpg") for i in uploads.sent), lambda: uploads.sent)
        covered = until_told(groknet, town, lambda answer: epochs(answer)[NEW]["share"] == 1.0)
        assert epochs(covered)[NEW]["covered"] == 6 + len(uploads.sent), "nothing is missing from the new epoch"

        before = len(asker.epochs)
        refused = groknet("epoch", "back", "--home", town.two)
        assert (refused.code, f"no index of epoch {OLD} is ready on this home" in refused.err) == (Exit.FAILED, True)
        returned = groknet("epoch", "back", "--home", town.one, "--json")
        assert (returned.code, returned.json["epoch"], returned.json["coverage"]) == (Exit.OK, OLD, 1.0), returned.err
        assert returned.json["filled"] > 0, "what came on the new model"
        asker.on(OLD)
        later = asker.epochs[before:]
        assert later == sorted(later, key=[NEW, OLD].index)
        until(lambda: all(asker.finds(i, town.photos / f"{i}.jpg") for i in uploads.sent), lambda: uploads.sent)
        assert asker.failures == []
    assert groknet("epoch", "forget", OLD, "--home", town.one).code == Exit.USAGE, "it is in force"
    beside = first.pid(f"indexer-{NEW}")
    assert groknet("epoch", "forget", NEW, "--home", town.two).code == Exit.OK
    until(lambda: not Path(f"/proc/{beside}").exists())
    assert first.stop() == 0


def test_who_cannot_or_does_not_change_over_is_named(groknet: Call, town: Town) -> None:
    """The new bundle is where home `one` alone has it; then a tagger with --bundle, and one that does not come."""
    kept = town.one / "bundles" / NEW
    town.run("indexer", town.one, "--beside", "--bundle", town.new)
    town.run("tagger", town.two)
    apart = town.run("tagger", town.one, "--bundle", town.old)
    until_told(groknet, town, lambda answer: {("two", "tagger"), ("one", "tagger")} <= set(workers(answer)))
    assert groknet("backfill", "--home", town.one, "--bundle", town.new).code == Exit.OK
    until_told(groknet, town, lambda answer: epochs(answer)[NEW]["index"] == "ready")
    kept.parent.mkdir()
    town.new.rename(kept)
    told = until_told(groknet, town, lambda answer: NEW in workers(answer)[("two", "tagger")]["cannot"])
    why = workers(told)[("two", "tagger")]["cannot"][NEW]
    assert str(town.new) in why
    assert str(town.two / "bundles" / NEW) in why
    refused = groknet("epoch", "switch", NEW, "--home", town.one)
    assert refused.code == Exit.FAILED
    assert f"tagger of {town.two} on " in refused.err
    assert why in refused.err
    assert epochs(groknet("epoch", "status", "--home", town.one, "--json"))[OLD]["active"]

    shutil.copytree(kept, town.two / "bundles" / NEW)
    until_told(groknet, town, lambda answer: workers(answer)[("two", "tagger")]["cannot"] == {})
    store = build_store(town.store_url)
    ghost = Presence(
        kind="tagger",
        name="tagger-2",
        home="/srv/three",
        host="elsewhere",
        pid=1,
        url="",
        since=0.0,
        epoch=OLD,
        follows=True,
        bundles={OLD: "", NEW: ""},
    )
    store.announce("ghost", msgspec.json.encode(ghost), 600)
    late = groknet("epoch", "switch", NEW, "--home", town.one, "--wait", 1, "--json")
    assert late.code == Exit.FAILED
    assert "tagger-2 of /srv/three on elsewhere" in late.json["late"]
    assert f"tagger of {town.one} on " in late.json["apart"][0]
    assert f"tagger-2 of /srv/three on elsewhere still runs epoch {OLD}" in late.err
    until_told(groknet, town, lambda answer: workers(answer)[("two", "tagger")]["runs"] == NEW)
    status = groknet("epoch", "status", "--home", town.two)
    assert "started with --bundle: does not follow" in status.out
    assert "not on the epoch in force yet" in status.out
    store.announce("ghost", msgspec.json.encode(msgspec.structs.replace(ghost, epoch=NEW)), 600)
    again = groknet("epoch", "switch", NEW, "--home", town.one, "--json")
    assert (again.code, again.json["late"]) == (Exit.OK, [])
    assert apart.poll() is None
    store.close()


@pytest.mark.timeout(600)
def test_two_homes_change_their_model_while_listings_come_and_photos_are_searched(groknet: Call, town: Town) -> None:
    change_of_two_homes(groknet, town)


@pytest.mark.services
@pytest.mark.timeout(600)
@pytest.mark.filterwarnings("ignore:(read|open)_text is deprecated:DeprecationWarning")
def test_two_homes_change_their_model_on_kafka_and_cassandra(groknet: Call, services: Services, tmp_path: Path) -> None:
    store = cassandra_keyspace.fresh_url(services)
    cassandra_keyspace.make(store)
    town = Town(tmp_path, f"kafka://{services.bootstrap}?session_s=6", store)
    try:
        change_of_two_homes(groknet, town)
    finally:
        town.close()
        cassandra_keyspace.drop(store)


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
