from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from schemas.errors import ConfigError, Transient
from workers.search.kept.ledger import Judgement, KeptSearch, Ledger

DAY = 86_400


class Clock:
    def __init__(self) -> None:
        self.now = 1_790_000_000.0

    def __call__(self) -> float:
        return self.now


def search(number: int, at: int = 1_790_000_000, **fields: object) -> KeptSearch:
    values = {"at": at, "epoch": "e", "hash": f"{number:064x}", "close": False, "likeness": 0.25} | fields
    return KeptSearch(**values)  # type: ignore[arg-type]


def judgement(at: int = 1_790_000_000, **fields: object) -> Judgement:
    values = {"at": at, "epoch": "e", "hash": "0" * 64, "listing_id": "l", "right": True} | fields
    return Judgement(**values)  # type: ignore[arg-type]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def ledger(tmp_path: Path, clock: Clock):
    made = Ledger(tmp_path / "kept.db", days=30, most=5, clock=clock)
    yield made
    made.close()


def test_what_is_kept_is_read_back(ledger: Ledger, tmp_path: Path, clock: Clock) -> None:
    first = search(1, close=True, category="mugs", listing_id="l/1", photo=b"webp", box="0.1,0,0.5,1")
    ledger.keep(first)
    ledger.keep(search(2, epoch="f"))
    ledger.judge(judgement(head="colour", label="teal", listing_id="", right=False))
    other = Ledger(tmp_path / "kept.db", days=30, most=5, clock=clock)
    assert list(other.searches()) == [first, search(2, epoch="f")]
    assert list(other.searches("f")) == [search(2, epoch="f")]
    assert list(other.judgements()) == [judgement(head="colour", label="teal", listing_id="", right=False)]
    other.close()


def test_the_last_word_counts(ledger: Ledger) -> None:
    ledger.judge(judgement(right=True))
    ledger.judge(judgement(listing_id="m"))
    ledger.judge(judgement(right=False))
    assert {one.listing_id: one.right for one in ledger.judgements()} == {"l": False, "m": True}
    ledger.keep(search(1, likeness=0.1))
    ledger.keep(search(1, likeness=0.2))
    assert [one.likeness for one in ledger.searches()] == [0.2]


def test_rows_leave_after_their_days_and_the_oldest_when_there_are_too_many(ledger: Ledger, clock: Clock) -> None:
    start = int(clock.now)
    for number in range(4):
        ledger.keep(search(number, at=start - number * 10 * DAY))
    assert ledger.prune() == 0  # the oldest is 30 days old to the second
    clock.now += 1
    assert ledger.prune() == 1
    for number in range(10, 20):
        ledger.keep(search(number, at=start))
    assert ledger.prune() == 8
    assert [int(one.hash, 16) for one in ledger.searches()] == [15, 16, 17, 18, 19]


def test_the_bound_holds_while_rows_are_written(ledger: Ledger) -> None:
    for number in range(500):
        ledger.keep(search(number))
    assert len(list(ledger.searches())) <= 5 + 100


def test_what_is_forgotten_is_not_in_the_file(ledger: Ledger, tmp_path: Path) -> None:
    ledger.keep(search(1, photo=b"a very private photo" * 100))
    ledger.judge(judgement(listing_id="secret/listing"))
    assert ledger.forget() == 2
    ledger.close()
    data = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert b"private" not in data
    assert b"secret/listing" not in data


def test_what_is_pruned_is_not_in_the_file_nor_in_its_log(ledger: Ledger, tmp_path: Path, clock: Clock) -> None:
    def held(text: bytes) -> bool:
        return any(text in path.read_bytes() for path in tmp_path.iterdir())

    ledger.keep(search(1, photo=b"a very private photo" * 100))
    ledger.keep(search(2, at=1_790_000_000 + DAY, photo=b"a younger photo"))
    assert held(b"private")
    clock.now += 30 * DAY + 1
    assert ledger.prune() == 1
    assert not held(b"private")
    assert held(b"younger")


def test_a_reader_delays_the_end_of_a_forgotten_row_and_is_named(tmp_path: Path, clock: Clock) -> None:
    ledger = Ledger(tmp_path / "kept.db", days=30, most=5, clock=clock, busy_timeout_s=0.01)
    ledger.keep(search(1, photo=b"a very private photo" * 100))
    reader = sqlite3.connect(tmp_path / "kept.db", isolation_level=None)
    reader.execute("BEGIN")
    assert reader.execute("SELECT count(*) FROM search").fetchone() == (1,)
    assert ledger.prune() == 0  # it does not wait for readers, and does not fail
    with pytest.raises(Transient, match=r"kept\.db"):
        ledger.forget()
    reader.close()
    assert ledger.forget() == 0
    assert not any(b"private" in path.read_bytes() for path in tmp_path.iterdir())
    ledger.close()


def test_a_write_does_not_wait_for_another_process_without_end(tmp_path: Path, clock: Clock) -> None:
    ledger = Ledger(tmp_path / "kept.db", days=30, most=5, clock=clock, busy_timeout_s=0.01)
    other = sqlite3.connect(tmp_path / "kept.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(Transient, match="locked"):
        ledger.keep(search(1))
    other.close()
    ledger.keep(search(1))
    assert len(list(ledger.searches())) == 1
    ledger.close()


def test_nothing_in_the_file_can_say_who_it_was(ledger: Ledger, tmp_path: Path) -> None:
    """The columns, so that one that names a person is not added without being noticed."""
    with sqlite3.connect(tmp_path / "kept.db") as database:
        columns = {
            row[1] for table in ("search", "judgement") for row in database.execute(f"PRAGMA table_info({table})")
        }
    database.close()
    assert columns == {
        *("id", "at", "epoch", "hash", "box", "close", "likeness", "category", "listing_id", "photo"),
        *("query_listing", "image_id", "head", "label", "right"),
    }


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "kept.db").write_bytes(b"no database" * 1000)
    with pytest.raises(ConfigError, match=r"kept\.db"):
        Ledger(tmp_path / "kept.db", days=1, most=1)
