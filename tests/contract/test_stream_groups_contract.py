"""What every stream promises about consumer groups: at least once, cooperative rebalance, fenced commits."""

from __future__ import annotations

import signal
import time
from itertools import pairwise

from tests.contract.backends import Member, StreamBackend, join, poll_until, start
from workers.streams import Partition, Stream, build_stream

_CONSUME = """
import sys, time
from workers.streams import RebalanceListener, build_stream
url, group, topic, commit_after = sys.argv[1:]
consumer = build_stream(url, "child").consumer(group, [topic], RebalanceListener())
seen = 0
while seen < int(commit_after):
    for record in consumer.poll(1.0, 10):
        seen += 1
        consumer.commit({record.partition: record.next_offset})
        print(record.value.decode(), flush=True)
        if seen == int(commit_after):
            break
while True:
    for record in consumer.poll(1.0, 10):
        print("uncommitted", flush=True)
"""


def fill(stream: Stream, topic: str, count: int, key: bytes | None = b"") -> list[bytes]:
    """Send `count` values; key b'' gives each its own key."""
    producer = stream.producer()
    values = [b"%d" % n for n in range(count)]
    for value in values:
        producer.send(topic, value if key == b"" else key, value)
    producer.close()
    return values


def values(member: Member) -> list[bytes | None]:
    return [record.value for record in member.records]


def commit_seen(member: Member) -> dict[Partition, int]:
    """Commit everything that the member was given."""
    offsets: dict[Partition, int] = {}
    for record in member.records:
        offsets[record.partition] = max(record.next_offset, offsets.get(record.partition, 0))
    member.consumer.commit(offsets)
    return offsets


def committed(stream: Stream, group: str, topic: str) -> dict[Partition, int]:
    admin = stream.admin()
    result = admin.committed(group, topic)
    admin.close()
    return result


def test_a_new_group_starts_at_the_beginning_and_groups_do_not_meet(stream_backend: StreamBackend) -> None:
    stream, topic = stream_backend.build(), stream_backend.topic()
    sent = fill(stream, topic, 100)
    for _ in range(2):
        member = join(stream, stream_backend.name("group"), [topic])
        poll_until([member], lambda m=member: len(m.records) >= 100)
        assert sorted(values(member)) == sorted(sent)
        assert member.held == {Partition(topic, n) for n in range(4)}
        commit_seen(member)
        member.consumer.close()
        member.consumer.close()


def test_what_is_committed_stays_done_and_the_rest_comes_again(stream_backend: StreamBackend) -> None:
    stream, topic, group = stream_backend.build(), stream_backend.topic(partitions=1), stream_backend.name("group")
    sent = fill(stream, topic, 50)
    first = join(stream, group, [topic])
    poll_until([first], lambda: len(first.records) >= 50)
    assert committed(stream, group, topic) == {}
    first.consumer.commit({Partition(topic, 0): first.records[19].next_offset})
    assert committed(stream, group, topic) == {Partition(topic, 0): 20}
    first.consumer.close()
    second = join(stream_backend.build("other"), group, [topic])
    poll_until([second], lambda: len(second.records) >= 30)
    assert values(second) == sent[20:]
    second.consumer.close()


def test_a_killed_process_loses_nothing_and_repeats_only_the_uncommitted(stream_backend: StreamBackend) -> None:
    stream, topic, group = stream_backend.build(), stream_backend.topic(partitions=1), stream_backend.name("group")
    sent = fill(stream, topic, 40)
    child = start(_CONSUME, stream_backend.url, group, topic, "25")
    done = [child.stdout.readline().strip().encode() for _ in range(25)]
    assert child.stdout.readline() == "uncommitted\n"
    child.send_signal(signal.SIGKILL)
    child.wait()
    child.stdout.close()
    assert done == sent[:25]
    member = join(stream, group, [topic])
    poll_until([member], lambda: len(member.records) >= 15, stream_backend.patience_s)
    assert values(member) == sent[25:]
    member.consumer.close()


