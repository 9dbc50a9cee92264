"""A batch closes by size or by wait, keeps order, loses nothing, and says why."""

from __future__ import annotations

import threading

from workers.tagger.queues.batcher import Batcher


def test_closes_by_size_and_keeps_order() -> None:
    batcher: Batcher[int] = Batcher(size=3, wait_s=60, capacity=10)
    for i in range(6):
        batcher.put(i)
    assert batcher.take() == ([0, 1, 2], "size")
    assert batcher.take() == ([3, 4, 5], "size")


def test_closes_by_wait_when_no_company_comes() -> None:
    batcher: Batcher[int] = Batcher(size=3, wait_s=0.01, capacity=10)
    batcher.put(1)
    assert batcher.take() == ([1], "wait")


def test_size_one_never_waits() -> None:
    batcher: Batcher[int] = Batcher(size=1, wait_s=60, capacity=4)
    batcher.put(1)
    assert batcher.take() == ([1], "size")


def test_without_wait_it_takes_what_is_there() -> None:
    batcher: Batcher[int] = Batcher(size=8, wait_s=0, capacity=10)
    for i in range(5):
        batcher.put(i)
    assert batcher.take() == ([0, 1, 2, 3, 4], "wait")


def test_the_end_hands_out_what_is_left_then_nothing_for_ever() -> None:
    batcher: Batcher[int] = Batcher(size=8, wait_s=60, capacity=10)
    batcher.put(1)
    batcher.end()
    assert batcher.take() == ([1], "end")
    assert batcher.take() == ([], "end")
    assert batcher.take() == ([], "end")


def test_many_writers_lose_nothing_and_each_keeps_its_order() -> None:
    batcher: Batcher[tuple[int, int]] = Batcher(size=7, wait_s=0.005, capacity=5)
    writers = [threading.Thread(target=lambda w=w: [batcher.put((w, i)) for i in range(200)]) for w in range(4)]
    for writer in writers:
        writer.start()
    ender = threading.Thread(target=lambda: [[w.join() for w in writers], batcher.end()])
    ender.start()
    got: list[tuple[int, int]] = []
    while (taken := batcher.take())[0]:
        assert len(taken[0]) <= 7
        got.extend(taken[0])
    ender.join()
    assert len(got) == 800
    for w in range(4):
        assert [i for writer, i in got if writer == w] == list(range(200))
