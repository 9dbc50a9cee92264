"""What is told of a schedule that broke off."""

from __future__ import annotations

import re

from tests.faults.oracle import Verdict
from tests.faults.outcome import Outcome, words


def _refuse() -> None:
    raise OSError("no room")


def test_an_error_is_told_with_its_place() -> None:
    try:
        _refuse()
    except OSError as error:
        said = words(error)
    name = re.escape("test_outcome.py")
    assert re.fullmatch(
        rf"OSError: no room \({name}:\d+ test_an_error_is_told_with_its_place, {name}:\d+ _refuse\)", said
    )
    outcome = Outcome.of(7, Verdict(), ["kill -9 tagger-a"], 1.5, error=said)
    assert not outcome.clean
    assert said in str(outcome)
