"""A planted bug: the consumer of group `tagger` reads the retry topics as well, so that one tagger may have all live
partitions and another the retries alone. The judge must call that uneven."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from groknet.cli import main
from schemas.topics import RETRY_DELAYS_S, source_topics
from tests.faults.groups import LIVE_GROUP
from tests.faults.ladder import DELAYS_S
from workers.streams.kafka import KafkaConsumer

RETRY_DELAYS_S.update(DELAYS_S)
_init = KafkaConsumer.__init__


def subscribe_to_all(self: KafkaConsumer, group: str, topics: Sequence[str], *args: Any, **more: Any) -> None:
    _init(self, group, source_topics() if group == LIVE_GROUP else topics, *args, **more)


KafkaConsumer.__init__ = subscribe_to_all  # type: ignore[method-assign]

if __name__ == "__main__":
    main()