def test_members_share_partitions_and_a_rebalance_moves_only_what_it_must(stream_backend: StreamBackend) -> None:
    stream, topic, group = stream_backend.build(), stream_backend.topic(partitions=6), stream_backend.name("group")
    every = {Partition(topic, n) for n in range(6)}
    first = join(stream, group, [topic])
    poll_until([first], lambda: first.held == every)
    first.clear()
    second = join(stream_backend.build("other"), group, [topic])
    poll_until([first, second], lambda: len(first.held) == 3 and len(second.held) == 3)
    assert first.held | second.held == every
    # the moved ones were revoked once, the kept ones were never touched
    assert frozenset().union(*first.told("revoked")) == second.held
    assert sum(len(p) for p in first.told("revoked")) == 3
    assert first.told("assigned") == first.told("lost") == []

    sent = fill(stream, topic, 200)
    poll_until([first, second], lambda: len(first.records) + len(second.records) >= 200)
    assert sorted(values(first) + values(second)) == sorted(sent)
    assert {r.partition for r in first.records} == first.held
    commit_seen(first)
    commit_seen(second)

    kept = set(first.held)
    first.clear()
    second.consumer.close()
    poll_until([first], lambda: first.held == every)
    assert frozenset().union(*first.told("assigned")) == every - kept
    assert first.told("revoked") == first.told("lost") == []
    more = fill(stream, topic, 100)
    poll_until([first], lambda: len(first.records) >= 100)
    assert sorted(values(first)) == sorted(more)
    first.consumer.close()


def test_many_members_come_and_go_and_no_partition_is_held_twice(stream_backend: StreamBackend) -> None:
    stream, topic, group = stream_backend.build(), stream_backend.topic(partitions=7), stream_backend.name("group")
    every = {Partition(topic, n) for n in range(7)}
    members: list[Member] = []

    def settled() -> bool:
        held = [p for member in members for p in member.held]
        assert len(held) == len(set(held)), "two members hold one partition"
        sizes = [len(member.held) for member in members]
        return set(held) == every and max(sizes) - min(sizes) <= 1

    for _ in range(4):
        members.append(join(stream, group, [topic]))
        poll_until(members, settled)
    for _ in range(3):
        members.pop(0).consumer.close()
        poll_until(members, settled)
    members[0].consumer.close()


def test_revoked_may_still_commit_and_the_next_owner_goes_on_from_there(stream_backend: StreamBackend) -> None:
    stream, topic, group = stream_backend.build(), stream_backend.topic(partitions=2), stream_backend.name("group")
    sent = fill(stream, topic, 60)
    first = join(stream, group, [topic])
    poll_until([first], lambda: len(first.records) >= 60)

    def commit(partitions: frozenset[Partition]) -> None:
        offsets = {r.partition: r.next_offset for r in first.records if r.partition in partitions}
        first.consumer.commit(offsets)

    first.on_revoked = commit
    second = join(stream, group, [topic])
    poll_until([first, second], lambda: len(first.held) == 1 and len(second.held) == 1)
    moved = next(iter(second.held))
    assert committed(stream, group, topic) == {moved: max(r.next_offset for r in first.records if r.partition == moved)}
    # too late: the other owns it now, and its progress must not be undone
    before = committed(stream, group, topic)
    first.consumer.commit({moved: 1})
    assert committed(stream, group, topic) == before
    second.poll(0.2)
    assert second.records == []
    assert len(sent) == len(first.records)
    first.consumer.close()
    second.consumer.close()


