"""Remembers events from their taking to their last effect: in the journal, in the list of events in hand, in
offsets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from workers.stages.job import Job
from workers.tagger.completion.in_hand import InHand
from workers.tagger.completion.journal import Journal


@dataclass(frozen=True, slots=True)
class Completion:
    """What must be noted at the beginning and at the end of an event. Thread-safe.

    Every event passes `begin` before a stage touches it, and `finish` when all of its effects are durable. After that
    the lane that took it commits its offset, together with the offsets of all finished events before it.
    """

    journal: Journal
    in_hand: InHand

    def begin(self, jobs: Sequence[Job]) -> None:
        """Note that these events are about to be touched. From now on a crash counts as an attempt of each of them."""
        self.journal.start(*(job.record for job in jobs))
        self.in_hand.add(jobs)

    def finish(self, jobs: Sequence[Job]) -> None:
        """Note that all effects of these events are durable."""
        self.journal.finish(*(job.record for job in jobs))
        self.in_hand.remove(jobs)
        for job in jobs:
            if job.ticket is not None:
                job.ticket.finish()
