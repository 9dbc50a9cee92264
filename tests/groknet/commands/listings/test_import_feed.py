from __future__ import annotations

import csv
from pathlib import Path

from groknet.cli.exits import Exit
from schemas.events import decode_event
from tests.groknet.conftest import Call, sent_to

FEED = """id,title,image_link,price
1,Mug,https://a.example/1.jpg,5 EUR
2,No photo,,5 EUR
3,Odd price,https://a.example/3.jpg,cheap
,No id,https://a.example/4.jpg,
"""


def feed(tmp_path: Path) -> Path:
    file = tmp_path / "feed.csv"
    file.write_text(FEED)
    return file


def test_a_feed_is_sent_and_each_problem_is_named_by_line_and_field(groknet: Call, tmp_path: Path) -> None:
    home, problems = tmp_path / "home", tmp_path / "problems.csv"
    answer = groknet("import", "--home", home, "--prefix", "acme/", "--problems", problems, feed(tmp_path))
    assert answer.code == Exit.OK
    events = [decode_event(record.value) for record in sent_to(home)]
    assert sorted(event.listing_id for event in events) == ["acme/1", "acme/3"]
    assert {event.producer for event in events} == {"groknet import"}
    assert answer.out.startswith("4 read: 2 sent, 2 refused, 0 left out, 1 fields left out")
    named = [("refused", "line 3", "photo"), ("note", "line 4", "price"), ("refused", "line 5", "id")]
    rows = list(csv.DictReader(problems.read_text().splitlines()))
    assert sorted((row["problem"], row["place"], row["field"]) for row in rows) == sorted(named)
    for _, place, field in named:
        assert any(f", {place}: {field}" in line for line in answer.err.splitlines())


def test_the_same_feed_again_makes_the_same_events(groknet: Call, tmp_path: Path) -> None:
    home, file = tmp_path / "home", feed(tmp_path)
    for _ in range(2):
        groknet("import", "--home", home, file)
    values = [record.value for record in sent_to(home)]
    assert len(values) == 4
    assert len(set(values)) == 2


def test_a_dry_run_sends_nothing_and_events_can_be_written_to_a_file(groknet: Call, tmp_path: Path) -> None:
    home, out = tmp_path / "home", tmp_path / "events.ndjson"
    answer = groknet("import", "--home", home, "--dry-run", "--json", feed(tmp_path))
    assert answer.lines[-1] == {"read": 4, "imported": 2, "refused": 2, "left_out": 0, "notes": 1}
    assert not home.exists()
    groknet("import", "--home", home, "--out", out, feed(tmp_path))
    assert not home.exists()
    assert [decode_event(line).listing_id for line in out.read_bytes().splitlines()] == ["1", "3"]
    groknet("submit", "--home", home, out)
    assert [record.value for record in sent_to(home)] == out.read_bytes().splitlines()


def test_a_feed_that_breaks_off_fails_after_what_could_be_read(groknet: Call, tmp_path: Path) -> None:
    file = tmp_path / "feed.xml"
    item = "<item><id>1</id><image_link>https://a.example/1.jpg</image_link></item>"
    file.write_text(f"<rss><channel>{item}<item>")
    answer = groknet("import", "--home", tmp_path / "home", "--json", file)
    assert answer.code == Exit.FAILED
    assert answer.lines[-1]["imported"] == 1
    assert groknet("import", "--home", tmp_path / "home", "--currency", "euro", file).code == Exit.USAGE
