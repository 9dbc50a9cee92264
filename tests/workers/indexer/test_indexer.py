from __future__ import annotations

import random
import time

import msgspec
import pytest

from schemas.errors import ConfigError
from tests.workers.indexer.hash_topic import BASE_US, EPOCH, TOPIC, Naive, Publisher, message, random_hash, stream_at
from tests.workers.indexer.running import HTTP, Running, counted, running, until
from workers.streams import TopicSpec


def level(indexer: Running, naive: Naive) -> bool:
    photos = len(naive.photos())
    query = "0" * 64
    return indexer.ask(hashes=[query], k=2000)[1]["neighbours"] == [naive.nearest(query, photos)]


def test_answers_equal_brute_force_through_updates_removals_and_late_events(tmp_path):
    rng = random.Random(1)
    stream, naive = stream_at(tmp_path), Naive()
    with Publisher(stream) as publisher, running(stream, tmp_path) as indexer:
        for step in range(400):
            listing = f"shop/{rng.randrange(60)}"
            at = max(0, step - rng.choice([0, 0, 0, 30]))  # one in four comes late
            if rng.random() < 0.2:
                publisher.remove(listing, at)
                naive.remove(listing, at)
                continue
            held = message(listing, at, {f"p/{i}": random_hash(rng) for i in range(rng.randrange(4))})
            publisher.put(held)
            naive.put(held)
        publisher.flush()
        until(lambda: level(indexer, naive))
        queries = [random_hash(rng) for _ in range(20)]
        status, answer = indexer.ask(hashes=queries, k=7)
        assert status == 200
        assert answer == {"epoch": EPOCH, "neighbours": [naive.nearest(query, 7) for query in queries]}
        for listing in {f"shop/{i}" for i in range(60)}:
            held = naive.listings.get(listing, (0, {}))
            status, answer = indexer.get("/v1/listings/" + listing.replace("/", "%2F"))
            assert status == (200 if held[1] else 404)
            if held[1]:
                assert answer["event_time"] == held[0]
                assert {i["image_id"]: i["hash"] for i in answer["images"]} == held[1]
        assert counted("groknet_index_vectors") == len(naive.photos())


def test_an_empty_message_and_a_tombstone_leave_nothing_and_an_older_message_changes_nothing(tmp_path):
    stream = stream_at(tmp_path)
    with Publisher(stream) as publisher, running(stream, tmp_path) as indexer:
        for listing in ("emptied", "removed", "kept"):
            publisher.put(message(listing, 10, {"a": "0" * 64}))
        publisher.put(message("emptied", 20, {}))
        publisher.remove("removed", 20)
        publisher.put(message("removed", 20, {"a": "0" * 64}))  # at one time, a removal wins
        publisher.put(message("removed", 15, {"a": "0" * 64}))
        publisher.put(message("kept", 5, {"old": "f" * 64}))
        publisher.remove("kept", 9)
        publisher.put(message("last", 30, {"a": "f" * 64}))
        publisher.flush()
        until(lambda: indexer.get("/v1/listings/last")[0] == 200)
        until(lambda: indexer.get("/v1/listings/emptied")[0] == 404)
        until(lambda: indexer.get("/v1/listings/removed")[0] == 404)
        # what was removed is told from what has not come yet
        assert indexer.get("/v1/listings/removed")[1]["removed_at"] == BASE_US + 20
        assert "removed_at" not in indexer.get("/v1/listings/unknown")[1]
        found = indexer.ask(hashes=["0" * 64])[1]["neighbours"][0]
        assert [(n["listing_id"], n["image_id"], n["distance"]) for n in found] == [
            ("kept", "a", 0),
            ("last", "a", 256),
        ]
        recent = [entry["listing_id"] for entry in indexer.get("/v1/recent?n=10")[1]["recent"]]
        assert sorted(recent) == ["kept", "last"]


def test_what_cannot_be_used_is_counted_and_passed_over(tmp_path):
    stream = stream_at(tmp_path)
    errors = ("epoch", "key_mismatch", "too_many_hashes", "invalid_hash_message", "no_event_time", "invalid_key")
    before = {error: counted("groknet_index_refused_total", error=error) for error in errors}
    with Publisher(stream) as publisher, running(stream, tmp_path) as indexer:
        publisher.put(message("other", 1, {"a": "0" * 64}, epoch="ffffffffffff"))
        publisher.raw("one", b'{"listing_id": "two", "event_time": 5', BASE_US)
        wrong = message("two", 1, {"a": "0" * 64})
        publisher.raw("one", msgspec.json.encode(wrong), BASE_US)
        publisher.put(message("many", 1, {f"p{i}": "0" * 64 for i in range(1281)}))
        publisher.raw("no-header", None, None)
        publisher.raw("not an id", None, BASE_US)
        publisher.put(message("good", 1, {"a": "0" * 64}))
        publisher.flush()
        until(lambda: indexer.get("/v1/listings/good")[0] == 200)
        until(lambda: all(counted("groknet_index_refused_total", error=e) == before[e] + 1 for e in errors))
        assert len(indexer.ask(hashes=["0" * 64])[1]["neighbours"][0]) == 1


