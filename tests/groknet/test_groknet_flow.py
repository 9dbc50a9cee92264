"""The command line against running workers: one home, one cluster, a tiny network."""

from __future__ import annotations

import base64
import json
import os
from pathlib import Path

import pytest
import urllib3

from groknet.cli.exits import Exit
from tests.groknet.conftest import Call, Cluster, write_photo
from tests.workers.indexer.running import until

pytestmark = pytest.mark.slow

SECONDS = ("stored_s", "searchable_s")


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    for seed in range(12):
        write_photo(folder / f"shop/{seed}.jpg", seed)
    return folder


def test_photos_become_searchable_and_the_same_photos_change_nothing(
    groknet: Call, cluster: Cluster, photos: Path
) -> None:
    ids = {f"shop/{seed}" for seed in range(12)}
    shown = []
    for _ in range(2):
        answer = groknet("submit", "--home", cluster.home, "--wait", "--json", photos)
        assert answer.code == Exit.OK
        assert {line["listing_id"]: line["status"] for line in answer.lines} == dict.fromkeys(ids, "searchable")
        assert all(0 <= line["stored_s"] <= line["searchable_s"] for line in answer.lines)
        shown.append(groknet("show", "--home", cluster.home, "--json", *sorted(ids)).lines)
    assert shown[0] == shown[1]
    entry = shown[0][0]
    assert entry["status"] == "complete"
    assert entry["event"]["images"] == [{"image_id": "1", "data": None}]
    assert set(entry["predictions"]) == {"colour", "words"}
    assert len(entry["images"][0]["hash"]) == 64


def test_a_photo_finds_itself_first(groknet: Call, cluster: Cluster, photos: Path) -> None:
    groknet("submit", "--home", cluster.home, "--wait", photos)
    for seed in (0, 7):
        answer = groknet("search", "--home", cluster.home, "--json", "-k", 3, photos / f"shop/{seed}.jpg")
        assert answer.code == Exit.OK
        assert len(answer.json) == 3
        assert set(answer.json[0]) == {"listing_id", "image_id", "distance", "likeness"}
        assert answer.json[0]["distance"] == 0
        nearest = {n["listing_id"] for n in answer.json if n["distance"] == 0}
        assert f"shop/{seed}" in nearest
    assert "shop/7" in groknet("search", "--home", cluster.home, photos / "shop/7.jpg").out


def test_what_is_no_photo_is_refused_by_search(groknet: Call, cluster: Cluster, tmp_path: Path) -> None:
    page = tmp_path / "page.jpg"
    page.write_text("<html>")
    answer = groknet("search", "--home", cluster.home, page)
    assert answer.code == Exit.USAGE
    assert "search service answered 4" in answer.err


def test_good_bad_and_mixed_listings_among_each_other(groknet: Call, cluster: Cluster, tmp_path: Path) -> None:
    good = write_photo(tmp_path / "good.jpg", 50)
    bad = tmp_path / "bad.jpg"
    bad.write_bytes(b"no photo at all")
    mixed = {
        "event_id": "m",
        "listing_id": "mixed",
        "event_time": 1_700_000_000_000_000,
        "type": "created",
        "images": [
            {"image_id": "a", "data": "bm8gcGhvdG8="},
            {"image_id": "b", "url": good.as_uri()},
            {"image_id": "c", "data": base64.b64encode(good.read_bytes()).decode()},
        ],
    }
    events = tmp_path / "events.ndjson"
    events.write_text(json.dumps(mixed) + '\n{"listing_id": "broken"}\n')
    answer = groknet("submit", "--home", cluster.home, "--wait", "--json", good, bad, events)
    assert answer.code == Exit.OK
    statuses = {line["listing_id"]: line["status"] for line in answer.lines}
    assert statuses == {"good": "searchable", "bad": "dead", "mixed": "partial", "broken": "dead"}
    letters = groknet("dlq", "list", "--home", cluster.home, "--json").lines
    found = {(one["listing_id"], one["image_id"]): (one["stage"], one["error"]) for one in letters}
    assert found["bad", "1"] == ("decode", "not_an_image")
    assert found["mixed", "a"] == ("decode", "not_an_image")
    assert found["mixed", "b"][0] == "fetch"
    assert found["broken", None] == ("decode", "invalid_field")
    assert all(one["message"] for one in letters)
    assert "not_an_image" in groknet("dlq", "list", "--home", cluster.home).out
    broken = next(one["id"] for one in letters if one["listing_id"] == "broken")
    shown = groknet("dlq", "show", "--home", cluster.home, "--json", broken).json
    assert shown["value"] == '{"listing_id": "broken"}'


