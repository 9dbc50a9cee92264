"""Removing listings: an event that is newer than what is stored."""

from __future__ import annotations

import time
from pathlib import Path

from groknet.home.paths import Home
from schemas.events import decode_event
from tests.groknet.conftest import Call, sent_to


def test_a_removal_is_newer_than_what_is_stored_and_deletes_the_copies(groknet: Call, tmp_path: Path) -> None:
    home = Home(tmp_path).make()
    copy = home.uploads / "left"
    copy.write_text("another listing's")
    before = time.time_ns() // 1000
    answer = groknet("remove", "--home", tmp_path, "--json", "a/1", "a/2", "a/1")
    assert [line["listing_id"] for line in answer.lines] == ["a/1", "a/2"]
    events = [decode_event(record.value) for record in sent_to(tmp_path)]
    assert {event.listing_id for event in events} == {"a/1", "a/2"}
    assert all(event.removed and event.event_time >= before for event in events)
    assert "not stored" in answer.err
    assert copy.exists()
