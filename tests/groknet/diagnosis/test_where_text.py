"""One sentence says where a listing is, and what comes next."""

from __future__ import annotations

import msgspec
import pytest

from groknet.diagnosis.where_text import details, sentence
from groknet.diagnosis.whereabouts import Dead, Indexed, Patience, Stored, Waiting, Whereabouts
from schemas.topics import UPLOADED
from tests.groknet.diagnosis.flow import COMPLETE, NOW, SHORT, clock


def dead(**changes: object) -> Dead:
    letter = Dead(
        id="0:1",
        at=NOW - 50,
        stage="decode",
        error="undecodable",
        message="no JSON",
        image_id=None,
        event_time=COMPLETE.event_time + 1,
        replayable=True,
        replayed=False,
    )
    return msgspec.structs.replace(letter, **changes)


def waiting(**changes: object) -> Waiting:
    event = Waiting(topic=UPLOADED, partition=0, offset=7, since=NOW - 5, before=1, attempt=1, event_time=1)
    return msgspec.structs.replace(event, **changes)


@pytest.mark.parametrize(
    ("found", "said"),
    [
        ({"stored": COMPLETE, "indexed": Indexed(held=COMPLETE.event_time, removed=0)}, "is stored and searchable ("),
        ({"stored": COMPLETE, "indexed": Indexed(held=0, removed=0)}, "and not searchable yet"),
        ({"stored": COMPLETE}, "whether it is searchable is not known"),
        (
            {"stored": COMPLETE, "indexed": Indexed(held=COMPLETE.event_time, removed=0), "dead": [dead()]},
            "searchable (event of " + clock(NOW - 100) + "); of a newer event it became a dead letter",
        ),
        ({"stored": COMPLETE, "waiting": [waiting(done=True)]}, "x is stored"),
        ({"waiting": [waiting()]}, "1 event is before it"),
        ({"waiting": [waiting(before=12)]}, "12 events are before it"),
        ({"waiting": [waiting(), waiting(event_time=9, before=4)]}, "4 events are before it (1 more of its events"),
        ({"waiting": [waiting(topic=SHORT, due=NOW - 40, why="fetch: http_503")]}, "host answered 503; it was due at"),
        ({"waiting": [waiting(topic=SHORT, due=NOW - 40, why="store: torn_listing")]}, "40 s ago"),
        ({"waiting": [waiting(topic=SHORT, due=NOW - 40, why="fetch: slow_host")]}, "its photo's host is slow"),
        ({"stored": Stored(status="empty", event_time=5)}, "is stored without photos"),
        ({"stored": Stored(status="empty", event_time=5), "indexed": Indexed(held=4, removed=0)}, "still holds its"),
        ({"dead": [dead(replayed=True)]}, "it was sent again since"),
        (
            {"indexed": Indexed(held=COMPLETE.event_time, removed=0), "unknown": {"store": "no node answers"}},
            "is searchable (event of " + clock(NOW - 100) + "); whether something newer is stored is not known",
        ),
        ({"indexed": Indexed(held=9, removed=0)}, "is not stored and not on the way, but is searchable"),
        ({"stored": Stored(status="removed", event_time=5), "indexed": Indexed(held=0, removed=5)}, "x was removed ("),
        ({"stored": Stored(status="removed", event_time=5), "indexed": Indexed(held=4, removed=0)}, "still holds it"),
    ],
)
def test_one_sentence_says_where_it_is(found: dict[str, object], said: str) -> None:
    text = sentence(Whereabouts(listing_id="x", **found), NOW)  # type: ignore[arg-type]
    assert said in text
    assert text.startswith("x ")


def test_an_older_dead_letter_is_history() -> None:
    old = dead(event_time=COMPLETE.event_time - 1)
    found = Whereabouts(
        listing_id="x", stored=COMPLETE, indexed=Indexed(held=COMPLETE.event_time, removed=0), dead=[old]
    )
    assert "dead letter" not in sentence(found, NOW)
    assert sum(line.startswith("dead letter") for line in details(found, NOW)) == 1


def test_a_long_reading_says_how_far_it_is() -> None:
    said: list[str] = []
    patience = Patience(said.append, first_s=0.0, every_s=3600.0)
    for step in ("1 of 3", "2 of 3", "3 of 3"):
        patience(step)
    assert said == ["1 of 3"]
