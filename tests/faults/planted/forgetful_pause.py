"""A planted bug: a partition that was paused is never handed out again after `resume`, as kafka-python 3.0.12 does
with part of a fetch taken. The judge must call what lies there late.

It sits at the stream port: where the tagger waits without `Consumer.pause`, it must sit where the tagger waits.
"""

from __future__ import annotations

from collections.abc import Iterable

from groknet.cli import main
from schemas.topics import RETRY_DELAYS_S
from tests.faults.ladder import DELAYS_S
from workers.streams.base import Partition, Record
from workers.streams.kafka import KafkaConsumer

RETRY_DELAYS_S.update(DELAYS_S)
_poll, _pause = KafkaConsumer.poll, KafkaConsumer.pause
_forgotten: set[Partition] = set()


def pause_for_ever(self: KafkaConsumer, partitions: Iterable[Partition]) -> None:
    wanted = list(partitions)
    _forgotten.update(wanted)
    _pause(self, wanted)


def poll_others(self: KafkaConsumer, timeout_s: float, max_records: int) -> list[Record]:
    return [record for record in _poll(self, timeout_s, max_records) if record.partition not in _forgotten]


KafkaConsumer.pause = pause_for_ever  # type: ignore[method-assign]
KafkaConsumer.poll = poll_others  # type: ignore[method-assign]

if __name__ == "__main__":
    main()
