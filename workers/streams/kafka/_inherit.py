"""A group that begins where another one has come to: see `Stream.consumer`, `inherit`."""

from __future__ import annotations

from collections.abc import Iterable

from workers.streams.base import Partition
from workers.streams.kafka._admin import KafkaAdmin
from workers.streams.kafka._settings import KafkaSettings


class Inheritance:
    """Which partitions of a member still wait for the place where it begins to read them; those are paused."""

    def __init__(self, group: str, inherit: str, settings: KafkaSettings, worker: str) -> None:
        """`inherit`: the group to take over from; empty: none, and nothing ever waits."""
        self._group = group
        self._inherit = inherit
        self._settings = settings
        self._worker = worker
        self.waiting: set[Partition] = set()

    def assigned(self, partitions: Iterable[Partition]) -> None:
        """These are new to the member."""
        if self._inherit:
            self.waiting |= set(partitions)

    def gone(self, partitions: Iterable[Partition]) -> None:
        """The member does not have these any more."""
        self.waiting -= set(partitions)

    def places(self) -> dict[Partition, int]:
        """Where to begin, of those waiting: absent where the group has a commit of its own or there is nothing to
        take over. Raises Transient when brokers do not answer, ConfigError when access is refused.
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
