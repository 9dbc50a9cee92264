"""The back-fill of one epoch with the settings of a home, for `groknet backfill` and `groknet epoch switch`."""

from __future__ import annotations

import threading
from pathlib import Path

from msgspec import structs

from groknet.cli.terminal import progress as progress_bar
from groknet.home.config import Loaded
from groknet.home.detecting import open_detector
from groknet.home.hidden_heads import check_hidden_heads
from groknet.run.fastest import open_engine
from groknet.run.open_back_ends import make_topics, wanted_topics
from schemas.manifest import load_manifest
from workers.backfill import Coverage, Progress, build_backfill, measure
from workers.intake import Intake
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
) -> Progress:
    """Tag the listings that the topic of an epoch lacks, with the epoch's bundle in `folder`. On a terminal it shows a
    progress bar on stderr.

    `rate`: listings a second, instead of `backfill.listings_per_s`; 0 means no limit. Setting `stop` ends it early.

    Raises:
        BundleRefused: the bundle cannot be used.
        ConfigError: `tagger.hidden_heads` names a head that the bundle does not have.
        Transient: the store or the stream does not answer. Run it again later; it continues where it stopped.
    """
    settings = loaded.config.backfill
    if rate is not None:
        settings = structs.replace(settings, listings_per_s=rate)
    check_hidden_heads(loaded.config, folder, ["tagger"])
    epoch = load_manifest(folder).epoch
    engine = open_engine(loaded, folder)
    detector = None
    try:
        detector = open_detector(loaded, folder)
        make_topics(stream, wanted_topics(loaded, epoch))
        run = build_backfill(
            settings,
            stream=stream,
            store=store,
            engine=engine,
            intake=Intake(loaded.config.intake),
            hidden_heads=loaded.config.tagger.hidden_heads,
            keep_margins=loaded.config.tagger.keep_margins,
            detector=detector,
        )
        with progress_bar(quiet=quiet) as bar:
            task = bar.add_task(f"epoch {epoch}", total=None)
            return run.run(
                threading.Event() if stop is None else stop,
                lambda now: bar.update(task, total=now.total, completed=now.seen),
            )
    finally:
        engine.close()
        if detector is not None:
            detector.close()


def coverage_of(epoch: str, *, stream: Stream, store: Store, before: int | None = None) -> Coverage:
    """How much of the store an epoch's topic covers. `before` is in UTC µs, as for `workers.backfill.measure`."""
    admin = stream.admin()
    try:
        return measure(store, admin, epoch, before)
    finally:
        admin.close()
