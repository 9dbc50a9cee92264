"""What every stream promises about paused partitions: silent while paused, nothing lost, doubled or out of order."""

from __future__ import annotations

import itertools
import random
from collections import defaultdict
from collections.abc import Iterable

import pytest

from tests.contract.backends import Member, StreamBackend, join, poll_until
from workers.streams import Partition, Producer, Record
from workers.streams.embedded._partitioner import partition_of

_MORE_THAN_A_POLL = 1200  # a client that takes records in portions has taken part of what it fetched


class Sender:
    """Sends numbered values to a partition of choice, and remembers them in order."""

    def __init__(self, backend: StreamBackend, topic: str, partitions: int) -> None:
        self._producer: Producer = backend.build("sender").producer()
        self._topic = topic
        self._numbers = itertools.count()
        keys = ((b"%d" % n, partition_of(b"%d" % n, partitions)) for n in itertools.count())
        self._keys: dict[int, bytes] = {}
        while len(self._keys) < partitions:
            key, number = next(keys)
            self._keys.setdefault(number, key)
        self.sent: dict[Partition, list[bytes | None]] = {Partition(topic, n): [] for n in range(partitions)}

    def send(self, number: int, count: int) -> None:
        """Durable on return."""
        values = [b"%d" % next(self._numbers) for _ in range(count)]
        for value in values:
            self._producer.send(self._topic, self._keys[number], value)
        self._producer.flush(60)
        self.sent[Partition(self._topic, number)] += values

    def close(self) -> None:
        self._producer.close()


def by_partition(records: Iterable[Record]) -> dict[Partition, list[bytes | None]]:
    found: dict[Partition, list[bytes | None]] = defaultdict(list)
    for record in records:
        found[record.partition].append(record.value)
    return dict(found)


def received(member: Member, partition: Partition) -> int:
    return sum(record.partition == partition for record in member.records)


def test_the_rest_of_a_fetch_comes_after_a_pause_though_another_partition_went_on(
    stream_backend: StreamBackend,
) -> None:
    topic = stream_backend.topic(partitions=2)
    zero, one = Partition(topic, 0), Partition(topic, 1)
    sender = Sender(stream_backend, topic, 2)
    sender.send(0, _MORE_THAN_A_POLL)
    member = join(stream_backend.build(), stream_backend.name("group"), [topic])
    poll_until([member], lambda: received(member, zero) > 0, stream_backend.patience_s)
    assert received(member, zero) < _MORE_THAN_A_POLL, "the pause must come with part of the records taken"
    member.consumer.pause([zero])
    before = received(member, zero)
    for _ in range(2):  # what was on its way when the pause came is set aside by the second at the latest
        sender.send(1, 10)
        poll_until([member], lambda: received(member, one) == len(sender.sent[one]), stream_backend.patience_s)
    assert received(member, zero) == before
    member.consumer.resume([zero])
    sender.send(0, 10)
    poll_until([member], lambda: len(member.records) >= _MORE_THAN_A_POLL + 30, stream_backend.patience_s)
    assert by_partition(member.records) == sender.sent
    member.consumer.close()
    sender.close()


def test_a_paused_partition_that_leaves_and_comes_back_is_read_from_its_commit(stream_backend: StreamBackend) -> None:
    stream, group = stream_backend.build(), stream_backend.name("group")
    topic = stream_backend.topic(partitions=2)
    both = {Partition(topic, 0), Partition(topic, 1)}
    sender = Sender(stream_backend, topic, 2)
    for number in range(2):
        sender.send(number, _MORE_THAN_A_POLL)
    first = join(stream, group, [topic])
    poll_until([first], lambda: all(received(first, p) for p in both), stream_backend.patience_s)
    assert all(received(first, p) < _MORE_THAN_A_POLL for p in both)
    first.consumer.pause(both)
    first.poll()
    second = join(stream, group, [topic])
    poll_until([first, second], lambda: len(first.held) == len(second.held) == 1, stream_backend.patience_s)
    moved, kept = next(iter(second.held)), next(iter(first.held))
    second.consumer.close()
    old = list(first.records)
    first.clear()
    poll_until([first], lambda: first.held == both, stream_backend.patience_s)
    poll_until([first], lambda: len(first.records) >= _MORE_THAN_A_POLL, stream_backend.patience_s)
    # nothing was committed: the one that came back begins anew and is not paused, the one that stayed still is
    assert by_partition(first.records) == {moved: sender.sent[moved]}
    first.consumer.resume([kept])
    rest = sender.sent[kept][sum(r.partition == kept for r in old) :]
    poll_until([first], lambda: received(first, kept) >= len(rest), stream_backend.patience_s)
    assert by_partition(first.records) == {moved: sender.sent[moved], kept: rest}
    first.consumer.close()
    sender.close()


@pytest.mark.parametrize("seed", range(4))
def test_any_order_of_pauses_polls_and_sends_delivers_each_record_once(
    stream_backend: StreamBackend, seed: int
) -> None:
    rng, count = random.Random(seed), 3
    topic = stream_backend.topic(partitions=count)
    partitions = [Partition(topic, n) for n in range(count)]
    sender = Sender(stream_backend, topic, count)
    member = join(stream_backend.build(), stream_backend.name("group"), [topic])
    poll_until([member], lambda: len(member.held) == count, stream_backend.patience_s)
    paused: set[Partition] = set()
    for _ in range(60):
        match rng.randrange(6):
            case 0:
                wanted = rng.sample(partitions, rng.randint(1, count))
                member.consumer.pause(wanted)
                paused |= set(wanted)
            case 1:
                wanted = rng.sample(partitions, rng.randint(1, count))
                member.consumer.resume(wanted)
                paused -= set(wanted)
            case 2 | 3:
                sender.send(rng.randrange(count), rng.choice((1, 20, 700)))
            case _:
                for record in member.poll(rng.choice((0.0, 0.02)), rng.choice((1, 7, 100, 1000))):
                    assert record.partition not in paused
    member.consumer.resume(partitions)
    total = sum(map(len, sender.sent.values()))
    poll_until([member], lambda: len(member.records) >= total, stream_backend.patience_s)
    assert by_partition(member.records) == {p: sent for p, sent in sender.sent.items() if sent}
    member.consumer.close()
    sender.close()


def test_a_topic_that_grows_while_it_is_read_can_be_read_again(stream_backend: StreamBackend) -> None:
    topic = stream_backend.topic(partitions=2)
    sender = Sender(stream_backend, topic, 2)
    sender.send(0, 1)
    sender.send(1, _MORE_THAN_A_POLL)
    admin = stream_backend.build().admin()
    reading = admin.read(topic)
    then = {partition: list(values) for partition, values in sender.sent.items()}
    sender.send(0, _MORE_THAN_A_POLL)  # of partition 0 more is fetched than belongs to this reading
    assert by_partition(reading) == then
    for _ in range(2):
        assert by_partition(admin.read(topic)) == sender.sent
    admin.close()
    sender.close()
