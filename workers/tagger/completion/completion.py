"""What remembers that events are through: the journal of crashes first, then the offsets that may be committed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from workers.stages.job import Job
from workers.tagger.completion.in_hand import InHand
from workers.tagger.completion.journal import Journal


@dataclass(frozen=True, slots=True)
class Completion:
    """Events from their taking to their last effect. Thread-safe.

    Every event goes through `begin` before it is touched, and through `finish` once all of its effects are durable.
    The lane that took it commits its offset after that, with the end of the unbroken run of finished ones.
    """

    journal: Journal
    in_hand: InHand

    def begin(self, jobs: Sequence[Job]) -> None:
        """These events are about to be touched: a crash from here on counts as an attempt of each."""
        self.journal.start(*(job.record for job in jobs))
        self.in_hand.add(jobs)

    def finish(self, jobs: Sequence[Job]) -> None:
        """All effects of these events are durable."""
        self.journal.finish(*(job.record for job in jobs))
        self.in_hand.remove(jobs)
        for job in jobs:
            if job.ticket is not None:
                job.ticket.finish()
