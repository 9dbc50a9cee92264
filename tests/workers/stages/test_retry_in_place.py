"""Retries in the calling thread: how often an action is called, how long the pauses are, and which error comes out."""

from __future__ import annotations

import pytest

from schemas.errors import Invalid, Reject, Transient
from workers.stages import retry_in_place
from workers.stages.retry_in_place import call_with_retries, pause_s


class Failing:
    """Raises the given errors, one a call, and then returns how often it was called."""

    def __init__(self, *errors: Exception) -> None:
        self._errors = list(errors)
        self.calls = 0

    def __call__(self) -> int:
        self.calls += 1
        if self._errors:
            raise self._errors.pop(0)
        return self.calls


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses in seconds, noted instead of slept."""
    slept: list[float] = []
    monkeypatch.setattr(retry_in_place.time, "sleep", slept.append)
    return slept


def away() -> Transient:
    return Transient("store", "timeout", "the store does not answer")


def test_pauses_double_up_to_the_longest_and_lose_half_at_most() -> None:
    for tries, most in ((1, 0.1), (2, 0.2), (3, 0.4), (6, 3.2), (7, 5.0), (1_000, 5.0)):
        found = [pause_s(tries) for _ in range(50)]
        assert all(most / 2 <= one <= most for one in found)
        assert len(set(found)) > 1
    assert 15.0 <= pause_s(30, longest_s=30.0) <= 30.0


def test_it_is_called_until_it_succeeds(pauses: list[float]) -> None:
    assert call_with_retries(Failing(away(), Reject("full")), tries=5) == 3
    assert len(pauses) == 2
    assert 0.05 <= pauses[0] <= 0.1 <= pauses[1] <= 0.2


def test_the_last_error_comes_out_after_all_tries(pauses: list[float]) -> None:
    action = Failing(*(away() for _ in range(9)))
    with pytest.raises(Transient, match="does not answer"):
        call_with_retries(action, tries=4)
    assert (action.calls, len(pauses)) == (4, 3)
    with pytest.raises(Transient, match="the buffer is full") as raised:
        call_with_retries(Failing(Reject("the buffer is full")), tries=1)
    assert raised.value.error == "buffer_full"


def test_an_error_that_cannot_pass_is_not_retried(pauses: list[float]) -> None:
    action = Failing(Invalid("store", "too_large", "too large"))
    with pytest.raises(Invalid):
        call_with_retries(action, tries=5)
    assert (action.calls, pauses) == (1, [])
