"""The back-fill of one epoch with the settings of a home, for `groknet backfill` and `groknet epoch switch`."""

from __future__ import annotations

import threading
from pathlib import Path

from msgspec import structs

from groknet.change_over.computing import Spread, computing
from groknet.cli.exits import CommandError, Exit
from groknet.cli.terminal import progress as progress_bar
from groknet.home.config import Loaded
from groknet.home.epochs import Epochs, find_bundle
from groknet.home.hidden_heads import check_hidden_heads
from groknet.run.open_back_ends import make_topics, wanted_topics
from schemas.errors import BundleRefused
from schemas.manifest import load_manifest
from workers.backfill import Coverage, Progress, build_backfill, measure
from workers.stores import Store
from workers.streams import Stream


def fill(
    loaded: Loaded,
    folder: Path,
    *,
    stream: Stream,
    store: Store,
    rate: float | None = None,
    stop: threading.Event | None = None,
    quiet: bool = False,
    spread: Spread | None = None,
) -> Progress:
    """Tag the listings that the topic of an epoch lacks, with the epoch's bundle in `folder`. On a terminal it shows a
    progress bar on stderr.

    `rate`: listings a second, instead of `backfill.listings_per_s`; 0 means no limit. Setting `stop` ends it early.
    `spread`: fetch, decode and describe photos on workers. Without it this process does, with all cores.

    Raises:
        BundleRefused: the bundle cannot be used.
        ConfigError: `tagger.hidden_heads` names a head that the bundle does not have, or the engine cannot run on
            workers.
        Transient: the store or the stream does not answer. Run it again later; it continues where it stopped.
    """
    settings = loaded.config.backfill
    if rate is not None:
        settings = structs.replace(settings, listings_per_s=rate)
    check_hidden_heads(loaded.config, folder, ["tagger"])
    epoch = load_manifest(folder).epoch
    with computing(loaded, folder, settings, spread) as found:
        make_topics(stream, wanted_topics(loaded, epoch))
        run = build_backfill(settings, stream=stream, store=store, manifest=found.manifest, tag=found.tag)
        with progress_bar(quiet=quiet, time_left=True) as bar:
            task = bar.add_task(f"epoch {epoch}", total=None)
            return run.run(
                threading.Event() if stop is None else stop,
                lambda now: bar.update(task, total=now.total, completed=now.seen),
            )


def refuse_whole_photos(loaded: Loaded, known: Epochs, folder: Path) -> None:
    """Refuse a bundle without a detector on a home that finds products in photos: after the switch its listings would
    be described whole, and most people who forget the detector do not notice. A bundle of a known epoch is let through.

    Raises:
        CommandError: the bundle is refused; the message has the remedy.
        BundleRefused: there is no bundle in the folder.
    """
    manifest = load_manifest(folder)
    if manifest.detection or manifest.epoch in known.bundles:
        return
    why = _detects(loaded, known)
    if why:
        text = f"--bundle {folder}: it has no detector, but this home finds products in photos ({why})"
        join = "join both with `groknet bundle with-detector BUNDLE DETECTOR --out NEW` and back-fill NEW"
        raise CommandError(f"{text}; {join}, or add --whole-photos to describe whole photos from now on", Exit.USAGE)


def _detects(loaded: Loaded, known: Epochs) -> str:
    """Why the photos of a home are searched for products; empty if they are not, or if nobody here can tell."""
    if loaded.config.detect.mode != "off":
        return f"detect.mode = {loaded.config.detect.mode!r}"
    try:
        active = load_manifest(find_bundle(loaded, known, known.active))
    except BundleRefused:
        return ""
    return f"the bundle of epoch {known.active}, which is in force, has a detector" if active.detection else ""


def coverage_of(epoch: str, *, stream: Stream, store: Store, before: int | None = None) -> Coverage:
    """How much of the store an epoch's topic covers. `before` is in UTC µs, as for `workers.backfill.measure`."""
    admin = stream.admin()
    try:
        return measure(store, admin, epoch, before)
    finally:
        admin.close()
