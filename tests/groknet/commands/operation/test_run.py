"""`groknet run all` as a process: started, killed in parts, killed whole, stopped."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from groknet.cli.exits import Exit
from groknet.home.paths import Home
from groknet.home.running import Lock, is_locked, read_running, usual_port
from tests.groknet.conftest import START_S, WORKERS, Call, Cluster, start_all, write_photo

pytestmark = pytest.mark.slow


@pytest.fixture
def fresh(tmp_path: Path, bundle: Path) -> Iterator[Cluster]:
    running = start_all(tmp_path, bundle)
    try:
        running.wait_for("all workers are ready")
        yield running
    finally:
        running.stop()


def wait_until_free(home: Home) -> None:
    deadline = time.monotonic() + START_S
    while any(is_locked(home, name) for name in WORKERS):
        assert time.monotonic() < deadline, "a worker outlived its supervisor"
        time.sleep(0.02)


def test_killed_workers_come_back_where_they_were_and_sigterm_ends_all_in_order(
    fresh: Cluster, groknet: Call, tmp_path: Path
) -> None:
    home = Home(fresh.home)
    before = {name: read_running(home, name) for name in WORKERS}
    for name in WORKERS:
        os.kill(fresh.pid(name), signal.SIGKILL)
        fresh.wait_for(f"{name} ended (SIGKILL)")
        fresh.wait_for(f"{name} ready")
        now, then = read_running(home, name), before[name]
        assert now is not None
        assert then is not None
        assert now.pid != then.pid
        assert now.url == then.url
    photo = write_photo(tmp_path / "in" / "a.jpg", 3)
    answer = groknet("submit", "--home", fresh.home, "--wait", "--json", photo)
    assert answer.lines[0]["status"] == "searchable"
    assert fresh.stop() == Exit.OK
    assert fresh.said[-1] == "all workers have stopped"
    assert not any(is_locked(home, name) for name in WORKERS)
    assert all(read_running(home, name) is None for name in WORKERS)
    for name in WORKERS:
        assert (home.logs / f"{name}.log").stat().st_size > 0


def test_a_worker_that_ends_by_itself_is_started_again(cluster: Cluster) -> None:
    os.kill(cluster.pid("indexer"), signal.SIGTERM)
    cluster.wait_for("indexer ended (exit code 0)")
    cluster.wait_for("indexer ready")


def test_workers_do_not_outlive_a_killed_supervisor_and_the_next_one_starts(fresh: Cluster, bundle: Path) -> None:
    fresh.process.kill()
    fresh.process.wait()
    following = start_all(fresh.home, bundle)
    try:
        following.wait_for("all workers are ready")
    finally:
        assert following.stop() == Exit.OK
    wait_until_free(Home(fresh.home))


def test_a_second_one_on_the_same_home_names_the_first(cluster: Cluster, groknet: Call, bundle: Path) -> None:
    answer = groknet("run", "all", "--home", cluster.home, "--bundle", bundle)
    assert answer.code == Exit.USAGE
    assert f"kill {cluster.process.pid}" in answer.err
    assert "another --home" in answer.err


def test_a_wrong_bundle_stops_all_and_says_why(tmp_path: Path, bundle: Path) -> None:
    altered = tmp_path / "altered"
    altered.mkdir()
    for file in bundle.iterdir():
        (altered / file.name).write_bytes(file.read_bytes() + (b"x" if file.suffix == ".onnx" else b""))
    running = start_all(tmp_path / "home", altered)
    assert running.process.wait(timeout=START_S) == Exit.USAGE
    assert running.stop() == Exit.USAGE
    assert running.said[-1].startswith("groknet: ")
    assert "sha256" in running.said[-1]


def test_a_lock_ends_with_its_holder(tmp_path: Path) -> None:
    home = Home(tmp_path).make()
    child = os.fork()
    if not child:
        Lock(home, "tagger")
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
    assert not is_locked(home, "tagger")
    lock = Lock(home, "tagger")
    assert is_locked(home, "tagger")
    lock.release()
    assert not is_locked(home, "tagger")


def test_a_free_port_is_kept_for_the_next_start(tmp_path: Path) -> None:
    home = Home(tmp_path).make()
    first = usual_port(home, "search", "127.0.0.1", 0)
    assert first > 0
    assert usual_port(home, "search", "127.0.0.1", 0) == first
    assert usual_port(home, "search", "127.0.0.1", 4711) == 4711


@pytest.mark.parametrize("text", ["", "8 thousand", "-1", "70000"])
def test_a_port_file_that_holds_no_port_is_replaced(tmp_path: Path, text: str) -> None:
    home = Home(tmp_path).make()
    file = home.run / "search.port"
    file.write_text(text)
    assert usual_port(home, "search", "127.0.0.1", 0) == int(file.read_text())
    assert list(home.run.iterdir()) == [file]
