"""`groknet run all` against listings of strangers, and against a decoder that is broken. From outside, by commands."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from groknet.cli.exits import Exit
from tests.groknet.conftest import START_S, Call, Cluster, start_all, write_photo

pytestmark = pytest.mark.slow

HONEST, HOSTILE = 99, 101
PLANTED = Path(__file__).with_name("planted")


def listing(name: str, photo: dict[str, str]) -> str:
    event = {"event_id": name, "listing_id": name, "event_time": 1_700_000_000_000_000, "type": "created"}
    return json.dumps(event | {"images": [{"image_id": "0", **photo}]})


def hostile(i: int) -> str:
    """Five kinds of bad listings: no photo, a cut one, a private address, a file of the machine, no event at all."""
    whole = base64.b64decode("/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAAgGBgcGBQgHBwcJCQgKDBQNDAsLDBkSEw8UHRofHh0a")
    kinds: list[dict[str, str]] = [
        {"data": base64.b64encode(b"no photo %d" % i).decode()},
        {"data": base64.b64encode(whole[: 20 + i % 30]).decode()},
        {"url": f"https://169.254.169.254/{i}.jpg"},
        {"url": f"file:///etc/{i}.jpg"},
    ]
    return listing(f"bad/{i}", kinds[i % 5]) if i % 5 < 4 else f'{{"listing_id": "bad/{i}"}}'


@pytest.fixture
def events(tmp_path: Path) -> Path:
    """200 events: each honest one between two hostile ones."""
    lines = []
    for i in range(HOSTILE):
        lines.append(hostile(i))
        if i < HONEST:
            photo = write_photo(tmp_path / f"{i}.jpg", i).read_bytes()
            lines.append(listing(f"good/{i}", {"data": base64.b64encode(photo).decode()}))
    path = tmp_path / "events.ndjson"
    path.write_text("\n".join(lines) + "\n")
    return path


def test_101_bad_listings_among_200_stop_nobody(groknet: Call, cluster: Cluster, events: Path) -> None:
    pids = {worker: cluster.pid(worker) for worker in ("tagger", "indexer", "search")}
    for _ in range(2):  # the second time, the window is full from the first event on
        answer = groknet("submit", "--home", cluster.home, "--wait", "--json", events)
        statuses = {line["listing_id"]: line["status"] for line in answer.lines}
        assert {name for name, status in statuses.items() if status == "searchable"} == {
            f"good/{i}" for i in range(HONEST)
        }
    assert {worker: cluster.pid(worker) for worker in pids} == pids
    assert groknet("show", "--home", cluster.home, *(f"good/{i}" for i in range(HONEST))).code == Exit.OK


@pytest.fixture
def broken(tmp_path: Path, bundle: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    """A cluster whose tagger cannot decode."""
    monkeypatch.setenv("PYTHONPATH", str(PLANTED))
    monkeypatch.setenv("GROKNET__TAGGER__DEAD_LETTER_WINDOW", "20")
    running = start_all(tmp_path / "home", bundle)
    try:
        running.wait_for("all workers are ready")
        yield running
    finally:
        running.stop()


def test_a_broken_decoder_stops_the_tagger_and_nothing_else(groknet: Call, broken: Cluster, tmp_path: Path) -> None:
    lines = [
        listing(f"good/{i}", {"data": base64.b64encode(write_photo(tmp_path / "p.jpg", i).read_bytes()).decode()})
        for i in range(40)
    ]
    events = tmp_path / "events.ndjson"
    events.write_text("\n".join(lines) + "\n")
    assert groknet("submit", "--home", broken.home, events).code == Exit.OK
    broken.wait_for("tagger ended and is not started again")
    said = broken.said[-1]
    assert "our own test photos fail, too" in said
    assert "groknet dlq list" in said
    answer = groknet("search", "--home", broken.home, "--json", write_photo(tmp_path / "q.jpg", 1))
    assert (answer.code, answer.json) == (Exit.OK, [])
    deadline = time.monotonic() + START_S
    while "tagger" not in (doctor := groknet("doctor", "--home", broken.home)).out:
        assert time.monotonic() < deadline
    assert doctor.code != Exit.OK
