"""A disk without room, as a limit of file sizes: the tagger says so in one sentence, waits, and goes on by itself."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

import pytest
import urllib3

from groknet.cli.exits import Exit
from tests.groknet.conftest import START_S, Call, Cluster, sent_to, start_all, write_photo

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


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A real file system of 24 MB, in memory."""
    disk = tmp_path / "disk"
    disk.mkdir()
    words = ["mount", "-t", "tmpfs", "-o", "size=24m,mode=700", "none", str(disk)]
    try:
        mounted = subprocess.run(words, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        mounted = False
    if not mounted:
        pytest.skip("only root can mount a small file system")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


def fill(disk: Path) -> Path:
    """A file that leaves no room on the disk."""
    filler = disk / "filler"
    with filler.open("ab", buffering=0) as file:
        for size in (1 << 20, 1 << 12, 1):
            with pytest.raises(OSError, match="No space left"):
                _write_on(file, bytes(size))
    return filler


def _write_on(file: BinaryIO, data: bytes) -> None:
    while True:
        file.write(data)


def wait_until(found: Callable[[], bool]) -> None:
    deadline = time.monotonic() + START_S
    while not found():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_a_full_disk_under_the_log_alone(groknet: Call, bundle: Path, small_disk: Path, tmp_path: Path) -> None:
    """Store and logs have room; the embedded log has none, then has it again. What was said to be sent is there."""
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    (home / "groknet.toml").write_text(f'[stream]\nurl = "sqlite://{small_disk}/stream.db"\n')
    running = start_all(home, bundle)
    try:
        running.wait_for("all workers are ready")
        pids = {worker: running.pid(worker) for worker in ("tagger", "indexer", "search")}
        before = [write_photo(tmp_path / f"before-{i}.jpg", i) for i in range(3)]
        assert groknet("submit", "--home", home, "--wait", *before).code == Exit.OK
        filler = fill(small_disk)
        later = [write_photo(tmp_path / f"later-{i}.jpg", 10 + i, side=400) for i in range(40)]
        refused = groknet("submit", "--home", home, *later)
        assert refused.code not in (Exit.OK, Exit.USAGE), refused
        assert refused.err.count("there is no room on its disk") == 1, refused.err
        assert str(small_disk) in refused.err
        wait_until(lambda: ready(running, "tagger")[0] == 503)
        assert "no room" in json.dumps(ready(running, "tagger")[1])
        assert groknet("show", "--home", home, "before-0").code == Exit.OK  # the store has room
        filler.unlink()
        wait_until(lambda: ready(running, "tagger")[0] == 200)
        assert groknet("submit", "--home", home, "--wait", *later).code == Exit.OK
        names = [photo.stem for photo in before + later]
        assert groknet("show", "--home", home, *names).code == Exit.OK
        assert {record.key for record in sent_to(home)} == {name.encode() for name in names}
        assert groknet("dlq", "list", "--home", home, "--json").lines == []
        assert {worker: running.pid(worker) for worker in pids} == pids
        for worker in pids:
            assert "Traceback" not in (home / "logs" / f"{worker}.log").read_text()
    finally:
        running.stop()


def test_an_event_that_meets_a_full_disk_is_refused_or_kept_but_not_both(tmp_path: Path) -> None:
    """In a process of its own, whose files may not grow for a while: each record that was confirmed is there once."""
    done = subprocess.run(
        [sys.executable, "-c", SENDER, str(tmp_path)], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["errors"] == ["disk_full"]
    assert told["confirmed"] == told["there"]
    assert {"before", "after"} <= {key.partition("-")[0] for key in told["there"]}


# Sends records one by one while the limit of file sizes is open, closed and open again, through one producer.
SENDER = """
import json, resource, sys
from schemas.errors import Transient
from workers.streams import build_stream
from workers.streams.base import TopicSpec

stream = build_stream(f"sqlite://{sys.argv[1]}/stream.db", "test")
admin, producer = stream.admin(), stream.producer()
admin.ensure_topics([TopicSpec("t", 1, False, None)])
confirmed, errors = [], set()
for name, most in (("before", resource.RLIM_INFINITY), ("during", 0), ("after", resource.RLIM_INFINITY)):
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, resource.RLIM_INFINITY))
    for number in range(20):
        key = f"{name}-{number}"
        try:
            producer.send("t", key.encode(), bytes(40_000)).wait(30)
            confirmed.append(key)
        except Transient as error:
            errors.add(error.error)
            try:
                producer.flush(30)
            except Transient:
                pass
there = [record.key.decode() for record in admin.read("t")]
print(json.dumps({"confirmed": confirmed, "errors": sorted(errors), "there": there}))
"""
