"""The headers of a dead letter: they come back as they went, among other headers."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.dead_letters import DeadLetter, parse_dead_letter
from schemas.envelope import cloud_event_headers
from tests.schemas.wire import ids, texts

counts = st.integers(0, 2**62)


dead_letters = st.builds(
    DeadLetter,
    **dict.fromkeys(("topic", "group", "stage", "error", "message", "model_version", "worker_version"), texts),
    **dict.fromkeys(("partition", "offset", "timestamp_ms", "attempt", "first_failed_at_ms", "failed_at_ms"), counts),
    listing_id=st.none() | ids | st.sampled_from(["null", "None", "1"]),
    image_id=st.none() | ids | st.sampled_from(["null", "true"]),
)


@given(dead_letters)
def test_dead_letters_round_trip_among_other_headers(letter: DeadLetter) -> None:
    others = cloud_event_headers(type_="t", source="s", key="k")
    assert parse_dead_letter((*others, *letter.headers())) == letter


def test_a_dead_letter_that_lacks_a_header_is_refused() -> None:
    with pytest.raises(msgspec.ValidationError):
        parse_dead_letter((("groknet.dlq.topic", b"listings.uploaded"),))
