"""`groknet epoch`: which epochs there are, how much each covers, and changing over between them."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from cyclopts import App, Parameter, validators
from rich.table import Table

from groknet.config import Loaded, load_config
from groknet.epochs import Epochs, every_indexer, read_epochs, switched, without_epoch, write_epochs
from groknet.exits import CommandError, Exit
from groknet.home import find_home
from groknet.options import HomeOption, JsonOption
from groknet.ports import open_store, open_stream
from groknet.services import Http
from groknet.terminal import json_line, stdout
from workers.backfill import Coverage, measure
from workers.indexer.wire import IndexAnswer

app = App(
    name="epoch", help="Hash spaces: which there are, how much each covers, changing over.", help_format="plaintext"
)


@app.command
def status(*, home: HomeOption = None, json: JsonOption = False) -> Exit:
    """Show every epoch of this home: its bundle, how much of the store its topic covers, and its index.

    --json writes a line each: {"epoch", "active", "previous", "bundle", "wanted", "covered", "gone", "share",
    "indexed", "index"}, with the index ready, stale, reading or none.
    """
    loaded, epochs = _opened(home)
    answers = _indexes(loaded)
    rows: list[dict[str, Any]] = []
    for epoch, bundle in epochs.bundles.items():
        coverage = _coverage(loaded, epoch)
        mine = [one for one in answers if one.epoch == epoch]
        row = {"epoch": epoch, "active": epoch == epochs.active, "previous": epoch == epochs.previous, "bundle": bundle}
        counts = {"wanted": coverage.wanted, "covered": coverage.covered, "gone": coverage.gone}
        indexed = sum(one.listings for one in mine)
        rows.append({**row, **counts, "share": round(coverage.share, 6), "indexed": indexed, "index": _state(mine)})
    if json:
        for row in rows:
            json_line(row)
        return Exit.OK
    table = Table("epoch", "", "coverage", "listings", "index", "bundle", box=None)
    for line in rows:
        mark = "in force" if line["active"] else "before" if line["previous"] else ""
        listings = f"{line['covered']} of {line['wanted']}"
        table.add_row(line["epoch"], mark, f"{line['share']:.2%}", listings, line["index"], line["bundle"])
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
) -> Exit:
    """Change search and taggers over to an epoch that covers enough of the store and whose index is ready.

    A running search service answers on until it has loaded the other bundle and reached its index, then changes over
    between two requests. Running taggers drain and end, for their supervisor to start them with the other bundle; what
    was uploaded meanwhile, `groknet backfill` adds. `groknet epoch back` undoes it.
    """
    loaded, epochs = _opened(home)
    return _switch(loaded, epochs, epoch, loaded.config.backfill.min_coverage if min_coverage is None else min_coverage)


@app.command
def back(*, home: HomeOption = None) -> Exit:
    """Change over to the epoch that was in force before, whatever it covers; its index must be ready.

    What was uploaded since the switch is not in it: `groknet backfill --epoch` of it adds that.
    """
    loaded, epochs = _opened(home)
    if epochs.previous is None:
        raise CommandError("no epoch was in force before this one", Exit.NOT_FOUND)
    return _switch(loaded, epochs, epochs.previous, 0.0)


@app.command
def forget(
    epoch: Annotated[str, Parameter(help="An epoch that is not in force.")], /, *, home: HomeOption = None
) -> Exit:
    """Leave an epoch alone from now on: `groknet run all` ends its index. Its topic and snapshot stay as they are, so
    that `groknet backfill --bundle` brings it back."""
    loaded, epochs = _opened(home)
    write_epochs(loaded.home, without_epoch(epochs, epoch))
    print(f"epoch {epoch} is forgotten")
    return Exit.OK


def _opened(home: HomeOption) -> tuple[Loaded, Epochs]:
    place = find_home(home).must_exist()
    loaded = load_config(place)
    return loaded, read_epochs(place, loaded.configured)


def _switch(loaded: Loaded, epochs: Epochs, epoch: str, least: float) -> Exit:
    epochs.named(epoch)
    coverage = _coverage(loaded, epoch)
    if coverage.share < least:
        text = f"epoch {epoch} covers {coverage.share:.2%} of the store, {least:.2%} are asked for"
        raise CommandError(f"{text}; run `groknet backfill --epoch {epoch}`, or give --min-coverage")
    state = _state([one for one in _indexes(loaded) if one.epoch == epoch])
    if state not in ("ready", "stale"):
        text = f"the index of epoch {epoch} is not ready ({state})"
        raise CommandError(f"{text}; start it with `groknet run indexer --bundle {epochs.bundles[epoch]} --beside`")
    write_epochs(loaded.home, switched(epochs, epoch))
    print(f"epoch {epoch} is in force, at {coverage.share:.2%} coverage")
    return Exit.OK


def _coverage(loaded: Loaded, epoch: str) -> Coverage:
    with open_stream(loaded, "epoch") as stream, open_store(loaded) as store:
        admin = stream.admin()
        try:
            return measure(store, admin, epoch)
        finally:
            admin.close()


def _indexes(loaded: Loaded) -> list[IndexAnswer]:
    """What the indexers that answer say of themselves."""
    found = []
    for url in every_indexer(loaded.home, loaded.config.search.indexer_urls):
        try:
            status, body = Http(url, 5.0).request("GET", "/v1/index")
        except OSError:
            continue
        if status == 200:
            found.append(msgspec.convert(body, IndexAnswer))
    return found


def _state(answers: list[IndexAnswer]) -> str:
    if not answers:
        return "none"
    if not all(one.ready for one in answers):
        return "reading"
    return "stale" if any(one.stale for one in answers) else "ready"
