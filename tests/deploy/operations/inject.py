"""Faults as context managers: each is there until the end of the with-block, which takes it back."""

from __future__ import annotations

import atexit
import io
import os
import resource
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import psutil
from PIL import Image

from schemas.events import ListingEvent, encode_event
from schemas.topics import DEAD_LETTERS, UPLOADED
from tests.deploy.operations.load import Load, event, tinted
from tests.deploy.operations.watched import CONFIG, Watched, locked, tagger_of, wait_until_ready
from tests.engines.tiny_bundle import tiny_graph, write_tiny_bundle
from tests.groknet.conftest import Cluster, start_all
from workers.streams import build_stream
from workers.streams.base import RebalanceListener
from workers.streams.embedded._log import OFFSET_BITS
from workers.streams.embedded._partitioner import partition_of
from workers.tagger.tagger import GROUP

REMOVALS = 8_000


@contextmanager
def repeated(step: Callable[[threading.Event], None]) -> Iterator[None]:
    """Repeat a step in a thread until the end of the block."""
    stop = threading.Event()

    def loop() -> None:
        while not stop.is_set():
            step(stop)

    thread = threading.Thread(target=loop)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


@contextmanager
def other_photos(load: Load) -> Iterator[None]:
    """Upload blue photos and search with a red one, which is far from every stored photo."""
    before = load.photo, load.searched
    load.photo, load.searched = lambda seed: tinted(seed, 2), tinted(1, 0)
    try:
        yield
    finally:
        load.photo, load.searched = before


def still(
    cluster: Cluster, workers: Sequence[str], still_s: float = 10, moving_s: float = 3
) -> AbstractContextManager[None]:
    """Stop workers for some seconds, again and again."""

    def step(stop: threading.Event) -> None:
        pids = [cluster.pid(worker) for worker in workers]
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        stop.wait(still_s)
        for pid in pids:
            os.kill(pid, signal.SIGCONT)
        stop.wait(moving_s)

    return repeated(step)


@contextmanager
def few_files(cluster: Cluster) -> Iterator[None]:
    """Lower the limit of open files of the indexer until it is almost reached."""
    pid = cluster.pid("indexer")
    before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    fewest = psutil.Process(pid).num_fds()
    for _ in range(30):  # connections come and go
        time.sleep(0.1)
        fewest = min(fewest, psutil.Process(pid).num_fds())
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (int(fewest / 0.87), before[1]))
    try:
        yield
    finally:
        resource.prlimit(pid, resource.RLIMIT_NOFILE, before)


@contextmanager
def black(load: Load) -> Iterator[None]:
    """Upload one black photo, whose embedding the tiny graph divides by its length, which is 0."""
    file = io.BytesIO()
    Image.new("RGB", (64, 48)).save(file, "PNG")
    load.send(UPLOADED, b"black", event("black", file.getvalue()))
    yield


def joining(home: Path) -> AbstractContextManager[None]:
    """Join the taggers' group and leave it, again and again."""
    stream = build_stream(f"sqlite:///{home}/stream.db", "passer-by")

    def step(stop: threading.Event) -> None:
        consumer = stream.consumer(GROUP, [UPLOADED], RebalanceListener())
        until_s = time.monotonic() + 0.4
        while time.monotonic() < until_s:
            consumer.poll(0.1, 1)
        consumer.close()
        stop.wait(0.3)

    return repeated(step)


@contextmanager
def second_home(folder: Path, port: int, *, without_indexer: bool = False) -> Iterator[None]:
    """Run all workers of a second home with a bundle of another epoch. Its target list is at `port`."""
    home, bundle = folder / "second", folder / "second-bundle"
    home.mkdir(exist_ok=True)
    write_tiny_bundle(bundle, tiny_graph(1), epoch="ba9876543210", model_version="tiny-2")
    (home / "groknet.toml").write_text(CONFIG.replace("[targets]\nport = 0", f"[targets]\nport = {port}"))
    cluster = start_all(home, bundle)
    try:
        wait_until_ready(cluster)
        if without_indexer:
            os.kill(cluster.pid("indexer"), signal.SIGSTOP)
        yield
    finally:
        if without_indexer:
            os.kill(cluster.pid("indexer"), signal.SIGCONT)
        cluster.stop()


