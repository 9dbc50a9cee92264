"""The parts of the embedded store that a contract cannot see: the group commit, the reader pool, URLs."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from schemas.errors import ConfigError, Transient, is_outage
from workers.sqlite import BUSY_TIMEOUT_S
from workers.stores import build_store
from workers.stores.embedded import EmbeddedStore
from workers.stores.embedded._tables import SCHEMA
from workers.stores.embedded._writer import GroupWriter
from workers.streams import build_stream


def test_a_file_that_exists_keeps_its_pages_and_its_rows(tmp_path: Path) -> None:
    old = sqlite3.connect(tmp_path / "old.db")
    old.executescript(
        "PRAGMA page_size=4096; PRAGMA journal_mode=WAL; CREATE TABLE t (n INTEGER); INSERT INTO t VALUES (7)"
    )
    old.close()
    for name, pages in (("old.db", 4096), ("new.db", 8192)):
        writer = GroupWriter(tmp_path / name)
        writer.run(lambda db: db.execute("CREATE TABLE IF NOT EXISTS t (n INTEGER)"))
        assert writer.run(lambda db: db.execute("PRAGMA page_size").fetchone()) == (pages,)
        assert writer.run(lambda db: db.execute("SELECT n FROM t").fetchall()) == ([(7,)] if name == "old.db" else [])
        writer.close()


def test_a_job_that_fails_takes_back_its_own_part_alone(tmp_path: Path) -> None:
    writer = GroupWriter(tmp_path / "store.db")
    writer.run(lambda db: db.execute("CREATE TABLE t (n INTEGER)"))

    def insert(number: int) -> int:
        def job(db: sqlite3.Connection) -> int:
            db.execute("INSERT INTO t VALUES (?)", (number,))
            if number % 3 == 0:
                raise KeyError(number)
            return number

        return writer.run(job)

    outcomes: dict[int, object] = {}

    def work(number: int) -> None:
        try:
            outcomes[number] = insert(number)
        except KeyError:
            outcomes[number] = "failed"

    threads = [threading.Thread(target=work, args=(n,)) for n in range(60)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert outcomes == {n: "failed" if n % 3 == 0 else n for n in range(60)}
    rows = writer.run(lambda db: db.execute("SELECT n FROM t ORDER BY n").fetchall())
    assert [n for (n,) in rows] == [n for n in range(60) if n % 3]
    writer.close()
    writer.close()
    with pytest.raises(ValueError, match="close"):
        insert(1)


def test_a_file_at_fault_is_transient_for_every_caller_and_passes(tmp_path: Path) -> None:
    writer = GroupWriter(tmp_path / "store.db")
    with pytest.raises(Transient, match="no such table"):
        writer.run(lambda db: db.execute("INSERT INTO missing VALUES (1)"))
    assert writer.run(lambda db: db.execute("SELECT 1").fetchone()) == (1,)
    writer.close()


def test_more_readers_than_the_pool_keeps_all_read(tmp_path: Path) -> None:
    store = EmbeddedStore(tmp_path / "store.db")
    barrier = threading.Barrier(20)
    found: list[int] = []

    def read() -> None:
        with store._reader() as db:
            barrier.wait(30)
            found.append(db.execute("SELECT count(*) FROM latest").fetchone()[0])

    threads = [threading.Thread(target=read) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [0] * 20
    assert store._readers.qsize() == 8
    store.close()
    with pytest.raises(ValueError, match="close"):
        store.get(["l"])


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("cassandra://localhost", "keyspace"),
        ("redis://x", "sqlite://"),
        ("sqlite://relative.db", "ABSOLUTE"),
        ("sqlite:///tmp/x.db?sync=off", "sync"),
    ],
)
def test_an_unusable_url_names_the_remedy(url: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        build_store(url)


@pytest.mark.parametrize("build", [build_store, lambda url: build_stream(url, "test").admin()], ids=["store", "stream"])
def test_a_file_that_is_no_database_is_named_with_the_remedy(tmp_path: Path, build: Callable[[str], object]) -> None:
    file = tmp_path / "data.db"
    file.write_bytes(b"not a database " * 100)
    with pytest.raises(ConfigError, match=r"data\.db: file is not a database; put a copy of it back"):
        build(f"sqlite:///{file}")
    assert file.read_bytes() == b"not a database " * 100


def test_a_probe_fails_in_time_where_only_reads_work(tmp_path: Path) -> None:
    store = EmbeddedStore(tmp_path / "store.db")
    store.probe()
    other = sqlite3.connect(tmp_path / "store.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")  # as a writer that is stuck: the store's own would wait for it for 30 s
    began = time.monotonic()
    with pytest.raises(Transient, match="locked") as caught:
        store.probe()
    assert time.monotonic() - began < BUSY_TIMEOUT_S / 2
    assert is_outage(caught.value)
    assert list(store.scan()) == []
    other.execute("ROLLBACK")
    other.close()
    store.probe()
    store.close()


def test_a_file_of_an_older_build_gets_what_it_lacks(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "store.db") as db:
        db.executescript(SCHEMA)
        db.execute("INSERT INTO latest VALUES ('l', 5, 1, 'digest', NULL)")
    db.close()
    store = EmbeddedStore(tmp_path / "store.db")
    assert store.put_setting("s", b"v", 0)
    assert [listing.event_time for listing in store.scan()] == [5]
    store.close()


def test_blobs_and_announcements_whose_time_is_over_leave_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = time.time()
    store = EmbeddedStore(tmp_path / "store.db")
    monkeypatch.setattr(time, "time", lambda: now)
    first, again = store.keep_blob(b"first"), store.keep_blob(b"again")
    store.announce("w", b"", 10)
    monkeypatch.setattr(time, "time", lambda: now + 30 * 86_400)
    assert store.keep_blob(b"again") == again
    assert store.blob(first) == b"first"
    assert store.announced() == {}
    monkeypatch.setattr(time, "time", lambda: now + 32 * 86_400)
    store.keep_blob(b"last")
    store.announce("v", b"", 10)
    assert store.blob(first) is None
    assert store.blob(again) == b"again", "given again, it is kept from then on"
    with sqlite3.connect(tmp_path / "store.db") as db:
        assert db.execute("SELECT worker FROM workers").fetchall() == [("v",)]
    db.close()
    store.close()
