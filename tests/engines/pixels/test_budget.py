"""The budget of memory: who waits, who is refused, and in which order."""

from __future__ import annotations

import threading

import pytest

from engines.pixels.budget import MEGABYTE, DecodeBudget
from schemas.errors import ConfigError, Invalid


def wait_until_waiting(budget: DecodeBudget, count: int) -> None:
    with budget._changed:
        while len(budget._waiting) < count:
            budget._changed.wait(0.01)


def test_more_than_everything_is_a_bad_photo_with_the_reason() -> None:
    budget = DecodeBudget(16)
    with budget.hold(16 * MEGABYTE):
        assert budget.held == budget.total
    with (
        pytest.raises(Invalid, match="needs 17 MB, decode_memory_mb allows 16") as caught,
        budget.hold(16 * MEGABYTE + 1),
    ):
        pass
    assert (caught.value.stage, caught.value.error) == ("decode", "over_budget")
    assert budget.held == 0
    with pytest.raises(ConfigError, match="decode_memory_mb"):
        DecodeBudget(15)


def test_a_share_is_given_back_when_the_decode_fails() -> None:
    budget = DecodeBudget(16)
    with pytest.raises(ZeroDivisionError), budget.hold(5):
        raise ZeroDivisionError
    assert budget.held == 0


@pytest.mark.parametrize(
    ("patience_s", "wanted", "expected"),
    [
        (1e6, (16, 1), ["second", "first"]),  # another photo overtakes a large one
        (0.0, (16, 1), ["first", "second"]),  # but not one that has waited long enough
        (1e6, (12, 9), ["first", "second"]),  # large ones take turns
    ],
)
def test_others_go_before_large_photos_and_never_exceed_the_budget(
    monkeypatch: pytest.MonkeyPatch, patience_s: float, wanted: tuple[int, int], expected: list[str]
) -> None:
    monkeypatch.setattr("engines.pixels.budget.PATIENCE_S", patience_s)
    budget, order, most = DecodeBudget(16), [], []

    def decode(name: str, megabytes: int) -> None:
        with budget.hold(megabytes * MEGABYTE):
            order.append(name)
            most.append(budget.held)

    with budget.hold(16 * MEGABYTE):
        first = threading.Thread(target=decode, args=("first", wanted[0]))
        first.start()
        wait_until_waiting(budget, 1)
        second = threading.Thread(target=decode, args=("second", wanted[1]))
        second.start()
        wait_until_waiting(budget, 2)
        assert order == []
    first.join()
    second.join()
    assert order == expected
    assert max(most) <= budget.total


def test_many_threads_keep_to_the_budget() -> None:
    budget, most = DecodeBudget(16), []

    def decode(seed: int) -> None:
        for turn in range(50):
            with budget.hold((1 + (seed * 7 + turn * 5) % 16) * MEGABYTE):
                most.append(budget.held)

    threads = [threading.Thread(target=decode, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(most) == 400
    assert max(most) <= budget.total
    assert budget.held == 0
