"""`groknet epoch`: show which epochs there are and what each covers, and switch from one to another."""

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

app = App(name="epoch", help="Show hash epochs, and switch from one to another.", help_format="plaintext")
WaitOption = Annotated[
    float,
    Parameter(
        name="--wait",
        help="How many seconds to wait until every live worker runs the epoch.",
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
    """Show every epoch that the store knows, and every live worker of every home with its epoch.

    An epoch is listed with its bundle, the share of the stored listings that its topic covers, and the state of its
    index in this home. A worker is listed with its epoch, and with the epochs that it cannot run and why.

    --json writes one line for each epoch: {"epoch", "active", "previous", "bundle", "wanted", "covered", "gone",
    "share", "indexed", "index"}. The index is ready, stale, reading or none. Then comes one line for each worker:
    {"worker", "kind", "home", "host", "pid", "url", "since", "runs", "follows", "cannot"}.
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
    epoch: Annotated[str, Parameter(help="An epoch that `groknet epoch status` lists.")],
    /,
    *,
    home: HomeOption = None,
    min_coverage: Annotated[
        float | None,
        Parameter(
            name="--min-coverage",
            help="Share of the stored listings that the epoch must cover, 0 to 1. Default: backfill.min_coverage.",
            validator=validators.Number(gte=0, lte=1),
        ),
    ] = None,
    wait: WaitOption = WAIT_S,
    json: JsonOption = False,
) -> Exit:
    """Switch search and taggers of every home on this store to an epoch. No listing is missing at the end.

    The switch is refused while a live worker cannot run the epoch. The message names that worker and the reason.

    First, listings that the epoch lacks are tagged. Then the epoch is put in force. A running search service changes
    between two requests. A running tagger finishes its work and starts again with the new bundle. The command waits
    for all workers, and finally tags the listings that the old model tagged in the meantime. Workers that were started
    with --bundle do not change; the command names them.

    The exit code is 1 when workers have not changed within --wait. The epoch stays in force. Run the same command again
    to wait longer. `groknet epoch back` reverses a switch.

    --json writes one line: {"epoch", "coverage", "filled", "late", "apart"}. The last two are lists of workers.
    """
    with _open(home) as opened:
        opened.epochs.named(epoch)
        least = opened.loaded.config.backfill.min_coverage if min_coverage is None else min_coverage
        _refuse(opened, epoch)
        filled = _cover(opened, epoch, least)
        return _change_over(opened, epoch, wait, filled, json=json)


@app.command
def back(*, home: HomeOption = None, wait: WaitOption = WAIT_S, json: JsonOption = False) -> Exit:
    """Switch back to the epoch that was in force before. Its index must be ready.

    This happens at once, whatever the epoch covers. Listings that were uploaded since the switch are tagged afterwards.
    Everything else, the output too, is as for `groknet epoch switch`.
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
    """Forget an epoch. `groknet run all` stops its index in every home.

    The topic and the snapshot of the epoch are kept, so `groknet backfill --bundle` can bring it back.
    """
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
        root = opened.loaded.home.root
        text = f"no index of epoch {epoch} is ready on this home, {root} ({state})"
        remedy = f"start it with `groknet run indexer --home {root} --bundle {bundle} --beside`"
        raise CommandError(f"{text}; {remedy}, or switch from a home that has it")


def _cover(opened: _Opened, epoch: str, least: float) -> int:
    """Tag the listings that an epoch lacks now, and return how many.

    Raises CommandError when the epoch then covers too few of the listings that were stored before. Later uploads do not
    count: they are tagged after the change.
    """
    began = time.time_ns() // 1000
    filled = _fill(opened, epoch)
    coverage = coverage_of(epoch, stream=opened.stream, store=opened.store, before=began)
    if coverage.share < least:
        text = f"epoch {epoch} covers {coverage.share:.2%} of the store, but must cover {least:.2%}"
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
        note(f"{one.label} stays on epoch {one.epoch}: started with --bundle; searches do not find what it tags")
    for one in late:
        note(f"{one.label} still runs epoch {one.epoch}{_why(one, epoch)}")
    if late:
        note(f"run `groknet epoch switch {epoch}` again to wait longer, and to tag what was uploaded in the meantime")
    return Exit.FAILED if late else Exit.OK


def _fill(opened: _Opened, epoch: str) -> int:
    """Tag the listings that an epoch lacks. Returns how many were tagged or removed."""
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
