"""A planted bug: every offset counts as finished the moment it is taken. The oracle must catch what it loses."""

from __future__ import annotations

from groknet.cli import main
from workers.streams.base import Record
from workers.tagger.completion import offsets

_take = offsets.PartitionOffsets.take


def take_and_finish(self: offsets.PartitionOffsets, record: Record) -> offsets.Ticket:
    ticket = _take(self, record)
    self.finish(ticket)
    return ticket


offsets.PartitionOffsets.take = take_and_finish  # type: ignore[method-assign]

if __name__ == "__main__":
    main()