def test_requests_are_bounded_and_refusals_name_the_field(tmp_path):
    stream = stream_at(tmp_path)
    indexer = Running(stream, tmp_path, max_k=50, max_query_hashes=3)
    try:
        status, answer = indexer.ask(hashes=["0" * 64])
        assert (status, answer["type"]) == (503, "urn:groknet:problem:index-not-ready")
        assert indexer.get("/readyz")[1]["waiting_for"] == "the index to be read"
        indexer.start()
        for query, status, word in [
            ({"hashes": ["0" * 63]}, 422, "hashes"),
            ({"hashes": ["G" * 64]}, 422, "hashes"),
            ({"hashes": []}, 422, "hashes"),
            ({"hashes": ["0" * 64] * 4}, 422, "hashes"),
            ({"hashes": ["0" * 64], "k": 51}, 422, "k"),
            ({"hashes": ["0" * 64], "k": 0}, 422, "k"),
            ({"hashes": ["0" * 64], "epoch": "abc"}, 422, "epoch"),
            ({"hashes": ["0" * 64], "epoch": "ffffffffffff"}, 409, "epoch"),
            ({"hashes": ["0" * 64] * 2000}, 413, "body"),
        ]:
            got, answer = indexer.ask(**query)
            assert got == status, query
            assert word in answer["detail"]
            assert answer["status"] == status
        answer = HTTP.request("POST", indexer.server.url + "/v1/neighbours", body=b"{")
        assert answer.status == 400
        assert answer.headers["content-type"] == "application/problem+json"
        assert indexer.get("/v1/recent?n=0")[0] == 422
        assert indexer.get("/nowhere")[1]["type"] == "urn:groknet:problem:no-such-path"
        assert HTTP.request("GET", indexer.server.url + "/v1/neighbours").status == 405
        assert indexer.ask(hashes=["0" * 64])[1] == {"epoch": EPOCH, "neighbours": [[]]}
    finally:
        indexer.stop()


def test_freshness_is_measured_for_live_records_and_not_for_a_rebuild(tmp_path):
    stream = stream_at(tmp_path)
    name = "groknet_event_age_seconds_count"
    before = counted(name, stage="indexed")
    removals = counted("groknet_removal_seconds_count", stage="index")
    with Publisher(stream) as publisher:
        publisher.put(message("old", 1, {"a": "0" * 64}))
        publisher.flush()
        with running(stream, tmp_path) as indexer:
            assert indexer.get("/v1/listings/old")[0] == 200
            assert counted(name, stage="indexed") == before
            uploaded = time.time_ns() // 1000 - 2_000_000
            publisher.put(message("new", 1, {"a": "0" * 64}), uploaded_us=uploaded)
            publisher.remove("old", 2)
            publisher.flush()
            until(lambda: counted(name, stage="indexed") == before + 2)
            assert counted("groknet_removal_seconds_count", stage="index") == removals + 1
            entry = indexer.get("/v1/recent?n=1")[1]["recent"][0]
            assert (entry["listing_id"], entry["uploaded_at"]) == ("new", uploaded)
            assert entry["indexed_at"] - uploaded >= 2_000_000


def test_a_restart_goes_on_from_the_snapshot_and_a_damaged_one_is_read_anew(tmp_path):
    stream = stream_at(tmp_path)
    with Publisher(stream) as publisher:
        publisher.put(message("one", 1, {"a": "0" * 64}))
        publisher.flush()
        with running(stream, tmp_path):
            pass
        publisher.put(message("two", 1, {"a": "f" * 64}))
        publisher.flush()
    snapshot = tmp_path / "index" / f"{EPOCH}.snapshot"
    assert snapshot.is_file()
    applied = counted("groknet_events_total", stage="index", outcome="applied")
    with running(stream, tmp_path) as indexer:
        assert [indexer.get(f"/v1/listings/{name}")[0] for name in ("one", "two")] == [200, 200]
        assert counted("groknet_events_total", stage="index", outcome="applied") == applied + 1
        assert len(indexer.get("/v1/recent")[1]["recent"]) == 2, "the strip outlives a restart"
    snapshot.write_bytes(snapshot.read_bytes()[:-40])
    with running(stream, tmp_path) as indexer:
        assert [indexer.get(f"/v1/listings/{name}")[0] for name in ("one", "two")] == [200, 200]
    with running(stream, tmp_path, snapshot_max_age_s=0.001) as indexer:
        assert [indexer.get(f"/v1/listings/{name}")[0] for name in ("one", "two")] == [200, 200]
        assert counted("groknet_events_total", stage="index", outcome="applied") == applied + 5


def test_a_topic_that_was_replaced_is_read_anew(tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    second.mkdir()
    home = tmp_path / "home"
    with Publisher(stream_at(first)) as publisher:
        for i in range(200):
            publisher.put(message(f"gone/{i}", 1, {"a": "0" * 64}))
        publisher.flush()
    with running(stream_at(first), home) as indexer:
        assert indexer.get("/v1/listings/gone%2F7")[0] == 200
    with Publisher(stream_at(second)) as publisher:
        publisher.put(message("new", 1, {"a": "0" * 64}))
        publisher.flush()
    with running(stream_at(second), home) as indexer:
        found = indexer.ask(hashes=["0" * 64])[1]["neighbours"][0]
        assert [n["listing_id"] for n in found] == ["new"]
        assert [entry["listing_id"] for entry in indexer.get("/v1/recent")[1]["recent"]] == ["new"]


def test_a_topic_of_another_shape_is_refused(tmp_path):
    stream = stream_at(tmp_path)
    admin = stream.admin()
    admin.ensure_topics([TopicSpec(TOPIC, 3, True)])
    admin.close()
    indexer = Running(stream, tmp_path)
    try:
        with pytest.raises(ConfigError, match="partitions"):
            indexer.run()
    finally:
        indexer.stop()
