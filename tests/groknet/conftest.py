from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from groknet.cli import run
from groknet.home.config import load_config
from groknet.home.paths import Home
from groknet.run.open_back_ends import open_stream
from schemas.topics import UPLOADED
from tests.engines.tiny_bundle import tiny_graph, write_tiny_bundle
from tests.groknet.fetching.site import Site
from tests.groknet.places import NEW, Place
from workers.stores import build_store
from workers.streams.base import Record

START_S = 150.0  # a busy machine takes more than 60 s to start three workers
WORKERS = ("tagger", "indexer", "search")


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bundle")
    write_tiny_bundle(folder)
    return folder


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    write_tiny_bundle(tmp_path / "old")
    write_tiny_bundle(tmp_path / "new", tiny_graph(1), epoch=NEW, model_version="tiny-2")
    store = build_store(f"sqlite://{tmp_path}/store.db")
    yield Place(tmp_path, store, tmp_path / "old", tmp_path / "new")
    store.close()


@pytest.fixture
def site() -> Iterator[Site]:
    made = Site()
    yield made
    made.close()


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("GROKNET")]:
        monkeypatch.delenv(name)


@dataclass
class Answer:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def lines(self) -> list[Any]:
        return [json.loads(line) for line in self.out.splitlines()]


Call = Callable[..., Answer]


@pytest.fixture
def groknet(capfd: pytest.CaptureFixture[str]) -> Call:
    """The command in this process: exit code and what it wrote."""

    def call(*arguments: object) -> Answer:
        capfd.readouterr()
        code = run([str(a) for a in arguments])
        out, err = capfd.readouterr()
        assert "Traceback" not in err
        return Answer(int(code), out, err)

    return call


def write_photo(path: Path, seed: int, side: int = 32) -> Path:
    """A JPEG of noise in large blocks, so that every seed looks different to any network."""
    rng = np.random.default_rng(seed)
    blocks = rng.integers(0, 256, (4, 4, 3), dtype=np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = Image.fromarray(blocks).resize((side, side), Image.Resampling.NEAREST)
    picture.save(path, "JPEG", quality=90)
    os.utime(path, ns=(1_700_000_000_123_456_789 + seed,) * 2)
    return path


@dataclass
class Cluster:
    """`groknet run all` as a process of its own."""

    home: Path
    process: subprocess.Popen[str]
    said: list[str] = field(default_factory=list)

    def wait_for(self, text: str) -> None:
        assert self.process.stderr is not None
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline:
            line = self.process.stderr.readline()
            if not line:
                break
            self.said.append(line.rstrip())
            if text in line:
                return
        pytest.fail(f"{text!r} was not said; it said {self.said}")

    def pid(self, worker: str) -> int:
        return int(json.loads((self.home / "run" / f"{worker}.json").read_text())["pid"])

    def stop(self) -> int:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        assert self.process.stderr is not None
        if not self.process.stderr.closed:
            self.said += self.process.stderr.read().splitlines()
            self.process.stderr.close()
        return self.process.wait(timeout=START_S)


def start_all(home: Path, bundle: Path, *options: str) -> Cluster:
    command = [sys.executable, "-m", "groknet", "run", "all", "--home", str(home), "--bundle", str(bundle)]
    process = subprocess.Popen([*command, "--port", "0", *options], stderr=subprocess.PIPE, text=True)
    return Cluster(home, process)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory, bundle: Path) -> Iterator[Cluster]:
    running = start_all(tmp_path_factory.mktemp("home"), bundle)
    try:
        running.wait_for("all workers are ready")
        yield running
    finally:
        running.stop()


def sent_to(home: Path) -> list[Record]:
    with open_stream(load_config(Home(home), {}), "test") as stream:
        admin = stream.admin()
        records = list(admin.read(UPLOADED))
        admin.close()
    return records
