"""The follower reads what a shop sends, skips what is wrong, and starts anew like the topic does."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest

from schemas.topics import TOGETHER
from tests.workers.indexer.hash_topic import replaced, stream_at
from tests.workers.indexer.running import counted, until
from tests.workers.test_catching_up import Clock
from tests.workers.together.topic import cart, now_us, send
from workers.catching_up import CatchingUp
from workers.streams import Stream
from workers.together.counts import Pair
from workers.together.follower import Follower


@contextmanager
def following(of: Stream | Follower, most: int = 100) -> Iterator[Follower]:
    follower = of if isinstance(of, Follower) else Follower(of, most, poll_interval_s=0.01)
    follower.start()
    try:
        yield follower
    finally:
        follower.close()


def test_a_new_stream_is_read_at_once_and_what_is_sent_is_counted(tmp_path: Path) -> None:
    stream = stream_at(tmp_path)
    with following(stream) as follower:
        until(lambda: not follower.waiting_for)
        assert (len(follower.counts), follower.stale) == (0, False)
        send(stream, cart("a", "x", "y"), cart("b", "x", "z"))
        until(lambda: len(follower.counts) == 2)
        assert follower.counts.pairs(["x"]) == [Pair("y", 1, 1), Pair("z", 1, 1)]


def test_a_restart_reads_the_same_counts_and_a_tombstone_withdraws(tmp_path: Path) -> None:
    stream = stream_at(tmp_path)
    again = cart("a", "x", "y")
    send(stream, again, again, cart("b", "x", "z"), cart("c", "x", "y"), ("b", None), ("never", None))
    for _ in range(2):
        with following(stream) as follower:
            until(lambda follower=follower: not follower.waiting_for)
            assert follower.counts.pairs(["x"]) == [Pair("y", 2, 2)]


def test_a_bad_message_is_counted_and_the_next_one_is_taken(tmp_path: Path) -> None:
    stream = stream_at(tmp_path)
    before = {
        error: counted("groknet_occasions_refused_total", error=error) for error in ("invalid_occasion", "key_mismatch")
    }
    good = msgspec.json.encode(cart("a", "x", "y"))
    send(stream, ("k", b"{"), ("k", b"\xff\x00"), ("other", good), cart("z", "x", "y"))
    with following(stream) as follower:
        until(lambda: not follower.waiting_for)
        assert follower.counts.pairs(["x"]) == [Pair("y", 1, 1)]
    assert counted("groknet_occasions_refused_total", error="invalid_occasion") == before["invalid_occasion"] + 2
    assert counted("groknet_occasions_refused_total", error="key_mismatch") == before["key_mismatch"] + 1


def test_what_is_older_than_the_window_does_not_count(tmp_path: Path) -> None:
    stream = stream_at(tmp_path)
    day_s = 24 * 3600
    send(stream, cart("old", "x", "y", age_s=91 * day_s), cart("new", "x", "z", age_s=89 * day_s))
    with following(stream) as follower:
        until(lambda: not follower.waiting_for)
        assert follower.counts.pairs(["x"]) == [Pair("z", 1, 1)]
        follower.counts.expire(now_us())
        assert len(follower.counts) == 0


def test_while_the_stream_cannot_be_opened_it_says_so_and_goes_on_by_itself(tmp_path: Path) -> None:
    """A folder where the file of the stream should be: it cannot be opened until the folder is gone."""
    (tmp_path / "stream.db").mkdir()
    clock, follower = Clock(), Follower(stream_at(tmp_path), 100, poll_interval_s=0.01)
    follower.progress = CatchingUp("occasions", clock)
    with following(follower):
        until(lambda: "stream.db" in follower.waiting_for)
        assert follower.stale
        assert follower.progress.why_behind == ""
        clock.now += 31
        until(lambda: "stream.db" in follower.progress.why_behind)
        (tmp_path / "stream.db").rmdir()
        until(lambda: not follower.waiting_for)
        assert not follower.stale
        assert follower.progress.behind_s == 0


def test_a_topic_that_was_replaced_by_a_shorter_one_is_counted_anew(tmp_path: Path) -> None:
    stream = stream_at(tmp_path)
    send(stream, cart("a", "x", "y"), cart("b", "x", "y"), cart("c", "x", "z"))
    with following(Follower(stream, 100, poll_interval_s=0.01)) as follower:
        until(lambda: len(follower.counts) == 3)
        replaced(tmp_path, TOGETHER, lambda: send(stream, cart("d", "x", "w")))
        until(lambda: follower.counts.pairs(["x"]) == [Pair("w", 1, 1)])
        assert len(follower.counts) == 1


@pytest.mark.parametrize("most", [1, 3])
def test_only_the_newest_are_held(tmp_path: Path, most: int) -> None:
    stream = stream_at(tmp_path)
    send(stream, *(cart(f"o{i}", "x", f"y{i}", age_s=i) for i in range(5)))
    with following(stream, most) as follower:
        until(lambda: not follower.waiting_for)
        assert [pair.listing_id for pair in follower.counts.pairs(["x"])] == [f"y{i}" for i in range(most)]
