"""Taggers of one home as processes, and workers whose services come later than they do."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from groknet.cli.exits import Exit
from groknet.home.paths import Home
from groknet.home.running import Readiness, read_running, readiness
from groknet.home.taggers import running_taggers
from tests.groknet.conftest import START_S, Call, start_all, write_photo

pytestmark = pytest.mark.slow

Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def start(tmp_path: Path, bundle: Path) -> Iterator[Start]:
    """`groknet run WORKER` on one home."""
    processes: list[subprocess.Popen[str]] = []

    def begin(worker: str, *options: object) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "groknet", "run", worker, "--home", str(tmp_path), "--bundle", str(bundle)]
        process = subprocess.Popen([*command, *map(str, options)], stderr=subprocess.PIPE, text=True)
        processes.append(process)
        return process

    yield begin
    for process in processes:
        if process.poll() is None:
            process.kill()
        process.wait()
        if process.stderr is not None:
            process.stderr.close()


def until(home: Home, name: str, condition: Callable[[Readiness], bool]) -> None:
    deadline = time.monotonic() + START_S
    while True:
        running = read_running(home, name)
        says = None if running is None else readiness(running)
        if says is not None and condition(says):
            return
        assert time.monotonic() < deadline, says
        time.sleep(0.02)


def three_free_ports() -> int:
    """The first of three ports in a row that nobody has now."""
    for base in range(20_000 + os.getpid() % 10_000, 60_000):
        with socket.socket() as one, socket.socket() as two, socket.socket() as three:
            try:
                for offset, probe in enumerate((one, two, three)):
                    probe.bind(("127.0.0.1", base + offset))
            except OSError:
                continue
            return base
    raise AssertionError("no free ports")


def test_each_tagger_takes_the_next_name_and_port_and_a_taken_port_is_named(tmp_path: Path, start: Start) -> None:
    home, base = Home(tmp_path), three_free_ports()
    for k, name in enumerate(("tagger", "tagger-2")):
        start("tagger", "--port", base)
        until(home, name, lambda says: says.ready)
        assert read_running(home, name).port == base + k  # type: ignore[union-attr]
    with socket.create_server(("127.0.0.1", base + 2)):
        third = start("tagger", "--port", base)
        _, said = third.communicate(timeout=START_S)
    assert third.returncode == Exit.USAGE
    assert f"tagger-3: port {base + 2}, tagger.port + 2, on 127.0.0.1 is taken by a program that is not groknet" in said
    assert "tagger.port (0: any free one)" in said
    fourth = start("tagger", "--port", base, "--slot", 1)
    assert fourth.wait(timeout=START_S) == Exit.USAGE
    assert "tagger-2 is running already" in fourth.communicate()[1]
    fifth = start("indexer", "--port", base)
    assert fifth.wait(timeout=START_S) == Exit.USAGE
    assert f"port {base} on 127.0.0.1 is taken by tagger of this home" in fifth.communicate()[1]


def test_supervised_taggers_keep_their_names(tmp_path: Path, bundle: Path, groknet: Call) -> None:
    home = Home(tmp_path)
    cluster = start_all(tmp_path, bundle, "--taggers", "2")
    try:
        cluster.wait_for("all workers are ready")
        before = running_taggers(home)
        assert list(before) == ["tagger", "tagger-2"]
        os.kill(before["tagger-2"].pid, signal.SIGKILL)
        cluster.wait_for("tagger-2 ready on")
        after = running_taggers(home)
        assert after["tagger"] == before["tagger"]
        assert after["tagger-2"].port == before["tagger-2"].port
        photos = [write_photo(tmp_path / "in" / f"{seed}.jpg", seed) for seed in range(8)]
        answer = groknet("submit", "--home", tmp_path, "--wait", "--json", *photos)
        assert {line["status"] for line in answer.lines} == {"searchable"}
        where = groknet("where", "--home", tmp_path, "--json", answer.lines[0]["listing_id"])
        assert "is stored and searchable" in where.json["sentence"]
        assert where.json["indexed"]["held"] == where.json["stored"]["event_time"]
        lines = groknet("doctor", "--home", tmp_path, "--bundle", bundle, "--json").lines
        assert {line["check"]: line["state"] for line in lines}["tagger-2"] == "ok"
    finally:
        assert cluster.stop() == Exit.OK
    assert (home.logs / "tagger-2.log").stat().st_size > 0


@pytest.mark.parametrize(
    ("worker", "service"), [("tagger", "store"), ("tagger", "stream"), ("indexer", "stream"), ("search", "store")]
)
def test_a_worker_waits_for_a_service_and_goes_on_when_it_comes(
    tmp_path: Path, start: Start, worker: str, service: str
) -> None:
    home = Home(tmp_path)
    (tmp_path / f"{service}.db").mkdir()
    process = start(worker, "--port", 0)
    until(home, worker, lambda says: says.waiting_for.startswith(f"the {service}: "))
    assert process.poll() is None
    (tmp_path / f"{service}.db").rmdir()
    until(home, worker, lambda says: says.ready or says.waiting_for == "its engine, and an indexer of this home")
    process.terminate()
    _, said = process.communicate(timeout=START_S)
    assert process.returncode == Exit.OK
    warnings = [
        line.partition(" WARNING groknet.run.opening: ")[2] for line in said.splitlines() if " WARNING " in line
    ]
    assert warnings[0].startswith(f"waiting for the {service}, which does not answer: ")
    assert warnings[1].startswith(f"the {service} answers, after ")
    assert len(warnings) == 2


@pytest.mark.parametrize("worker", ["tagger", "indexer", "search"])
def test_a_worker_that_waits_ends_in_order(tmp_path: Path, start: Start, worker: str) -> None:
    service = "store" if worker == "search" else "stream"
    (tmp_path / f"{service}.db").mkdir()
    process = start(worker, "--port", 0)
    until(Home(tmp_path), worker, lambda says: says.waiting_for.startswith(f"the {service}: "))
    process.terminate()
    assert process.wait(timeout=START_S) == Exit.OK
    assert read_running(Home(tmp_path), worker) is None


def test_a_supervisor_says_what_its_workers_wait_for(tmp_path: Path, bundle: Path) -> None:
    (tmp_path / "store.db").mkdir()
    cluster = start_all(tmp_path, bundle)
    try:
        cluster.wait_for("waits for the store: ")
        shutil.rmtree(tmp_path / "store.db")
        cluster.wait_for("all workers are ready")
        assert not any("ended" in line for line in cluster.said)
    finally:
        assert cluster.stop() == Exit.OK


def test_a_wrong_address_is_not_waited_for(tmp_path: Path, start: Start) -> None:
    (tmp_path / "groknet.toml").write_text('[store]\nurl = "nosuch://host"\n')
    process = start("tagger", "--port", 0)
    assert process.wait(timeout=START_S) == Exit.USAGE
    assert "unknown scheme" in process.communicate()[1]


def test_a_port_beyond_the_last_one_is_named(tmp_path: Path, start: Start) -> None:
    process = start("tagger", "--port", 65_535, "--slot", 1)
    assert process.wait(timeout=START_S) == Exit.USAGE
    assert "tagger-2: port 65536" in process.communicate()[1]


def test_run_all_goes_on_without_a_tagger_and_says_so(tmp_path: Path, bundle: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        (tmp_path / "groknet.toml").write_text(f"[tagger]\nport = {port}\n")
        cluster = start_all(tmp_path, bundle)
        try:
            cluster.wait_for("ready, but without tagger")
            given_up = [line for line in cluster.said if line.startswith("tagger ended")]
            assert len(given_up) == 1
            assert f"port {port} on 127.0.0.1 is taken" in given_up[0]
            assert f"groknet run tagger --home {tmp_path}" in given_up[0]
            assert "nothing new is tagged until one runs" in cluster.said[-1]
            gave_up = json.loads((tmp_path / "run" / "gave-up.json").read_text())
            assert list(gave_up) == ["tagger"]
        finally:
            assert cluster.stop() == Exit.OK
    assert cluster.said[-1] == "all workers have stopped"
