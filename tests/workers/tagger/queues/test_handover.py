"""Items handed over several at a time: none lost, none twice, a share for each taker."""

from __future__ import annotations

import threading

import pytest

from workers.tagger.queues.handover import Handover


def test_a_taker_gets_its_share_of_what_waits_and_never_more_than_the_bound() -> None:
    handover: Handover[int] = Handover(most=4, shares=3)
    handover.put(range(20))
    taken = []
    while len(handover):
        taken.append(handover.take())
    assert [item for some in taken for item in some] == list(range(20))
    assert [len(some) for some in taken] == [4, 4, 4, 3, 2, 1, 1, 1]


def test_after_the_end_what_is_left_is_handed_out_then_nothing_for_ever() -> None:
    handover: Handover[int] = Handover(most=8)
    handover.put([1, 2])
    handover.put([])
    handover.end()
    assert handover.take() == [1, 2]
    assert handover.take() == handover.take() == []


def test_a_taker_waits_for_company_until_there_is_enough_of_it() -> None:
    handover: Handover[int] = Handover(most=4, wait_s=60)
    taken: list[list[int]] = []
    taker = threading.Thread(target=lambda: [taken.append(handover.take()) for _ in range(2)])
    taker.start()
    for item in range(5):
        handover.put([item])
    while len(taken) < 1:
        taker.join(0.01)
    assert taken == [[0, 1, 2, 3]]
    handover.end()  # nobody else will come
    taker.join()
    assert taken == [[0, 1, 2, 3], [4]]


def test_a_taker_waits_for_company_no_longer_than_it_may() -> None:
    handover: Handover[int] = Handover(most=4, wait_s=0.01)
    handover.put([1])
    assert handover.take() == [1]


@pytest.mark.parametrize("wait_s", [0.0, 0.002])
def test_many_threads_lose_nothing(wait_s: float) -> None:
    handover: Handover[tuple[int, int]] = Handover(most=5, shares=3, wait_s=wait_s)
    got: list[list[tuple[int, int]]] = [[], [], []]

    def take(mine: list[tuple[int, int]]) -> None:
        while some := handover.take():
            mine.extend(some)

    takers = [threading.Thread(target=take, args=(mine,)) for mine in got]
    givers = [
        threading.Thread(target=lambda g=g: [handover.put([(g, i), (g, i + 1)]) for i in range(0, 400, 2)])
        for g in range(4)
    ]
    for thread in [*takers, *givers]:
        thread.start()
    for thread in givers:
        thread.join()
    handover.end()
    for thread in takers:
        thread.join()
    assert sorted(item for mine in got for item in mine) == [(g, i) for g in range(4) for i in range(400)]