def test_a_silent_member_loses_its_partitions_and_cannot_commit_them(stream_backend: StreamBackend) -> None:
    stream = build_stream(stream_backend.short_session_url, "short")
    topic, group = stream_backend.topic(partitions=2), stream_backend.name("group")
    every = {Partition(topic, 0), Partition(topic, 1)}
    sent = fill(stream, topic, 30)
    silent, lively = join(stream, group, [topic]), join(stream_backend.build(), group, [topic])
    poll_until([silent], lambda: len(silent.records) >= 30)
    poll_until([lively], lambda: lively.held == every)
    poll_until([lively], lambda: len(lively.records) >= 30)
    assert sorted(values(lively)) == sorted(sent)
    assert commit_seen(lively) == committed(stream, group, topic)
    progress = committed(stream, group, topic)
    silent.consumer.commit(dict.fromkeys(every, 1))
    assert committed(stream, group, topic) == progress
    assert silent.told("lost") == []  # told in poll alone
    silent.poll()
    assert silent.told("lost") == [frozenset(every)]
    poll_until([silent, lively], lambda: len(silent.held) == 1 and len(lively.held) == 1)
    assert silent.told("revoked") == []
    silent.consumer.close()
    lively.consumer.close()


def test_pause_and_resume_keep_the_place(stream_backend: StreamBackend) -> None:
    stream, topic, group = stream_backend.build(), stream_backend.topic(partitions=2), stream_backend.name("group")
    fill(stream, topic, 80)
    member = join(stream, group, [topic])
    poll_until([member], lambda: len({r.partition for r in member.records}) == 2 or len(member.records) == 80)
    member.consumer.pause([Partition(topic, 0)])
    poll_until([member], lambda: sum(r.partition.number == 1 for r in member.records) == _count(stream, topic, 1))
    fill(stream, topic, 80)
    paused_at = sum(r.partition.number == 0 for r in member.records)
    poll_until([member], lambda: sum(r.partition.number == 1 for r in member.records) == _count(stream, topic, 1))
    assert sum(r.partition.number == 0 for r in member.records) == paused_at
    member.consumer.resume([Partition(topic, 0)])
    poll_until([member], lambda: len(member.records) >= 160)
    assert member.told("lost") == member.told("revoked") == []
    for number in range(2):
        offsets = [r.offset for r in member.records if r.partition.number == number]
        assert all(b == a + 1 for a, b in pairwise(offsets))
    assert len(member.records) == 160
    member.consumer.close()


def test_an_empty_poll_waits_and_a_send_ends_the_wait(stream_backend: StreamBackend) -> None:
    stream, topic = stream_backend.build(), stream_backend.topic(partitions=1)
    member = join(stream, stream_backend.name("group"), [topic])
    poll_until([member], lambda: len(member.held) == 1)
    before = time.monotonic()
    assert member.poll(0.2) == []
    assert time.monotonic() - before >= 0.19  # a lower bound: poll must not spin
    fill(stream, topic, 3)
    poll_until([member], lambda: len(member.records) == 3)
    member.consumer.close()


def test_max_records_bounds_a_poll_and_no_partition_starves(stream_backend: StreamBackend) -> None:
    stream, topic = stream_backend.build(), stream_backend.topic(partitions=3)
    fill(stream, topic, 300)
    member = join(stream, stream_backend.name("group"), [topic])
    poll_until([member], lambda: len(member.held) == 3)
    member.clear()
    sizes: list[int] = []
    while len(member.records) < 90:
        sizes.append(len(member.poll(1.0, 10)))
        assert sizes[-1] <= 10
    assert len({r.partition for r in member.records}) == 3
    member.consumer.close()


def _count(stream: Stream, topic: str, number: int) -> int:
    admin = stream.admin()
    end = admin.end_offsets(topic)[Partition(topic, number)]
    admin.close()
    return end


def test_a_member_without_a_partition_has_joined(stream_backend: StreamBackend) -> None:
    stream, topic, group = stream_backend.build(), stream_backend.topic(1), stream_backend.name("group")
    members = [join(stream, group, [topic]) for _ in range(2)]
    assert not any(member.consumer.joined for member in members), "before the first poll"
    poll_until(
        members,
        lambda: all(member.consumer.joined for member in members) and sum(len(m.held) for m in members) == 1,
        stream_backend.patience_s,
    )
    for member in members:
        member.consumer.close()
