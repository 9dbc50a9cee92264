"""`groknet backfill`: what is stored, tagged again into another epoch's topic."""

from __future__ import annotations

import signal
import threading
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter, validators
from msgspec import structs

from engines.recognition import build_engine
from groknet.config import load_config
from groknet.epochs import read_epochs, with_epoch, write_epochs
from groknet.exits import CommandError, Exit
from groknet.home import find_home
from groknet.options import HomeOption, JsonOption
from groknet.ports import make_epoch_topics, open_store, open_stream
from groknet.terminal import json_line, note
from groknet.terminal import progress as progress_bar
from schemas.manifest import load_manifest
from workers.backfill import Progress, build_backfill, measure
from workers.intake import Intake


def backfill(
    *,
    epoch: Annotated[
        str | None, Parameter(help="An epoch that is known here, `groknet epoch status` names them.")
    ] = None,
    bundle: Annotated[Path | None, Parameter(help="A bundle, whose epoch it becomes known here.")] = None,
    rate: Annotated[
        float | None,
        Parameter(
            help="Listings a second at most, 0: no bound; else backfill.listings_per_s.",
            validator=validators.Number(gte=0),
        ),
    ] = None,
    home: HomeOption = None,
    json: JsonOption = False,
) -> Exit:
    """Tag all that is stored again with another bundle, into the hash topic of its epoch, beside the live workers.

    Photos are fetched again. What the topic has already is left out, so that a back-fill that was stopped (Ctrl-C
    finishes what is in hand) goes on where it was, and one that is run again adds what came meanwhile. The index of
    the epoch is built beside the one in force by `groknet run all`, or by `groknet run indexer --bundle DIR --beside`;
    `groknet epoch switch` changes over to it. Exit 1 when listings failed that a second run may get.

    --json writes one line: {"epoch", "total", "done", "removed", "lost", "failed", "coverage"}.
    """
    place = find_home(home).must_exist()
    loaded = load_config(place)
    known = read_epochs(place, loaded.configured)
    if bundle is None and epoch is None:
        raise CommandError("give --bundle DIR, or --epoch of one that is known here", Exit.USAGE)
    folder = str(bundle.absolute()) if bundle else known.named(str(epoch))
    manifest = load_manifest(Path(folder))
    if epoch not in (None, manifest.epoch):
        raise CommandError(f"--epoch {epoch}: the bundle is of epoch {manifest.epoch}", Exit.USAGE)
    if known.bundles.get(manifest.epoch) != folder:
        write_epochs(place, with_epoch(known, manifest.epoch, folder))
    settings = loaded.config.backfill
    if rate is not None:
        settings = structs.replace(settings, listings_per_s=rate)
    section = loaded.config.engine
    engine = build_engine(Path(folder), section.backend, section.threads, section.max_batch)
    try:
        with open_stream(loaded, "backfill") as stream, open_store(loaded) as store:
            make_epoch_topics(stream, manifest.epoch)
            run = build_backfill(
                settings, stream=stream, store=store, engine=engine, intake=Intake(loaded.config.intake)
            )
            with progress_bar(quiet=json) as bar:
                task = bar.add_task(f"epoch {manifest.epoch}", total=None)
                done = run.run(_stop_by_signal(), lambda p: bar.update(task, total=p.total, completed=p.seen))
            admin = stream.admin()
            share = measure(store, admin, manifest.epoch).share
            admin.close()
    finally:
        engine.close()
    _report(manifest.epoch, done, share, json=json)
    return Exit.FAILED if done.failed else Exit.OK


def _stop_by_signal() -> threading.Event:
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    return stop


def _report(epoch: str, done: Progress, share: float, *, json: bool) -> None:
    if json:
        counts = {"epoch": epoch, "total": done.total, "done": done.done, "removed": done.removed}
        json_line({**counts, "lost": done.lost, "failed": done.failed, "coverage": round(share, 6)})
        return
    for line in done.named:
        note(line)
    left = done.total - done.seen
    more = f"; {left} left: run it again" if left else ""
    print(
        f"epoch {epoch}: {done.done} tagged, {done.removed} removed, {done.lost} without a photo that can be had, "
        f"{done.failed} failed{more}; coverage {share:.2%}"
    )
