"""The workers in a change of the epoch: which cannot take part, which have not changed yet, and which do not follow."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import msgspec

from groknet.cli.exits import CommandError
from groknet.home.config import Loaded
from groknet.home.epochs import every_indexer
from groknet.home.running import Http
from groknet.run.presence import TTL_S, Presence, live_workers
from schemas.errors import Transient
from workers.indexer.wire import IndexAnswer
from workers.stores import Store

_LOOK_S = 0.2


def index_answers(loaded: Loaded) -> list[IndexAnswer]:
    """The answers of the indexers of a home. Those that do not answer are left out."""
    found = []
    for url in every_indexer(loaded.home, loaded.config.search.indexer_urls):
        try:
            status, body = Http(url, 5.0).request("GET", "/v1/index")
        except OSError:
            continue
        if status == 200:
            found.append(msgspec.convert(body, IndexAnswer))
    return found


def index_state(answers: Sequence[IndexAnswer]) -> str:
    """The state of the index: ready, stale, reading or none."""
    if not answers:
        return "none"
    if not all(one.ready for one in answers):
        return "reading"
    return "stale" if any(one.stale for one in answers) else "ready"


def refuse_obstacles(store: Store, epoch: str, say: Callable[[str], None]) -> None:
    """Return once every live worker that follows the epoch in force has said that it can run an epoch.

    Raises:
        CommandError: a worker cannot, or has not answered within 15 s. The message names it with the reason.
        Transient: the store does not answer.
    """
    deadline = time.monotonic() + TTL_S
    told = False
    while True:
        workers = [one for one in live_workers(store) if one.follows]
        silent = [one for one in workers if epoch not in one.bundles and one.epoch != epoch]
        if not silent or time.monotonic() >= deadline:
            break
        if not told:
            say(f"waiting for {_names(silent)} to say whether they can run epoch {epoch}")
            told = True
        time.sleep(_LOOK_S)
    reasons = [f"{one.label}: {one.bundles[epoch]}" for one in workers if one.bundles.get(epoch)]
    reasons += [f"{one.label}: has not said whether it can" for one in silent]
    if reasons:
        raise CommandError(f"not every live worker can run epoch {epoch}; {'; '.join(reasons)}")


def not_there(workers: Sequence[Presence], epoch: str) -> list[Presence]:
    """The workers that follow and do not run the epoch yet."""
    return [one for one in workers if one.follows and one.epoch != epoch]


def stay_apart(workers: Sequence[Presence], epoch: str) -> list[Presence]:
    """The taggers and search services that run another epoch and do not follow, because of `--bundle`."""
    return [one for one in workers if one.kind != "indexer" and not one.follows and one.epoch != epoch]


def wait_for_all(store: Store, epoch: str, wait_s: float, say: Callable[[str], None]) -> list[Presence]:
    """Wait until every live worker that follows runs the epoch, at most `wait_s` seconds. Returns the workers that do
    not run it yet.

    A worker that has not announced itself for 15 s is taken to have ended. Raises Transient if the store does not
    answer at the end of that time.
    """
    deadline = time.monotonic() + wait_s
    late: list[Presence] = []
    told = ""
    while True:
        try:
            late = not_there(live_workers(store), epoch)
            if not late:
                return []
            text = f"not on epoch {epoch} yet: {_names(late)}"
        except Transient as error:
            if time.monotonic() >= deadline:
                raise
            text = str(error)
        if text != told:
            say(text)
            told = text
        if time.monotonic() >= deadline:
            return late
        time.sleep(_LOOK_S)


def _names(workers: Sequence[Presence]) -> str:
    return ", ".join(one.label for one in workers)