def test_dead_letters_are_sent_again_once(groknet: Call, cluster: Cluster, tmp_path: Path) -> None:
    bad = tmp_path / "again.jpg"
    bad.write_bytes(b"no photo at all")
    (tmp_path / "e.ndjson").write_text('{"listing_id": "hopeless"}\n')
    groknet("submit", "--home", cluster.home, "--wait", bad, tmp_path / "e.ndjson")

    def letters(name: str) -> list[dict[str, object]]:
        found = groknet("dlq", "list", "--home", cluster.home, "--json").lines
        return [one for one in found if one["listing_id"] == name]

    def replay(*options: object) -> tuple[int, dict[str, str]]:
        answer = groknet("dlq", "replay", "--home", cluster.home, "--json", *options)
        return answer.code, {one["listing_id"]: one["action"] for one in answer.lines}

    assert len(letters("hopeless")) == 1  # an outcome is told once its dead letters can be read
    assert replay("--dry-run", "--policy", "stop")[0] == Exit.FAILED
    code, actions = replay("--dry-run", "--policy", "drop")
    assert (code, actions["again"], actions["hopeless"]) == (Exit.OK, "sent", "dropped")
    assert not any(one["replayed"] for one in letters("again"))
    assert replay("--policy", "drop")[1] == actions
    while len(letters("again")) < 2:
        pass
    first, second = letters("again")
    assert (first["attempt"], first["replayed"]) == (1, True)
    assert (second["attempt"], second["replayed"]) == (2, False)
    assert [one["replayed"] for one in letters("hopeless")] == [True]
    code, actions = replay("--max", 1, "--policy", "drop")
    assert (code, len(actions)) == (Exit.OK, 1)


def test_a_removed_listing_disappears_and_older_photos_do_not_bring_it_back(
    groknet: Call, cluster: Cluster, tmp_path: Path
) -> None:
    photo = write_photo(tmp_path / "gone.jpg", 99)
    groknet("submit", "--home", cluster.home, "--wait", photo)
    answer = groknet("remove", "--home", cluster.home, "--wait", "--json", "gone")
    assert answer.code == Exit.OK
    assert answer.lines[0]["status"] == "removed"
    shown = groknet("show", "--home", cluster.home, "--json", "gone")
    assert shown.code == Exit.NOT_FOUND
    assert shown.json["status"] == "removed"
    found = groknet("search", "--home", cluster.home, "--json", "-k", 100, photo).json
    assert "gone" not in {one["listing_id"] for one in found}
    again = groknet("submit", "--home", cluster.home, "--wait", "--json", photo)
    assert (again.code, again.lines[0]["status"]) == (Exit.OK, "superseded")
    os.utime(photo)
    newer = groknet("submit", "--home", cluster.home, "--wait", "--json", photo)
    assert newer.lines[0]["status"] == "searchable"


def test_the_doctor_finds_the_workers_ready(groknet: Call, cluster: Cluster, bundle: Path) -> None:
    lines = groknet("doctor", "--home", cluster.home, "--bundle", bundle, "--json").lines
    states = {line["check"]: line["state"] for line in lines}
    assert states["tagger"] == states["indexer"] == states["search"] == "ok"


def test_showing_what_is_not_there(groknet: Call, cluster: Cluster, photos: Path) -> None:
    groknet("submit", "--home", cluster.home, "--wait", photos)
    answer = groknet("show", "--home", cluster.home, "--json", "shop/1", "nothing/1")
    assert answer.code == Exit.NOT_FOUND
    assert [line["listing_id"] for line in answer.lines] == ["shop/1"]
    assert "nothing/1 is not stored" in answer.err
    assert "complete" in groknet("show", "--home", cluster.home, "shop/1").out


