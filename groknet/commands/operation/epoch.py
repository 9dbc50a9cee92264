"""`groknet epoch`: which epochs there are, how much each covers, and changing over between them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, Parameter, validators
from rich.table import Table

from groknet.change_over.fill_index import coverage_of, fill
from groknet.change_over.participants import (
    index_answers,
    index_state,
    not_there,
    refuse_obstacles,
    stay_apart,
    wait_for_all,
)
from groknet.cli.exits import CommandError, Exit
from groknet.cli.options import HomeOption, JsonOption
from groknet.cli.terminal import json_line, note, stdout
from groknet.home.config import Loaded, load_config
from groknet.home.epochs import Epochs, change_record, find_bundle, known_epochs, switched, without_epoch
from groknet.home.paths import find_home
from groknet.run.open_back_ends import open_store, open_stream
from groknet.run.presence import Presence, first_epochs, live_workers
from schemas.errors import BundleRefused
from workers.stores import Store
from workers.streams import Stream

app = App(
    name="epoch", help="Hash spaces: which there are, how much each covers, changing over.", help_format="plaintext"
)
WaitOption = Annotated[
    float,
    Parameter(
        name="--wait",
        help="Seconds to wait until every live worker runs the epoch.",
        validator=validators.Number(gte=0),
    ),
]
_ROUNDS = 3  # a worker that was just starting on the old epoch announces itself after the first
WAIT_S = 120.0  # a tagger drains for 25 s at most and loads its engine in seconds, TensorRT in some tens


@dataclass(frozen=True, slots=True)
class _Opened:
    loaded: Loaded
    store: Store
    stream: Stream
    epochs: Epochs


@app.command
def status(*, home: HomeOption = None, json: JsonOption = False) -> Exit:
    """Show every epoch that the store knows, and every live worker of every home with the epoch that it runs.

    Of an epoch: its bundle, how much of the store its topic covers, and its index on this home. Of a worker: whether
    it follows the epoch in force, and which other epochs it could not run, with the reason.

    --json writes a line for each epoch: {"epoch", "active", "previous", "bundle", "wanted", "covered", "gone",
    "share", "indexed", "index"}, with the index ready, stale, reading or none; then a line for each worker: {"worker",
    "kind", "home", "host", "pid", "url", "since", "runs", "follows", "cannot"}.
    """
    with _open(home) as opened:
        rows = _epoch_rows(opened)
        workers = live_workers(opened.store)
    if json:
        for row in [*rows, *map(_worker_row, workers)]:
            json_line(row)
        return Exit.OK
    table = Table("epoch", "", "coverage", "listings", "index", "bundle", box=None)
    for line in rows:
        mark = "in force" if line["active"] else "before" if line["previous"] else ""
        listings = f"{line['covered']} of {line['wanted']}"
        table.add_row(line["epoch"], mark, f"{line['share']:.2%}", listings, line["index"], line["bundle"])
    stdout().print(table)
    if workers:
        table = Table("worker", "runs", "", box=None)
        for one in workers:
            table.add_row(one.label, one.epoch, _remark(one, opened.epochs.active))
        stdout().print(table)
    return Exit.OK


@app.command
def switch(
    epoch: Annotated[str, Parameter(help="An epoch that `groknet epoch status` names.")],
    /,
    *,
    home: HomeOption = None,
    min_coverage: Annotated[
        float | None,
        Parameter(
            name="--min-coverage",
            help="Share of the store that it must hold, 0 to 1; else backfill.min_coverage.",
            validator=validators.Number(gte=0, lte=1),
        ),
    ] = None,
    wait: WaitOption = WAIT_S,
    json: JsonOption = False,
) -> Exit:
    """Change search and taggers of every home on this store over to an epoch, with nothing missing at the end.

    It is refused while a live worker cannot run the epoch, which is named with the reason. Then: what the epoch lacks
    is tagged; the epoch is put in force; a running search service changes over between two requests, a running tagger
    drains and starts anew with the other bundle; this command waits for each of them, and tags at the end what the old
    model has tagged meanwhile. Workers that were started with --bundle stay as they are and are named. Exit 1 when
    workers are missing after --wait: the epoch stays in force, and the same command again goes on waiting. `groknet
    epoch back` undoes it.

    --json writes one line: {"epoch", "coverage", "filled", "late", "apart"}; the last two name workers.
    """
    with _open(home) as opened:
        opened.epochs.named(epoch)
        least = opened.loaded.config.backfill.min_coverage if min_coverage is None else min_coverage
        _refuse(opened, epoch)
        filled = _cover(opened, epoch, least)
        return _change_over(opened, epoch, wait, filled, json=json)


@app.command
def back(*, home: HomeOption = None, wait: WaitOption = WAIT_S, json: JsonOption = False) -> Exit:
    """Change over to the epoch that was in force before, at once and whatever it covers; its index must be ready.

    What was uploaded since the switch is tagged afterwards. Otherwise, and in its output, it is as `groknet epoch
    switch`.
    """
    with _open(home) as opened:
        if opened.epochs.previous is None:
            raise CommandError("no epoch was in force before this one", Exit.NOT_FOUND)
        _refuse(opened, opened.epochs.previous)
        return _change_over(opened, opened.epochs.previous, wait, 0, json=json)


@app.command
def forget(
    epoch: Annotated[str, Parameter(help="An epoch that is not in force.")], /, *, home: HomeOption = None
) -> Exit:
    """Leave an epoch alone from now on: `groknet run all` of every home ends its index. Its topic and snapshot stay as
    they are, so that `groknet backfill --bundle` brings it back."""
    loaded = load_config(find_home(home).must_exist())
    with open_store(loaded) as store:
        change_record(store, lambda known: without_epoch(known, epoch), lambda: first_epochs(loaded, store))
    print(f"epoch {epoch} is forgotten")
    return Exit.OK


@contextmanager
def _open(home: Path | None) -> Iterator[_Opened]:
    loaded = load_config(find_home(home).must_exist())
    with open_stream(loaded, "epoch") as stream, open_store(loaded) as store:
        yield _Opened(loaded, store, stream, known_epochs(loaded, store))


def _refuse(opened: _Opened, epoch: str) -> None:
    """Raise CommandError while something stands in the way of a change to an epoch."""
    try:
        find_bundle(opened.loaded, opened.epochs, epoch)
    except BundleRefused as why:
        raise CommandError(f"this home cannot tag for epoch {epoch}: {why}") from None
    refuse_obstacles(opened.store, epoch, note)
    state = index_state([one for one in index_answers(opened.loaded) if one.epoch == epoch])
    if state not in ("ready", "stale"):
        bundle = opened.epochs.named(epoch).location
        text = f"the index of epoch {epoch} is not ready ({state})"
        raise CommandError(f"{text}; start it with `groknet run indexer --bundle {bundle} --beside`")


def _cover(opened: _Opened, epoch: str, least: float) -> int:
    """Tag what an epoch lacks as of now; the listings tagged. Raises CommandError when it then covers too little of
    what was stored before: uploads that came meanwhile are tagged after the change."""
    began = time.time_ns() // 1000
    filled = _fill(opened, epoch)
    coverage = coverage_of(epoch, stream=opened.stream, store=opened.store, before=began)
    if coverage.share < least:
        text = f"epoch {epoch} covers {coverage.share:.2%} of the store, {least:.2%} are asked for"
        raise CommandError(
            f"{text}; run `groknet backfill --epoch {epoch}` to see what it lacks, or give --min-coverage"
        )
    return filled


def _change_over(opened: _Opened, epoch: str, wait_s: float, filled: int, *, json: bool) -> Exit:
    store = opened.store
    change_record(store, lambda known: switched(known, epoch), lambda: first_epochs(opened.loaded, store))
    note(f"epoch {epoch} is in force")
    for _ in range(_ROUNDS):
        late = wait_for_all(store, epoch, wait_s, note)
        filled += _fill(opened, epoch)
        if late or not not_there(live_workers(store), epoch):
            break
    share = coverage_of(epoch, stream=opened.stream, store=store).share
    apart = stay_apart(live_workers(store), epoch)
    if json:
        names = {"late": [one.label for one in late], "apart": [one.label for one in apart]}
        json_line({"epoch": epoch, "coverage": round(share, 6), "filled": filled, **names})
    else:
        print(f"epoch {epoch} is in force, at {share:.2%} coverage; {filled} listings were tagged for it")
    for one in apart:
        note(f"{one.label} stays on epoch {one.epoch}, since it was started with --bundle; what it tags is not found")
    for one in late:
        note(f"{one.label} still runs epoch {one.epoch}{_why(one, epoch)}")
    if late:
        note(f"run `groknet epoch switch {epoch}` again to wait on, and to tag what was uploaded meanwhile")
    return Exit.FAILED if late else Exit.OK


def _fill(opened: _Opened, epoch: str) -> int:
    """Tag what an epoch lacks, where it lacks anything; returns the listings tagged or removed."""
    coverage = coverage_of(epoch, stream=opened.stream, store=opened.store)
    lacking = coverage.wanted - coverage.covered + coverage.gone
    if not lacking:
        return 0
    note(f"tagging {lacking} listings that epoch {epoch} lacks")
    folder = find_bundle(opened.loaded, opened.epochs, epoch)
    done = fill(opened.loaded, folder, stream=opened.stream, store=opened.store)
    for line in done.named:
        note(line)
    return done.done + done.removed


def _epoch_rows(opened: _Opened) -> list[dict[str, Any]]:
    answers = index_answers(opened.loaded)
    rows = []
    for epoch, bundle in opened.epochs.bundles.items():
        coverage = coverage_of(epoch, stream=opened.stream, store=opened.store)
        mine = [one for one in answers if one.epoch == epoch]
        marks = {"active": epoch == opened.epochs.active, "previous": epoch == opened.epochs.previous}
        counts = {"wanted": coverage.wanted, "covered": coverage.covered, "gone": coverage.gone}
        index = {"indexed": sum(one.listings for one in mine), "index": index_state(mine)}
        share = round(coverage.share, 6)
        rows.append({"epoch": epoch, **marks, "bundle": bundle.location, **counts, "share": share, **index})
    return rows


def _worker_row(one: Presence) -> dict[str, Any]:
    process = {"home": one.home, "host": one.host, "pid": one.pid, "url": one.url, "since": one.since}
    cannot = {epoch: why for epoch, why in one.bundles.items() if why}
    return {
        "worker": one.name,
        "kind": one.kind,
        **process,
        "runs": one.epoch,
        "follows": one.follows,
        "cannot": cannot,
    }


def _remark(one: Presence, active: str) -> str:
    if not_there([one], active):
        return f"not on the epoch in force yet{_why(one, active)}"
    if stay_apart([one], active):
        return "started with --bundle: does not follow"
    return "; ".join(f"cannot run {epoch}: {why}" for epoch, why in one.bundles.items() if why)


def _why(one: Presence, epoch: str) -> str:
    why = one.bundles.get(epoch)
    return f": {why}" if why else ""