def slow_store(home: Path) -> AbstractContextManager[None]:
    """Lock the store's file, again and again."""

    def step(stop: threading.Event) -> None:
        with locked(home / "store.db"):
            stop.wait(1.5)
        time.sleep(0.2)

    return repeated(step)


def large_photos(load: Load) -> AbstractContextManager[None]:
    """Upload photos that take long to decode: PNGs of 12 megapixels."""
    file = io.BytesIO()
    Image.linear_gradient("L").resize((4000, 3000)).convert("RGB").save(file, "PNG", compress_level=9)
    number = 0

    def step(stop: threading.Event) -> None:
        nonlocal number
        for _ in range(15):
            number += 1
            load.send(UPLOADED, f"large/{number}".encode(), event(f"large/{number}", file.getvalue()))
        stop.wait(1)

    return repeated(step)


@contextmanager
def no_dead_letters(watched: Watched) -> Iterator[None]:
    """Let the dead-letter topic refuse everything, upload one bad photo, and then many removals to its partition."""
    stream = build_stream(f"sqlite:///{watched.cluster.home}/stream.db", "fault")
    with stream_file(watched.cluster.home) as db:
        ids = [id_ for (id_,) in db.execute("SELECT id FROM partitions WHERE topic = ?", (DEAD_LETTERS,))]
        count = int(db.execute("SELECT partitions FROM topics WHERE name = ?", (UPLOADED,)).fetchone()[0])
        refused = f"(NEW.position >> {OFFSET_BITS}) IN ({','.join(map(str, ids))})"
        overflow = "SELECT abs(-9223372036854775807 - 1)"  # an error as that of a broken file, which RAISE is not
        db.execute(f"CREATE TRIGGER refuse BEFORE INSERT ON records WHEN {refused} BEGIN {overflow}; END")
    try:
        watched.load.send(UPLOADED, b"bad", event("bad", b"not a photo"))
        time.sleep(2)
        producer, sent, number = stream.producer(), 0, 0
        while sent < REMOVALS:
            number += 1
            listing = f"gone/{number}"
            if partition_of(listing.encode(), count) == partition_of(b"bad", count):
                sent += 1
                producer.send(UPLOADED, listing.encode(), removal(listing))
        producer.close()
        yield
    finally:
        with stream_file(watched.cluster.home) as db:
            db.execute("DROP TRIGGER refuse")


def removal(listing: str) -> bytes:
    """The event that removes a listing."""
    now_us = time.time_ns() // 1000
    return encode_event(
        ListingEvent(event_id=f"{listing}@", listing_id=listing, event_time=now_us, type="removed", images=[])
    )


@contextmanager
def stream_file(home: Path) -> Iterator[sqlite3.Connection]:
    """The file of the embedded stream."""
    connection = sqlite3.connect(home / "stream.db", timeout=60, isolation_level=None)
    try:
        yield connection
    finally:
        connection.close()


@contextmanager
def unreadable(home: Path) -> Iterator[None]:
    """Take the table of partitions away, so that nobody can tell where the topics end."""
    with stream_file(home) as db:
        db.execute("ALTER TABLE partitions RENAME TO partitions_away")
        try:
            yield
        finally:
            db.execute("ALTER TABLE partitions_away RENAME TO partitions")


@contextmanager
def wrong_config(cluster: Cluster) -> Iterator[None]:
    """Make the tagger's section wrong and end the tagger. Afterwards repair it and start a tagger, as the runbook
    says."""
    file = cluster.home / "groknet.toml"
    file.write_text(CONFIG.replace("[tagger]\n", "[tagger]\nbatch_size = 0\n"))
    tagger = tagger_of(cluster)
    assert tagger is not None
    tagger.kill()
    try:
        yield
    finally:
        file.write_text(CONFIG)
        bundle = cluster.home.parent / "bundle"
        command = [
            sys.executable,
            "-m",
            "groknet",
            "run",
            "tagger",
            "--home",
            str(cluster.home),
            "--bundle",
            str(bundle),
        ]
        by_hand = subprocess.Popen([*command, "--port", "0"], stderr=subprocess.DEVNULL)
        atexit.register(_end, by_hand)  # it runs on, so that the alert resolves


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    process.wait(60)
