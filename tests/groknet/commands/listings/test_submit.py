from __future__ import annotations

import gzip
import io
import json
import os
import sys
from pathlib import Path

import pytest

from groknet.cli.exits import Exit
from groknet.home.paths import Home
from groknet.submitting.photo_events import find_photos, photo_event
from schemas.envelope import header
from schemas.events import decode_event
from tests.groknet.conftest import Call, sent_to, write_photo


def event_line(listing_id: str, **fields: object) -> str:
    event = {
        "event_id": "e",
        "listing_id": listing_id,
        "event_time": 1_700_000_000_000_005,
        "type": "removed",
        **fields,
    }
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


def test_event_files_of_every_form_are_sent(groknet: Call, tmp_path: Path) -> None:
    events = [json.loads(event_line(f"f/{n}")) for n in range(2)]
    (tmp_path / "array.json").write_text(json.dumps(events))
    (tmp_path / "pretty.json").write_text(json.dumps({**events[0], "listing_id": "pretty"}, indent=2))
    (tmp_path / "lines.ndjson.gz").write_bytes(gzip.compress(event_line("packed").encode()))
    (tmp_path / "export").write_bytes(b"\xef\xbb\xbf" + event_line("bom").encode())
    files = [tmp_path / name for name in ("array.json", "pretty.json", "lines.ndjson.gz", "export")]
    answer = groknet("submit", "--home", tmp_path / "home", "--json", *files)
    assert (answer.code, answer.err) == (Exit.OK, "")
    assert [line["listing_id"] for line in answer.lines] == ["f/0", "f/1", "pretty", "packed", "bom"]


def test_what_is_no_photo_is_named_and_refused_by_its_kind(groknet: Call, tmp_path: Path) -> None:
    write_photo(tmp_path / "in" / "a.jpg", 1)
    (tmp_path / "in" / "notes.txt").write_text("hello")
    answer = groknet("submit", "--home", tmp_path / "home", tmp_path / "in")
    assert (answer.code, len(sent_to(tmp_path / "home"))) == (Exit.OK, 1)
    assert f"{tmp_path / 'in'}: 1 other file: notes.txt left out, as they are no photos" in answer.err
    answer = groknet("submit", "--home", tmp_path / "home", tmp_path / "in" / "notes.txt")
    assert answer.code == Exit.USAGE
    assert "notes.txt: neither a photo nor events" in answer.err
    assert len(sent_to(tmp_path / "home")) == 1


def test_photos_of_before_2000_say_what_their_event_time_is(groknet: Call, tmp_path: Path) -> None:
    os.utime(write_photo(tmp_path / "a.jpg", 1), (0, 0))
    answer = groknet("submit", "--home", tmp_path / "home", tmp_path / "a.jpg")
    assert answer.code == Exit.OK
    assert "1 of 1 photos are dated before 2000; their event time is 2000-01-01T00:00:00Z" in answer.err
    (record,) = sent_to(tmp_path / "home")
    assert decode_event(record.value).event_time == 946_684_800_000_000


@pytest.mark.parametrize(
    "listing", ["-NxAbC_firebase", "-x", "-5", "--X_9", "a/similar", "a/duplicates", "v1/listings"]
)
def test_an_id_may_begin_with_a_dash_or_end_like_a_route(groknet: Call, tmp_path: Path, listing: str) -> None:
    Home(tmp_path).make()
    assert [line["listing_id"] for line in groknet("remove", "--home", tmp_path, "--json", listing).lines] == [listing]
    (record,) = sent_to(tmp_path)
    assert record.key == listing.encode()
    answer = groknet("show", "--home", tmp_path, listing, "--json")
    assert answer.code == Exit.NOT_FOUND
    assert f"{listing} is not stored" in answer.err
    assert groknet("where", "--home", tmp_path, "--json", listing).json["listing_id"] == listing


@pytest.mark.parametrize("command", ["show", "remove", "where"])
def test_a_mistyped_option_is_not_taken_for_an_id(groknet: Call, tmp_path: Path, command: str) -> None:
    Home(tmp_path).make()
    answer = groknet(command, "--home", tmp_path, "--jsno")
    assert answer.code == Exit.USAGE
    assert "Unknown option: --jsno" in answer.err
    assert sent_to(tmp_path) == []


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
