"""Lets a group begin at the committed offsets of another group: see `ConsumerFactory`, `inherit`."""

from __future__ import annotations

from collections.abc import Iterable

from workers.streams.base import Partition
from workers.streams.kafka._admin import KafkaAdmin
from workers.streams.kafka._settings import KafkaSettings


class Inheritance:
    """The partitions of a member whose first offset is not known yet. They stay paused until it is known."""

    def __init__(self, group: str, inherit: str, settings: KafkaSettings, worker: str) -> None:
        """`inherit`: the group to take over from. If it is empty, no partition ever waits."""
        self._group = group
        self._inherit = inherit
        self._settings = settings
        self._worker = worker
        self.waiting: set[Partition] = set()

    def assigned(self, partitions: Iterable[Partition]) -> None:
        """Note partitions that are new to the member."""
        if self._inherit:
            self.waiting |= set(partitions)

    def gone(self, partitions: Iterable[Partition]) -> None:
        """Note partitions that the member no longer has."""
        self.waiting -= set(partitions)

    def places(self) -> dict[Partition, int]:
        """The first offset of each waiting partition. Partitions are absent if the group has its own commit or the
        other group has none. Raises Transient if brokers do not answer, and ConfigError if access is refused.
        """
        admin = KafkaAdmin(settings=self._settings, worker=self._worker)
        try:
            found: dict[Partition, int] = {}
            for topic in sorted({partition.topic for partition in self.waiting}):
                own = admin.committed(self._group, topic)
                for partition, offset in admin.committed(self._inherit, topic).items():
                    if partition in self.waiting and partition not in own:
                        found[partition] = offset
            return found
        finally:
            admin.close()
