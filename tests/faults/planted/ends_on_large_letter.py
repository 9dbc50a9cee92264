"""A planted bug: a tagger ends on a dead letter that its topic does not take whole. The judge must name who ended."""

from __future__ import annotations

from typing import Any

from groknet.cli import main
from schemas.topics import RETRY_DELAYS_S
from tests.faults.ladder import DELAYS_S
from tests.faults.large import TOPIC_TAKES
from workers.stages.failures import Failures
from workers.streams.base import Record

RETRY_DELAYS_S.update(DELAYS_S)
_dead_letter = Failures.dead_letter


def whole_or_nothing(self: Failures, record: Record, *args: Any, **more: Any) -> Any:
    if len(record.value or b"") > TOPIC_TAKES:
        raise RuntimeError("the dead letter is larger than its topic takes")
    return _dead_letter(self, record, *args, **more)


Failures.dead_letter = whole_or_nothing  # type: ignore[method-assign]

if __name__ == "__main__":
    main()
