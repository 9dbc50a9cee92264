from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import pytest

from groknet.cli.exits import Exit
from groknet.submitting.photo_events import find_photos, photo_event
from schemas.envelope import header
from schemas.events import decode_event
from tests.groknet.conftest import Call, sent_to, write_photo


def event_line(listing_id: str, **fields: object) -> str:
    event = {"event_id": "e", "listing_id": listing_id, "event_time": 5, "type": "removed", **fields}
    return json.dumps(event)


def test_a_folder_becomes_the_events_of_its_photos(groknet: Call, tmp_path: Path) -> None:
    photos, home = tmp_path / "photos", tmp_path / "home"
    for seed, name in enumerate(("a.jpg", "deep/b.jpg", "deep/é.jpg")):
        write_photo(photos / name, seed)
    answer = groknet("submit", "--home", home, "--json", photos)
    assert answer.code == Exit.OK
    assert answer.err == ""
    expected = {p.listing_id: photo_event(p, home / "uploads", []) for p in find_photos([photos])}
    assert answer.lines == [
        {"listing_id": name, "status": "sent", "stored_s": None, "searchable_s": None} for name in expected
    ]
    records = sent_to(home)
    assert {decode_event(r.value).listing_id: decode_event(r.value) for r in records} == expected
    for record in records:
        event = decode_event(record.value)
        assert record.key == event.listing_id.encode()
        assert header(record.headers, "ce_id") == event.event_id
        assert header(record.headers, "ce_partitionkey") == event.listing_id


def test_event_lines_are_sent_verbatim_and_what_does_not_decode_is_named(groknet: Call, tmp_path: Path) -> None:
    good = event_line("x/1", spare="kept")
    in_future = event_line("x/2", event_time=2**62)
    lines = [good, "{not json", "", '{"listing_id": "x/3"}', "  " + event_line("x/4"), in_future]
    file = tmp_path / "events.ndjson"
    file.write_text("\n".join(lines))
    answer = groknet("submit", "--home", tmp_path / "home", "--json", file)
    assert answer.code == Exit.OK
    assert [(line["listing_id"], line["status"]) for line in answer.lines] == [
        ("x/1", "sent"),
        (None, "dead"),
        ("x/3", "dead"),
        ("x/4", "sent"),
        ("x/2", "dead"),
    ]
    assert [line.split(": ")[0] for line in answer.err.splitlines()] == [f"{file}:{n}" for n in (2, 4, 6)]
    assert sorted(r.value or b"" for r in sent_to(tmp_path / "home")) == sorted(x.encode() for x in lines if x)


def test_stdin_is_a_stream_of_events(groknet: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = "".join(event_line(f"s/{i}") + "\r\n" for i in range(450))
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(lines.encode())))
    answer = groknet("submit", "--home", tmp_path, "-")
    assert answer.code == Exit.OK
    assert answer.out.startswith("450 listings: 450 sent")
    assert len(sent_to(tmp_path)) == 450


def test_nothing_is_sent_when_one_path_is_not_there(groknet: Call, tmp_path: Path) -> None:
    photo = write_photo(tmp_path / "a.jpg", 1)
    assert groknet("submit", "--home", tmp_path / "home", photo, tmp_path / "b.ndjson").code == Exit.NOT_FOUND
    assert sent_to(tmp_path / "home") == []


def test_waiting_ends_when_nothing_moves(groknet: Call, tmp_path: Path) -> None:
    photo = write_photo(tmp_path / "a.jpg", 1)
    answer = groknet("submit", "--home", tmp_path / "home", "--wait", "--json", "--give-up-s", 0.3, photo)
    assert answer.code == Exit.UNKNOWN_OUTCOME
    assert answer.lines == [{"listing_id": "a", "status": "timeout", "stored_s": None, "searchable_s": None}]
    assert f"groknet doctor --home {tmp_path / 'home'}" in answer.err
