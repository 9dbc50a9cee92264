"""What every stream promises while the log does not answer: nothing but Transient, nothing lost, and no new objects.

One thread polls and commits all the time; another one sends. The log goes away, each in turn of the ways that the back
end has, and comes back; the same consumer, producer and admin go on.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest

from schemas.errors import Transient
from tests.contract.backends import Member, StreamBackend, join, poll_until
from workers.streams import Partition

_SENT_IN_AN_OUTAGE = 20


class Worker:
    """Polls a member and commits what it was given, over and over, until stopped. Keeps any error but Transient."""

    def __init__(self, member: Member) -> None:
        self.member = member
        self.error: BaseException | None = None
        self.committed: dict[Partition, int] = {}
        self.rounds = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        try:
            while not self._stop.is_set():
                self._round()
                self.rounds += 1
        except BaseException as error:  # raised by `stop`, in the test
            self.error = error

    def _round(self) -> None:
        try:
            self.member.poll()
            want = {r.partition: r.next_offset for r in self.member.records if r.partition in self.member.held}
            if want != self.committed:
                self.member.consumer.commit(want)
                self.committed = want
        except Transient:
            return

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()
        if self.error is not None:
            raise self.error


def wait_for(done: Callable[[], bool], worker: Worker, patience_s: float) -> None:
    deadline = time.monotonic() + patience_s
    while not done():
        assert worker.error is None
        assert time.monotonic() < deadline, f"not done within {patience_s} s"
        time.sleep(0.01)


def test_an_outage_is_transient_and_what_was_there_before_goes_on(stream_backend: StreamBackend) -> None:
    stream, topic, group = stream_backend.build(), stream_backend.topic(partitions=2), stream_backend.name("group")
    patience_s = stream_backend.patience_s
    producer, admin = stream.producer(), stream.admin()
    member = join(stream, group, [topic])
    poll_until([member], lambda: len(member.held) == 2, patience_s)
    sent: list[bytes] = []
    again: set[bytes] = set()  # what was sent twice, since it is not known whether the first arrived

    def send(value: bytes) -> None:
        deadline = time.monotonic() + 2 * patience_s
        while True:
            try:
                producer.send(topic, value, value).wait(patience_s)
                sent.append(value)
                return
            except Transient:
                again.add(value)
                assert time.monotonic() < deadline

    def seen() -> set[bytes | None]:
        return {record.value for record in member.records}

    def arrived() -> bool:
        return seen() >= set(sent)

    worker = Worker(member)
    try:
        for name, outage in stream_backend.outages.items():
            send(b"before " + name.encode())
            wait_for(arrived, worker, patience_s)
            with outage():
                values = [b"%s %d" % (name.encode(), n) for n in range(_SENT_IN_AN_OUTAGE)]
                deliveries = [producer.send(topic, value, value) for value in values]
                for delivery in deliveries[:2]:
                    with pytest.raises(Transient):
                        delivery.wait(0.3)
            for value, delivery in zip(values, deliveries, strict=True):
                try:
                    delivery.wait(patience_s)
                    sent.append(value)
                except Transient:  # a broker that took longer to start than a record may wait
                    again.add(value)
                    send(value)
            send(b"after " + name.encode())
            wait_for(arrived, worker, patience_s)
            ends = admin.end_offsets(topic)
            wait_for(lambda ends=ends: worker.committed == ends, worker, patience_s)
            assert admin.committed(group, topic) == ends
            rounds = worker.rounds
            wait_for(lambda rounds=rounds: worker.rounds > rounds + 2, worker, patience_s)
    finally:
        worker.stop()
    # a member that was silent for too long may have lost its partitions; without that, each record came once
    if not member.told("lost"):
        once = [record.value for record in member.records if record.value not in again]
        assert sorted(once) == sorted(set(sent) - again)
    assert seen() == set(sent)
    assert member.held == {Partition(topic, 0), Partition(topic, 1)}
    member.consumer.close()
    producer.close()
    admin.close()
