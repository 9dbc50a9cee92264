"""A short, deterministic run of the decoder's fuzzer, and a check that the fuzzer finds a planted fault."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings

from tests.fuzz.decoder import Case, cases, changed, check, fuzz, seeds


@settings(max_examples=300, derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck))
@given(cases())
def test_changed_photos_are_taken_or_refused_with_a_reason(case: Case) -> None:
    check(changed(case))


def test_every_seed_has_the_outcome_that_it_should() -> None:
    outcomes = {name: check(data) for name, data in seeds().items()}
    others = {"png animated": "animated", "webp animated": "animated", "gif": "format_not_allowed"}
    assert outcomes == dict.fromkeys(outcomes, "taken") | others


@pytest.mark.parametrize("name", sorted(seeds()))
def test_every_beginning_of_a_file_is_taken_or_refused(name: str) -> None:
    data = seeds()[name]
    for length in range(0, len(data), max(1, len(data) // 60)):
        check(data[:length])


def test_a_planted_fault_is_found() -> None:
    """A decoder that lets any other error out, here for one error code, fails the fuzzer at once."""

    def faulty(data: bytes) -> str:
        outcome = check(data)
        if outcome == "corrupt":
            raise ZeroDivisionError("planted")
        return outcome

    with pytest.raises(ZeroDivisionError, match="planted"):
        fuzz(60.0, faulty)
