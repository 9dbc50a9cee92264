"""What every stream promises a group that begins where another has come to, and who shares partitions when joining."""

from __future__ import annotations

import threading
from collections import Counter

import pytest

from tests.contract.backends import Member, StreamBackend, join, poll_until
from workers.streams import Partition, Stream
from workers.streams.embedded._partitioner import partition_of

_A_PARTITION = 40  # records


def fill(stream: Stream, topic: str, partitions: int, first: int = 0) -> dict[Partition, list[bytes | None]]:
    """`_A_PARTITION` records in each partition, values from `first` on; returns them in order."""
    sent: dict[Partition, list[bytes | None]] = {Partition(topic, n): [] for n in range(partitions)}
    producer, number = stream.producer(), first
    while any(len(values) < _A_PARTITION for values in sent.values()):
        key = value = b"%d" % number
        mine = sent[Partition(topic, partition_of(key, partitions))]
        if len(mine) < _A_PARTITION:
            mine.append(value)
            producer.send(topic, key, value)
        number += 1
    producer.close()
    return sent


def values(members: list[Member], partition: Partition) -> list[bytes | None]:
    return [record.value for member in members for record in member.records if record.partition == partition]


def committed(stream: Stream, group: str, topic: str) -> dict[Partition, int]:
    admin = stream.admin()
    found = admin.committed(group, topic)
    admin.close()
    return found


def commit_as(backend: StreamBackend, group: str, offsets: dict[Partition, int]) -> None:
    """What a life of `group` leaves that had come to `offsets`."""
    topic = next(iter(offsets)).topic
    member = join(backend.build(), group, [topic])
    poll_until([member], lambda: member.held >= offsets.keys(), backend.patience_s)
    member.consumer.commit(offsets)
    member.consumer.close()


@pytest.mark.parametrize("members", [1, 3])
def test_a_group_begins_where_the_other_has_committed_and_keeps_it(stream_backend: StreamBackend, members: int) -> None:
    stream, old, new = stream_backend.build(), stream_backend.name("old"), stream_backend.name("new")
    topic = stream_backend.topic(partitions=4)
    sent = fill(stream, topic, 4)
    # one partition in the middle, one at its end, one at the beginning, one without a commit
    inherited = {Partition(topic, 0): 17, Partition(topic, 1): _A_PARTITION, Partition(topic, 2): 0}
    commit_as(stream_backend, old, inherited)
    joined = [join(stream_backend.build(f"new-{n}"), new, [topic], inherit=old) for n in range(members)]
    every = {Partition(topic, n) for n in range(4)}
    poll_until(joined, lambda: {p for m in joined for p in m.held} == every, stream_backend.patience_s)
    want = {p: all_of[inherited.get(p, 0) :] for p, all_of in sent.items()}
    poll_until(
        joined, lambda: all(len(values(joined, p)) >= len(w) for p, w in want.items()), stream_backend.patience_s
    )
    for partition in every:  # a partition that moved between members before a commit came twice, in order both times
        assert set(values(joined, partition)) == set(want[partition])
    if members == 1:
        assert {p: values(joined, p) for p in every} == want
    assert committed(stream, new, topic) == inherited  # nobody has committed but the takeover itself
    for member in joined:
        member.consumer.close()


def test_later_lives_ignore_the_other_group(stream_backend: StreamBackend) -> None:
    stream, old, new = stream_backend.build(), stream_backend.name("old"), stream_backend.name("new")
    topic = stream_backend.topic(partitions=1)
    only = Partition(topic, 0)
    sent = fill(stream, topic, 1)[only]
    commit_as(stream_backend, old, {only: 10})
    first = join(stream, new, [topic], inherit=old)
    poll_until([first], lambda: len(first.records) >= 30, stream_backend.patience_s)
    first.consumer.close()  # without a commit of its own
    commit_as(stream_backend, old, {only: 35})
    second = join(stream, new, [topic], inherit=old)
    poll_until([second], lambda: len(second.records) >= 30, stream_backend.patience_s)
    assert values([second], only) == sent[10:]
    second.consumer.commit({only: 20})
    second.consumer.close()
    third = join(stream, new, [topic], inherit=old)
    poll_until([third], lambda: len(third.records) >= 20, stream_backend.patience_s)
    assert values([third], only) == sent[20:]
    assert committed(stream, old, topic) == {only: 35}
    third.consumer.close()


