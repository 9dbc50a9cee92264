"""Logs what a rebalance changed for a member, in one line."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable

from workers.streams.base import Partition

_log = logging.getLogger(__name__)


class Changes:
    """Collects the changes of an assignment until they are logged."""

    def __init__(self, worker: str, group: str) -> None:
        self._who = f"{worker}, a member of group {group}"
        self._gathered: dict[str, set[Partition]] = {}

    def add(self, verb: str, partitions: Iterable[Partition]) -> None:
        """Note a change. `verb` is what the member did: got, gave up, lost."""
        self._gathered.setdefault(verb, set()).update(partitions)

    def tell(self, held: Collection[Partition]) -> None:
        """Log one line at INFO if there was a change. `held`: the partitions that the member has now."""
        if not self._gathered:
            return
        changes = "; ".join(f"{verb} {named(partitions)}" for verb, partitions in self._gathered.items())
        self._gathered = {}
        plural = "" if len(held) == 1 else "s"
        _log.info("%s, %s; it holds %d partition%s now", self._who, changes, len(held), plural)


def named(partitions: Iterable[Partition]) -> str:
    """The partitions as text: `listings.uploaded 0-3 and 7, listings.hashes 1`."""
    by_topic: dict[str, list[int]] = {}
    for topic, number in sorted(partitions):
        by_topic.setdefault(topic, []).append(number)
    return ", ".join(f"{topic} {_runs(numbers)}" for topic, numbers in by_topic.items())


def _runs(numbers: list[int]) -> str:
    runs: list[list[int]] = []
    for number in numbers:
        if runs and runs[-1][-1] == number - 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    texts = [str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs]
    return " and ".join(filter(None, (", ".join(texts[:-1]), texts[-1])))
