"""The client's chatter: each message once a minute and at WARNING at most; a rebalance is a line of ours."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator

import pytest

from deploy.local import Services
from schemas.errors import Transient
from tests.contract.backends import StreamBackend, join, poll_until

pytest.importorskip("kafka")
pytestmark = [
    pytest.mark.filterwarnings("ignore:(read|open)_text is deprecated:DeprecationWarning"),  # kafka-python 3.0.12
    pytest.mark.filterwarnings("ignore:.*socket.socket:pytest.PytestUnraisableExceptionWarning"),  # as well
]


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Heard(logging.Handler):
    """What a worker's log would have. Not caplog: since pytest 9 it listens to loggers that do not propagate, too."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)

    @property
    def messages(self) -> list[str]:
        return [record.getMessage() for record in self.records]


@pytest.fixture
def heard() -> Iterator[Heard]:
    root, handler = logging.getLogger(), Heard()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.INFO)  # as every worker's is
    yield handler
    root.setLevel(level)
    root.removeHandler(handler)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def client_log(clock: Clock) -> Iterator[logging.Logger]:
    """A logger below one that is quietened, as `kafka.net` is below `kafka`."""
    from workers.watching.quiet_logs import QuietHandler

    above = logging.getLogger("chatty")
    handler = QuietHandler(clock)
    above.addHandler(handler)
    above.propagate = False
    yield logging.getLogger("chatty.net")
    above.removeHandler(handler)


def test_the_same_message_passes_once_a_minute_with_a_count(
    client_log: logging.Logger, clock: Clock, heard: Heard
) -> None:
    for number in range(600):  # an outage of ten minutes, a message a second
        client_log.warning("node %s: attempt %d failed", "broker-1", number)
        client_log.error(f"<Connection at 0x{number:x}> lost {number} times")
        clock.now += 1
    mine = [message for message in heard.messages if message.startswith("node")]
    others = [message for message in heard.messages if not message.startswith("node")]
    assert mine == ["node broker-1: attempt 0 failed"] + [
        f"node broker-1: attempt {n} failed (59 like it left out since the last)" for n in range(60, 600, 60)
    ]
    assert len(others) == 10
    assert {record.levelname for record in heard.records} == {"WARNING"}


def test_different_messages_pass_and_what_is_remembered_is_bounded(client_log: logging.Logger, heard: Heard) -> None:
    from workers.watching.quiet_logs import QuietHandler

    words = ["".join(chr(ord("a") + int(digit)) for digit in str(n)) for n in range(1000)]
    for word in words:
        client_log.warning("message " + word)
    assert heard.messages == ["message " + word for word in words]
    (handler,) = (h for h in logging.getLogger("chatty").handlers if isinstance(h, QuietHandler))
    assert len(handler._seen) == 200


def test_the_client_speaks_through_it(heard: Heard) -> None:
    import workers.streams.kafka  # noqa: F401

    deep = logging.getLogger("kafka.coordinator.consumer")
    assert not deep.isEnabledFor(logging.INFO)
    for _ in range(3):
        deep.error("a message of this test alone")
    assert heard.messages == ["a message of this test alone"]


@pytest.mark.services
def test_a_rebalance_is_a_line_of_ours_and_an_outage_a_few_of_the_client(services: Services, heard: Heard) -> None:
    url = f"kafka://{services.bootstrap}?session_s=6"
    backend = StreamBackend(url=url, short_session_url=url, short_session_s=6.0, patience_s=60.0)
    topic, group = backend.topic(partitions=2), backend.name("group")
    one = join(backend.build("one"), group, [topic])
    poll_until([one], lambda: len(one.held) == 2, 60)
    two = join(backend.build("two"), group, [topic])
    poll_until([one, two], lambda: len(one.held) == len(two.held) == 1, 60)
    (moved,), (kept,) = two.held, one.held
    poll_until([one, two], lambda: sum("it holds 1 partition" in m for m in heard.messages) == 2, 60)
    assert sorted(m for m in heard.messages if group in m) == [
        f"one, a member of group {group}, gave up {topic} {moved.number}; it holds 1 partition now",
        f"one, a member of group {group}, got {topic} 0-1; it holds 2 partitions now",
        f"two, a member of group {group}, got {topic} {moved.number}; it holds 1 partition now",
    ]
    assert kept != moved
    heard.records.clear()
    producer = backend.build("sender").producer()
    services.kill("kafka-1")
    polled_until = time.monotonic() + 5
    while time.monotonic() < polled_until:  # it can only say less in less time
        try:
            one.poll()
            two.poll()
        except Transient:
            pass
    services.start("kafka-1")
    poll_until([one, two], lambda: len(one.held) + len(two.held) == 2, 60)
    said = [record for record in heard.records if record.name.startswith("kafka")]
    assert len(said) == len({(record.name, record.msg) for record in said})
    assert len(said) < 30
    assert {record.levelname for record in said} <= {"WARNING"}
    for member in (one, two):
        member.consumer.close()
    producer.close()
