"""Consumer groups: members with a lease, owners of partitions, and commits that only the owner can make.

`ownership` has two columns. `target` is the member that should have a partition; it is recomputed whenever the members
change. `owner` is the member that has it. A partition moves in two steps, as in Kafka's cooperative protocol. Its owner
notices that it is no longer the target, runs `revoked` and releases the partition. Only then does the target take it.
Reading of the other partitions never stops. The group's generation counts every change, so members need to look only
when it differs from the one they know.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import msgspec

from workers.sqlite import transaction
from workers.streams.base import Partition
from workers.streams.embedded._assignment import assign
from workers.streams.embedded._log import Slot
from workers.streams.embedded._process import ProcessId, surely_dead, this_process


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


@dataclass(frozen=True, slots=True)
class View:
    """The state of a member after a heartbeat."""

    generation: int
    member: bool
    """False: the member was expelled and has lost all partitions."""
    owned: dict[Partition, Slot]
    """All partitions that it owns, including those that it must release."""
    leaving: frozenset[Partition]
    """The partitions of `owned` that another member waits for."""


class GroupMember:
    """One member of one group. Every method is one transaction on the caller's connection."""

    def __init__(self, db: sqlite3.Connection, group: str, member: str, lease_s: float) -> None:
        self._db = db
        self._group = group
        self.id = member
        self._lease_ms = int(lease_s * 1000)

    def generation(self) -> int:
        """The current generation of the group."""
        row = self._db.execute("SELECT generation FROM groups WHERE name = ?", (self._group,)).fetchone()
        return 0 if row is None else int(row[0])

    def join(self, worker: str, topics: Iterable[str]) -> None:
        """Become a member. The next `heartbeat` assigns partitions."""
        me = this_process()
        with transaction(self._db):
            self._db.execute("INSERT INTO groups VALUES (?, 0) ON CONFLICT DO NOTHING", (self._group,))
            self._db.execute(
                "INSERT INTO members (group_name, id, worker, space, pid, started, lease_until_ms, topics)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (self._group, self.id, worker, *me, _now_ms() + self._lease_ms, msgspec.msgpack.encode([*topics])),
            )
            self._changed()

    def heartbeat(self) -> View:
        """Renew the lease, expel dead members, recompute the targets, and take the free partitions that are meant for
        this member."""
        with transaction(self._db):
            alive = self._db.execute(
                "UPDATE members SET lease_until_ms = ? WHERE id = ? RETURNING 1", (_now_ms() + self._lease_ms, self.id)
            ).fetchall()
            if not alive:
                return View(self.generation(), False, {}, frozenset())
            self._expel_dead()
            self._retarget()
            taken = self._db.execute(
                "UPDATE ownership SET owner = target WHERE group_name = ? AND target = ? AND owner IS NULL RETURNING 1",
                (self._group, self.id),
            ).fetchall()
            if taken:
                self._changed()
            return self._view()

    def release(self, slots: Iterable[Slot]) -> None:
        """Release partitions, so that their target members can take them."""
        with transaction(self._db):
            self._db.executemany(
                "UPDATE ownership SET owner = NULL WHERE group_name = ? AND partition = ? AND owner = ?",
                [(self._group, slot.id, self.id) for slot in slots],
            )
            self._changed()

    def leave(self) -> None:
        """End the membership and release all partitions at once."""
        with transaction(self._db):
            self._expel(self.id)
            self._retarget()

    def committed(self, slot: Slot) -> int:
        """The committed offset of a partition; 0 (the beginning) if there is none."""
        row = self._db.execute(
            "SELECT next_offset FROM commits WHERE group_name = ? AND partition = ?", (self._group, slot.id)
        ).fetchone()
        return 0 if row is None else int(row[0])

    def take_over(self, slots: Iterable[Slot], other: str) -> None:
        """Commit the offsets of group `other` for the partitions that this group has not committed yet."""
        with transaction(self._db):
            self._db.executemany(
                "INSERT INTO commits SELECT ?, partition, next_offset FROM commits"
                " WHERE group_name = ? AND partition = ? ON CONFLICT DO NOTHING",
                [(self._group, other, slot.id) for slot in slots],
            )

    def commit(self, next_offsets: Mapping[Slot, int]) -> None:
        """Store the next offsets of the partitions that this member owns at this moment. Skip the others."""
        with transaction(self._db):
            self._db.executemany(
                "INSERT INTO commits SELECT group_name, partition, ? FROM ownership"
                " WHERE group_name = ? AND partition = ? AND owner = ?"
                " ON CONFLICT DO UPDATE SET next_offset = excluded.next_offset",
                [(offset, self._group, slot.id, self.id) for slot, offset in next_offsets.items()],
            )

    def _changed(self) -> None:
        self._db.execute("UPDATE groups SET generation = generation + 1 WHERE name = ?", (self._group,))

    def _expel(self, member: str) -> None:
        self._db.execute("DELETE FROM members WHERE id = ?", (member,))
        self._db.execute("UPDATE ownership SET owner = NULL WHERE group_name = ? AND owner = ?", (self._group, member))

    def _expel_dead(self) -> None:
        now = _now_ms()
        others = self._db.execute(
            "SELECT id, lease_until_ms, space, pid, started FROM members WHERE group_name = ? AND id <> ?",
            (self._group, self.id),
        ).fetchall()
        for member, lease_until_ms, *process in others:
            if lease_until_ms < now or surely_dead(ProcessId(*process)):
                self._expel(member)

    def _retarget(self) -> None:
        """Recompute the targets from the members, the topics and the targets until now. Write the differences."""
        members = self._db.execute(
            "SELECT id, topics FROM members WHERE group_name = ? ORDER BY seq", (self._group,)
        ).fetchall()
        subscriptions = {id_: frozenset(msgspec.msgpack.decode(topics, type=list[str])) for id_, topics in members}
        rows = self._db.execute(
            "SELECT p.id, p.topic, p.number, o.target FROM partitions p"
            " LEFT JOIN ownership o ON o.partition = p.id AND o.group_name = ?",
            (self._group,),
        ).fetchall()
        ids = {Partition(topic, number): id_ for id_, topic, number, _ in rows}
        before = {Partition(topic, number): target for _, topic, number, target in rows if target is not None}
        after = assign(list(ids), subscriptions, before)
        changes = [
            (self._group, ids[partition], after.get(partition))
            for partition in before.keys() | after.keys()
            if before.get(partition) != after.get(partition)
        ]
        if changes:
            self._db.executemany(
                "INSERT INTO ownership (group_name, partition, target) VALUES (?, ?, ?)"
                " ON CONFLICT DO UPDATE SET target = excluded.target",
                changes,
            )
            self._changed()

    def _view(self) -> View:
        rows = self._db.execute(
            "SELECT p.id, p.topic, p.number, o.target FROM ownership o JOIN partitions p ON p.id = o.partition"
            " WHERE o.group_name = ? AND o.owner = ?",
            (self._group, self.id),
        ).fetchall()
        owned = {Partition(topic, number): Slot(id_, Partition(topic, number)) for id_, topic, number, _ in rows}
        leaving = frozenset(Partition(topic, number) for _, topic, number, target in rows if target != self.id)
        return View(self.generation(), True, owned, leaving)
