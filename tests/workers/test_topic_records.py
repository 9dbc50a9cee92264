"""Records that cannot be used: how often they are logged, and what a tombstone needs."""

from __future__ import annotations

import logging

import pytest

from schemas.errors import InvalidEvent
from schemas.hashes import EVENT_TIME_HEADER
from workers.streams import Partition, Record
from workers.topic_records import RefusedRecords, removal_of


def tombstone(key: bytes | None, time: str | None) -> Record:
    headers = () if time is None else ((EVENT_TIME_HEADER, time.encode()),)
    return Record(Partition("listings.hashes.x", 3), 7, 0, key, None, headers)


def test_each_kind_of_error_is_logged_once_in_ten_seconds(caplog: pytest.LogCaptureFixture) -> None:
    now = [100.0]
    refused = RefusedRecords(logging.getLogger("reader"), "a hash message", lambda: now[0])
    with caplog.at_level(logging.WARNING):
        for at, error in ((100.0, "epoch"), (109.9, "epoch"), (109.9, "no_event_time"), (110.0, "epoch")):
            now[0] = at
            refused.note(error, tombstone(b"a", None), f"{error} at {at:g}")
    assert [record.getMessage().rpartition(": ")[2] for record in caplog.records] == [
        "epoch at 100",
        "no_event_time at 109.9",
        "epoch at 110",
    ]
    assert "refused a hash message at listings.hashes.x[3] offset 7" in caplog.text


def test_a_tombstone_names_its_listing_and_its_time() -> None:
    assert removal_of(tombstone(b"shop/1", "1700000000000000"), "index") == ("shop/1", 1_700_000_000_000_000)


@pytest.mark.parametrize(
    ("key", "time", "error"),
    [
        (b"shop/1", None, "no_event_time"),
        (b"shop/1", "soon", "no_event_time"),
        (b"shop/1", "9" * 20, "no_event_time"),
        (b"shop/1", "٣", "no_event_time"),
        (None, "17", "invalid_key"),
        (b"two words", "17", "invalid_key"),
        (b"x" * 129, "17", "invalid_key"),
    ],
)
def test_a_tombstone_without_them_is_refused_by_name(key: bytes | None, time: str | None, error: str) -> None:
    with pytest.raises(InvalidEvent) as refused:
        removal_of(tombstone(key, time), "index")
    assert (refused.value.stage, refused.value.error) == ("index", error)