def test_events_as_sellers_send_them(groknet: Call, cluster: Cluster, tmp_path: Path) -> None:
    """Times in text, data: URLs, one id with a dash in front; a withdrawn listing, and one with too many photos."""
    data = base64.b64encode(write_photo(tmp_path / "p.jpg", 77).read_bytes()).decode()
    url = f"data:image/jpeg;base64,{data}"

    def line(listing: str, second: int, count: int, **more: object) -> str:
        images = [{"image_id": str(n), "url": url} for n in range(count)]
        head = {"event_id": f"{listing}{second}", "listing_id": listing, "type": "created", "images": images}
        return json.dumps({**head, "event_time": f"2025-01-01T00:00:{second:02}Z", **more})

    def statuses(*lines: str) -> dict[str, str]:
        (tmp_path / "events.json").write_text(f"[{', '.join(lines)}]")
        answer = groknet("submit", "--home", cluster.home, "--wait", "--json", tmp_path / "events.json")
        assert answer.code == Exit.OK
        return {one["listing_id"]: one["status"] for one in answer.lines}

    price = {"amount": "12.50", "currency": "EUR"}
    first = statuses(line("-sold", 0, 2, seller_id="s/1", price=price), line("many/similar", 0, 22), line("bare", 0, 0))
    assert first == {"-sold": "searchable", "many/similar": "partial", "bare": "empty"}
    shown = groknet("show", "--home", cluster.home, "--json", "-sold").json
    assert (shown["event"]["seller_id"], shown["event"]["price"]) == ("s/1", price)
    shown = groknet("show", "--home", cluster.home, "--json", "many/similar").json
    assert (shown["status"], len(shown["images"])) == ("partial", 20)
    assert [(bad["image_id"], bad["error"]) for bad in shown["bad_images"]] == [
        (str(n), "too_many_images") for n in (20, 21)
    ]
    letters = [
        one for one in groknet("dlq", "list", "--home", cluster.home, "--json").lines if one["listing_id"] in first
    ]
    assert [(one["listing_id"], one["error"]) for one in letters] == [("many/similar", "too_many_images")]
    assert statuses(line("-sold", 0, 0, type="updated")) == {"-sold": "empty"}  # in the second of its creation
    shown = groknet("show", "--home", cluster.home, "--json", "-sold").json
    assert (shown["status"], shown["images"], shown["bad_images"]) == ("empty", [], [])
    assert "no photos" in groknet("show", "--home", cluster.home, "-sold").out
    assert "is stored without photos" in groknet("where", "--home", cluster.home, "-sold").out
    found = groknet("search", "--home", cluster.home, "--json", "-k", 50, tmp_path / "p.jpg").json
    assert "many/similar" in {one["listing_id"] for one in found}
    assert "-sold" not in {one["listing_id"] for one in found}


def test_typed_words_find_what_photos_show_and_nothing_that_is_removed(
    groknet: Call, cluster: Cluster, photos: Path
) -> None:
    groknet("submit", "--home", cluster.home, "--wait", photos)
    ids = [f"shop/{seed}" for seed in range(12)]
    shown = groknet("show", "--home", cluster.home, "--json", *ids).lines
    chances = {
        one["listing_id"]: next((p["probability"] for p in one["predictions"]["colour"] if p["label"] == "red"), 0.0)
        for one in shown
    }
    expected = {name: chance for name, chance in chances.items() if chance >= 0.02}
    assert expected

    def found() -> dict[str, float]:
        address = json.loads((cluster.home / "run" / "search.json").read_text())
        url = f"http://{address['host']}:{address['port']}/v1/search?k=100&titles=false"
        answer = urllib3.request("POST", url, json={"q": "Reds"}, retries=False)
        assert answer.status == 200, answer.data
        return {one["listing_id"]: one["relevance"] for one in answer.json()["listings"]}

    until(lambda: expected.items() <= found().items())
    removed = max(expected, key=lambda name: expected[name])
    assert groknet("remove", "--home", cluster.home, "--wait", removed).code == Exit.OK
    assert removed not in found()
