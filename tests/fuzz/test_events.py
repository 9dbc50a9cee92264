"""The decoder of events under a short run of its fuzzer, and under every input that once broke something."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings

from tests.fuzz.events import SEEDS, check, inputs


@settings(derandomize=True, max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(inputs())
def test_a_short_run_finds_nothing(value: bytes) -> None:
    check(value)


@pytest.mark.parametrize("name", sorted(path.name for path in SEEDS.iterdir()))
def test_an_input_that_was_kept(name: str) -> None:
    check((SEEDS / name).read_bytes())


def test_a_planted_fault_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("schemas.event_dialects._MAY_BE_NULL", None)
    with pytest.raises(TypeError):
        check(b'{"event_id": null, "x": null}')
