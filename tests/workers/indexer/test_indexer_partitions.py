"""An index held by several indexers, each with partitions of its own, equals one that holds all; filters and radius."""

from __future__ import annotations

import random
from contextlib import ExitStack

import msgspec
import pytest

from schemas.errors import ConfigError
from tests.workers.indexer.hash_topic import EPOCH, Naive, Publisher, message, random_hash, stream_at
from tests.workers.indexer.running import Running, running, until
from workers.indexer import IndexerSettings
from workers.indexer.wire import Neighbour, NeighboursRequest
from workers.search.find.indexers import Indexers

ZERO = "0" * 64


def _ask(indexers: Indexers, code: str, k: int) -> list[dict[str, object]]:
    found: list[Neighbour] = indexers.neighbours(NeighboursRequest(hashes=[code], k=k, epoch=EPOCH))
    return [msgspec.json.decode(msgspec.json.encode(one)) for one in found]  # without a box, as on the wire


def _both(urls: list[str]) -> Indexers:
    return Indexers(urls, 10, callers=2, epoch=EPOCH)


def test_two_halves_answer_like_the_whole_and_a_gap_is_named(tmp_path):
    rng, naive = random.Random(3), Naive()
    stream = stream_at(tmp_path)
    with Publisher(stream) as publisher, ExitStack() as stack:
        for step in range(300):
            held = message(
                f"shop/{rng.randrange(80)}", step, {f"p{i}": random_hash(rng) for i in range(rng.randrange(3))}
            )
            publisher.put(held)
            naive.put(held)
        publisher.flush()
        low = stack.enter_context(running(stream, tmp_path / "low", partitions="0-2, 5"))
        high = stack.enter_context(running(stream, tmp_path / "high", partitions="3,4,6-7"))
        assert low.get("/v1/index")[1]["partitions"] == [0, 1, 2, 5]
        parts = [one.get("/v1/index")[1]["vectors"] for one in (low, high)]
        assert sum(parts) == len(naive.photos())
        assert min(parts) > 0
        both = _both([low.server.url, high.server.url])
        stack.callback(both.close)
        assert both.state().waiting_for == ""
        for code in [ZERO, *(random_hash(rng) for _ in range(10))]:
            assert _ask(both, code, 15) == naive.nearest(code, 15)
        newer = message("shop/1", 400, {"new": ZERO})
        publisher.put(newer)
        naive.put(newer)
        publisher.remove("shop/2", 401)
        naive.remove("shop/2", 401)
        publisher.flush()
        until(lambda: _ask(both, ZERO, 500) == naive.nearest(ZERO, 500))
        half = _both([high.server.url])
        stack.callback(half.close)
        assert "partition 0, 1, 2, 5" in half.state().waiting_for


def test_partitions_that_move_are_read_anew_and_those_that_come_are_read_on(tmp_path):
    rng, naive = random.Random(4), Naive()
    stream = stream_at(tmp_path)
    with Publisher(stream) as publisher:
        for step in range(100):
            held = message(f"shop/{step}", step, {"p": random_hash(rng)})
            publisher.put(held)
            naive.put(held)
        publisher.flush()
    home = tmp_path / "home"
    with running(stream, home, partitions="0-3") as first:
        some = first.get("/v1/index")[1]["vectors"]
    with running(stream, home) as all_of_them:
        assert all_of_them.ask(hashes=[ZERO], k=200)[1]["neighbours"][0] == naive.nearest(ZERO, 200)
    with running(stream, home, partitions="0-3") as again:
        assert again.get("/v1/index")[1]["vectors"] == some < 100


def test_a_partition_that_the_topic_lacks_and_a_range_that_cannot_be_read_are_refused(tmp_path):
    for text in ("3-1", "a", "1-", "1,,2", "-1"):
        with pytest.raises(ValueError, match="partitions"):
            IndexerSettings(partitions=text)
    assert IndexerSettings(partitions=" ").owned() is None
    stream = stream_at(tmp_path)
    indexer = Running(stream, tmp_path, partitions="7-8")
    try:
        with pytest.raises(ConfigError, match=r"indexer\.partitions.*none of them 8"):
            indexer.run()
    finally:
        indexer.stop()


def test_category_state_and_radius_over_http(tmp_path):
    stream = stream_at(tmp_path)
    codes = {"a": 0, "b": 1, "c": 3, "d": 7}
    with Publisher(stream) as publisher, running(stream, tmp_path) as indexer:
        for i, (name, code) in enumerate(codes.items()):
            category, state = ("mug", "cup", "mug", None)[i], ("active", "active", "sold", "active")[i]
            publisher.put(message(name, 1, {"p": f"{code:064x}"}, category=category, state=state))
        publisher.flush()
        until(lambda: indexer.get("/v1/index")[1]["listings"] == 4)

        def found(**query: object) -> list[str]:
            status, answer = indexer.ask(hashes=[ZERO], **query)
            assert status == 200
            return [n["listing_id"] for n in answer["neighbours"][0]]

        assert found() == ["a", "b", "c", "d"]
        assert found(categories=["mug"]) == ["a", "c"]
        assert found(categories=["mug", "cup"], states=["active"]) == ["a", "b"]
        assert found(states=["sold", "gone"]) == ["c"]
        assert found(radius=1) == ["a", "b"]
        assert found(radius=2, states=["sold"]) == ["c"]
        publisher.put(message("a", 2, {"p": ZERO}, category="mug", state="sold"))
        publisher.flush()
        until(lambda: found(states=["sold"]) == ["a", "c"])
        assert indexer.ask(hashes=[ZERO], radius=257)[0] == 422
        assert indexer.ask(hashes=[ZERO], categories=[])[0] == 422