def test_the_other_group_may_be_running(stream_backend: StreamBackend) -> None:
    """A rolling upgrade: members of the old group go on reading both topics while the new group takes one over."""
    stream, old, new = stream_backend.build(), stream_backend.name("old"), stream_backend.name("new")
    live, retry = stream_backend.topic(partitions=2), stream_backend.topic(partitions=2)
    sent = fill(stream, retry, 2)
    olds = [join(stream_backend.build(f"old-{n}"), old, [live, retry]) for n in range(2)]
    every = {Partition(topic, n) for topic in (live, retry) for n in range(2)}
    poll_until(olds, lambda: {p for m in olds for p in m.held} == every, stream_backend.patience_s)
    poll_until(olds, lambda: all(values(olds, p)[-1:] == sent[p][-1:] for p in sent), stream_backend.patience_s)
    for member in olds:
        member.consumer.commit({p: 25 for p in member.held if p.topic == retry})
    taker = join(stream, new, [retry], inherit=old)
    poll_until([*olds, taker], lambda: len(taker.records) >= 2 * (_A_PARTITION - 25), stream_backend.patience_s)
    assert {p: values([taker], p) for p in sent} == {p: all_of[25:] for p, all_of in sent.items()}
    # the old members have kept what they had, and go on with both topics
    more = fill(stream, retry, 2, first=10_000)
    more_live = fill(stream, live, 2, first=20_000)
    poll_until([*olds, taker], lambda: all(values([taker], p)[-1:] == more[p][-1:] for p in more), 60)
    poll_until(olds, lambda: all(values(olds, p)[-1:] == v[-1:] for p, v in (more | more_live).items()), 60)
    assert {p for m in olds for p in m.held} == every
    assert all(not m.told("lost") for m in (*olds, taker))
    for member in (*olds, taker):
        member.consumer.close()


def test_members_that_join_late_get_their_share_of_a_topic_and_nothing_is_lost(stream_backend: StreamBackend) -> None:
    """One after another under load; who gives a partition up has committed what it was given of it."""
    topic, group, count = stream_backend.topic(partitions=8), stream_backend.name("group"), 8
    every = {Partition(topic, n) for n in range(count)}
    members: list[Member] = []
    stop, sent = threading.Event(), [0]

    def load() -> None:
        producer = stream_backend.build("load").producer()
        while not stop.wait(0.002):
            producer.send(topic, b"%d" % sent[0], b"%d" % sent[0]).wait(60)
            sent[0] += 1
        producer.close()

    def fair() -> bool:
        held = [p for member in members for p in member.held]
        assert len(held) == len(set(held)), "two members hold one partition"
        sizes = [len(member.held) for member in members]
        return set(held) == every and max(sizes) - min(sizes) <= 1

    def commit_what_goes(member: Member) -> None:
        def commit(partitions: frozenset[Partition]) -> None:
            member.consumer.commit({r.partition: r.next_offset for r in member.records if r.partition in partitions})

        member.on_revoked = commit

    loader = threading.Thread(target=load)
    loader.start()
    try:
        for number in range(4):
            member = join(stream_backend.build(f"member-{number}"), group, [topic])
            commit_what_goes(member)
            members.append(member)
            poll_until(members, fair, stream_backend.patience_s)
    finally:
        stop.set()
        loader.join()
    want = {b"%d" % n for n in range(sent[0])}
    poll_until(members, lambda: {r.value for m in members for r in m.records} >= want, stream_backend.patience_s)
    seen = Counter(r.value for m in members for r in m.records)
    assert seen.keys() == want
    assert set(seen.values()) == {1}  # no member was thrown out, so nothing came again
    for member in members:
        assert not member.told("lost")
        member.consumer.close()


def test_timestamps_are_those_of_the_first_record_at_or_after_an_offset(stream_backend: StreamBackend) -> None:
    topic, other = stream_backend.topic(partitions=4), stream_backend.topic(partitions=2)
    stream = stream_backend.build()
    for first in (0, 10_000, 20_000):  # three times as many records, at different times
        fill(stream, topic, 4, first=first)
    producer = stream.producer()
    for number in range(40):
        producer.send(other, b"%d" % number, bytes(100_000)).wait(60)  # more than is looked at of a partition
    producer.close()
    admin = stream.admin()
    truth = {(r.partition, r.offset): r.timestamp_ms for name in (topic, other) for r in admin.read(name)}
    ends = {**admin.end_offsets(topic), **admin.end_offsets(other)}
    assert admin.timestamps_ms({}) == {}
    assert admin.timestamps_ms(ends) == {}
    assert admin.timestamps_ms(dict.fromkeys(ends, 0)) == {p: truth[p, 0] for p in ends}
    for offset in (1, 55, 119):
        positions = {p: min(offset, end) for p, end in ends.items()}
        assert admin.timestamps_ms(positions) == {p: truth[p, at] for p, at in positions.items() if at < ends[p]}
    late = {Partition(topic, 2): ends[Partition(topic, 2)], Partition(topic, 3): 7}
    assert admin.timestamps_ms(late) == {Partition(topic, 3): truth[Partition(topic, 3), 7]}
    fill(stream, topic, 4, first=30_000)  # the same object sees what came since
    now = {r.partition: r.timestamp_ms for r in reversed(list(admin.read(topic, {p: ends[p] for p in ends})))}
    assert admin.timestamps_ms(ends) == now
    admin.close()
