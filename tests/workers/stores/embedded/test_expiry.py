"""Where the bytes of photos are that the embedded store no longer keeps: in no table, after one of the next writes."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import msgspec
import pytest

from schemas.events import ImageRef, ListingEvent
from tests.contract.test_store_contract import effects, event
from workers.stores import Store, build_store

PHOTO = b"\xff\xd8 taken at 48.2082 N, 16.3738 E"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "store.db"


def store_at(file: Path, keep_s: float | None) -> Store:
    return build_store(f"sqlite://{file}", inline_photos_s=keep_s)


def inline(listing_id: str, at: int = 5) -> ListingEvent:
    images = [ImageRef(image_id="a", data=PHOTO)]
    return msgspec.structs.replace(event(listing_id, at, ["a"]), images=images)


def kept(file: Path) -> list[str]:
    """The listings whose photo is in the file."""
    with closing(sqlite3.connect(file)) as db:
        rows = db.execute("SELECT listing_id, event FROM latest ORDER BY listing_id").fetchall()
    return [listing_id for listing_id, body in rows if body is not None and PHOTO in body]


def all_over(file: Path) -> None:
    """Let the time of every photo be over."""
    with closing(sqlite3.connect(file)) as db, db:
        assert db.execute("UPDATE expiring SET expires_at = 1").rowcount > 0


def test_a_later_write_of_another_listing_takes_them_out(file: Path) -> None:
    with closing(store_at(file, 3600.0)) as store:
        store.write(*effects(inline("mug")))
    all_over(file)
    assert kept(file) == ["mug"]
    with closing(store_at(file, None)) as store:  # the setting has been taken back: the time of the old event goes on
        store.write(*effects(inline("bowl")))
    assert kept(file) == ["bowl"]


def test_a_store_that_nobody_writes_to_takes_them_out_while_a_worker_lives(file: Path) -> None:
    with closing(store_at(file, 3600.0)) as store:
        store.write(*effects(inline("mug")))
    all_over(file)
    with closing(store_at(file, 3600.0)) as store:
        store.announce("tagger", b"", 15.0)
    assert kept(file) == []


def test_each_write_takes_out_more_than_it_can_bring(file: Path) -> None:
    with closing(store_at(file, 3600.0)) as store:
        for n in range(9):
            store.write(*effects(inline(f"mug-{n}")))
        all_over(file)
        store.write(*effects(inline("bowl")))
        assert len(kept(file)) == 1 + 9 - 2
        for n in range(4):
            store.remove(event(f"mug-{n}", 6, []))
        assert kept(file) == ["bowl"]


def test_a_file_that_an_older_release_wrote_to_meanwhile_is_fine(file: Path) -> None:
    """It knows nothing of the table: it leaves a line in it when it removes a listing or stores a new event."""
    with closing(store_at(file, 0.0)) as store:
        store.write(*effects(inline("mug")))
        store.write(*effects(inline("bowl")))
    with closing(sqlite3.connect(file)) as db, db:
        db.execute("INSERT OR REPLACE INTO expiring VALUES ('mug', 1), ('bowl', 1)")
        db.execute("UPDATE latest SET removed = 1, event = NULL WHERE listing_id = 'mug'")
    with closing(store_at(file, 3600.0)) as store:
        store.write(*effects(inline("mug", 9)))
        store.write(*effects(event("cup", 5, ["a"])))
    assert kept(file) == ["mug"]
