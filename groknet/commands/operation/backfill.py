"""`groknet backfill`: tag all stored listings again, into the topic of another epoch."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter, validators

from groknet.change_over.computing import Spread
from groknet.change_over.fill_index import coverage_of, fill, refuse_whole_photos
from groknet.cli.exits import CommandError, Exit
from groknet.cli.options import EngineOption, HomeOption, JsonOption
from groknet.cli.terminal import json_line, note
from groknet.home.config import Loaded, load_config
from groknet.home.epochs import bundle_at, change_record, find_bundle, known_epochs, with_epoch
from groknet.home.paths import find_home
from groknet.run.open_back_ends import open_store, open_stream
from groknet.run.presence import first_epochs
from schemas.manifest import load_manifest
from workers.backfill import Progress
from workers.stores import Store


def backfill(
    *,
    epoch: Annotated[str | None, Parameter(help="A known epoch; `groknet epoch status` lists them.")] = None,
    bundle: Annotated[
        Path | None, Parameter(help="Folder of a bundle. Its epoch becomes known to every home on this store.")
    ] = None,
    rate: Annotated[
        float | None,
        Parameter(
            help="Most listings per second; 0 means no limit. Default: backfill.listings_per_s.",
            validator=validators.Number(gte=0),
        ),
    ] = None,
    whole_photos: Annotated[
        bool,
        Parameter(negative=(), help="Take a bundle without a detector on a home that finds products in photos."),
    ] = False,
    workers: Annotated[
        int | None,
        Parameter(
            help="Workers that fetch, decode and describe photos, one core each. Default: this process with all cores; "
            "on Ray one a core.",
            validator=validators.Number(gte=1),
        ),
    ] = None,
    engine: EngineOption = "pool",
    home: HomeOption = None,
    json: JsonOption = False,
) -> Exit:
    """Tag all stored listings again with another bundle, while the workers go on. Hashes go to the topic of its epoch.

    Photos are fetched again. Listings that the topic has already are left out. So you can stop a back-fill with Ctrl-C
    and run it again: it continues where it was, and adds what was stored meanwhile.

    With --workers or --engine ray, workers fetch, decode and describe photos. This process still reads the store, keeps
    --rate, writes and publishes, so run the command once for a store. A worker that dies costs the listings that it had
    in hand again. With --engine ray, all machines of the cluster that RAY_ADDRESS names must see the bundle, and photos
    in files, under the same paths, and must reach the photos' hosts. Without RAY_ADDRESS, Ray runs on this machine.

    `groknet run all` builds the index of the epoch beside the one in force; `groknet run indexer --bundle DIR --beside`
    does it elsewhere. Then `groknet epoch switch` makes the epoch the one in force. The exit code is 1 when listings
    failed that a second run may complete, and 130 when the back-fill was stopped before its end.

    --json writes one line: {"epoch", "total", "done", "removed", "lost", "failed", "coverage"}.
    """
    loaded = load_config(find_home(home).must_exist())
    if bundle is None and epoch is None:
        raise CommandError("give --bundle DIR, or --epoch with a known epoch", Exit.USAGE)
    spread = None
    if workers is not None or engine == "ray":
        spread = Spread(workers or os.cpu_count() or 1, engine)
    with open_stream(loaded, "backfill") as stream, open_store(loaded) as store:
        if bundle is not None and not whole_photos:
            refuse_whole_photos(loaded, known_epochs(loaded, store), bundle.absolute())
        folder, target = _target(loaded, store, bundle, epoch)
        stop = _stop_by_signal()
        done = fill(loaded, folder, stream=stream, store=store, rate=rate, stop=stop, quiet=json, spread=spread)
        share = coverage_of(target, stream=stream, store=store).share
    _report(target, done, share, json=json)
    if stop.is_set() and done.seen < done.total:
        return Exit.INTERRUPTED
    return Exit.FAILED if done.failed else Exit.OK


def _target(loaded: Loaded, store: Store, bundle: Path | None, epoch: str | None) -> tuple[Path, str]:
    """The bundle to tag with and its epoch, which is known afterwards."""
    if bundle is None:
        known = known_epochs(loaded, store)
        return find_bundle(loaded, known, str(epoch)), str(epoch)
    folder = bundle.absolute()
    named = load_manifest(folder).epoch
    if epoch not in (None, named):
        raise CommandError(f"--epoch {epoch}: the bundle is of epoch {named}", Exit.USAGE)
    here = bundle_at(folder)
    change_record(store, lambda known: with_epoch(known, named, here), lambda: first_epochs(loaded, store))
    return folder, named


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
    left = done.total - done.seen  # when the back-fill was stopped
    more = f"; {left} left: run it again" if left else ""
    print(
        f"epoch {epoch}: {done.done} tagged, {done.removed} removed, {done.lost} without an available photo, "
        f"{done.failed} failed{more}; coverage {share:.2%}"
    )
