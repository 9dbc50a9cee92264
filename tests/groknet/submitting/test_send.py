"""Events are sent unchanged, as fast as the stream takes them."""

from __future__ import annotations

import msgspec

from groknet.submitting.send import Outgoing, Sender, outgoing
from schemas.envelope import Headers
from schemas.errors import Reject
from schemas.events import ListingEvent, encode_event
from workers.streams.base import Delivery


class Busy:
    """A producer whose buffer is full, again and again."""

    def __init__(self) -> None:
        self.offered = 0
        self.taken: list[bytes | None] = []

    def send(self, topic: str, key: bytes | None, value: bytes | None, headers: Headers = ()) -> Delivery:
        self.offered += 1
        if self.offered % 3:
            raise Reject("full")
        self.taken.append(value)
        return self

    def wait(self, timeout_s: float) -> None:
        assert timeout_s > 0

    def flush(self, timeout_s: float) -> None:
        return None

    def close(self) -> None:
        return None


def test_a_full_stream_slows_the_sender_down_and_loses_nothing() -> None:
    busy = Busy()
    sender = Sender(busy)
    event = ListingEvent(event_id="e", listing_id="l", event_time=1_767_225_600_000_001, type="removed")
    for i in range(5):
        sender.send(Outgoing(str(i).encode(), "l", event))
    sender.flush()
    assert busy.taken == [b"0", b"1", b"2", b"3", b"4"]
    assert busy.offered == 15


def test_an_event_of_ours_that_no_tagger_would_take_is_said_before_it_is_sent() -> None:
    fine = ListingEvent(event_id="e", listing_id="l", event_time=1_767_225_600_000_001, type="removed")
    assert outgoing(fine) == Outgoing(encode_event(fine), "l", fine)
    ahead = msgspec.structs.replace(fine, event_time=4_000_000_000_000_001)
    assert (outgoing(ahead).event, "ahead" in outgoing(ahead).problem) == (None, True)
