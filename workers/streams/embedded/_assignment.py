"""Decides which member gets which partition (cooperative-sticky). The member that notices a change computes it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from workers.streams.base import Partition


def assign(
    partitions: Sequence[Partition],
    subscriptions: Mapping[str, frozenset[str]],
    previous: Mapping[Partition, str],
) -> dict[Partition, str]:
    """Return the member of every partition that someone subscribes to.

    Each topic is balanced on its own, because topics differ in traffic: the members of a topic differ by at most one of
    its partitions. A member keeps its partitions unless balance requires a move.

    Args:
        partitions: all partitions, in any order.
        subscriptions: topics by member, in order of joining.
        previous: the assignment until now. Members that left may still be in it.
    """
    result: dict[Partition, str] = {}
    total = dict.fromkeys(subscriptions, 0)
    for topic in sorted({p.topic for p in partitions}):
        members = [m for m, topics in subscriptions.items() if topic in topics]
        if members:
            mine = sorted(p for p in partitions if p.topic == topic)
            for partition, member in _assign_topic(mine, members, previous, total).items():
                result[partition] = member
                total[member] += 1
    return result


def _assign_topic(
    partitions: Sequence[Partition],
    members: Sequence[str],
    previous: Mapping[Partition, str],
    total: Mapping[str, int],
) -> dict[Partition, str]:
    held: dict[str, list[Partition]] = {member: [] for member in members}
    free: list[Partition] = []
    for partition in partitions:
        held.get(previous.get(partition, ""), free).append(partition)

    def load(member: str) -> tuple[int, int]:
        return len(held[member]), total[member]

    for partition in free:
        held[min(members, key=load)].append(partition)
    while True:
        most, least = max(members, key=load), min(members, key=load)
        if len(held[most]) - len(held[least]) <= 1:
            return {p: member for member, owned in held.items() for p in owned}
        held[least].append(held[most].pop())
