"""A back-fill by the settings of a home, in one process and on workers, with a detector in the bundle."""

from __future__ import annotations

import io
import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from msgspec import structs
from PIL import Image

from groknet.change_over.computing import Spread, computing
from groknet.cli.exits import Exit
from groknet.home.config import Loaded, load_config
from groknet.home.paths import Home
from schemas.errors import ConfigError
from schemas.events import ImageRef, ListingEvent
from schemas.predictions import StoredListing, Summary
from tests.detectors import SIDE, light, with_bright_detector
from tests.engines.tiny_bundle import tiny_graph, write_tiny_bundle
from tests.groknet.conftest import Call
from tests.groknet.places import NEW, until
from workers.stores import Store, build_store

BASE_US = 1_700_000_000_000_000
OLD = "0123456789ab"


@pytest.fixture
def old(tmp_path: Path) -> Path:
    write_tiny_bundle(tmp_path / "old")
    return tmp_path / "old"


@pytest.fixture
def new(tmp_path: Path) -> Path:
    write_tiny_bundle(tmp_path / "new", tiny_graph(1), epoch=NEW, model_version="tiny-2")
    return with_bright_detector(tmp_path / "new", tmp_path)


def home_of(folder: Path, bundle: Path) -> Loaded:
    Home(folder).make()
    (folder / "groknet.toml").write_text(f'[engine]\nbundle = "{bundle}"\n[backfill]\nlistings_at_once = 2\n')
    return load_config(Home(folder), {})


def add(store: Store, listing: int) -> None:
    """A listing with two photos: one with as many bright cells as its number says, one without any."""
    images, rng = [], np.random.default_rng(listing)
    for place, cells in enumerate((listing, 0)):
        pixels, file = rng.integers(20, 90, (SIDE, SIDE, 3)).astype(np.uint8), io.BytesIO()
        for cell in range(cells):
            light(pixels, 3 * cell, 255 - 5 * cell)
        Image.fromarray(pixels).save(file, "PNG")
        images.append(ImageRef(image_id=str(place), data=file.getvalue()))
    event = ListingEvent(event_id="e", listing_id=f"shop/{listing}", event_time=BASE_US, type="updated", images=images)
    summary = Summary(status="empty", predictions={}, bad_images=[])
    stored = StoredListing(
        listing_id=event.listing_id,
        event_time=BASE_US,
        model_version="tiny-1",
        epoch=OLD,
        event=event,
        summary=summary,
        images=[],
        stored_at=BASE_US,
    )
    store.write(stored, {})


def rows_of(store: Store, epoch: str) -> dict[str, Any]:
    """The rows, the summary and the first thumbnail of each listing of an epoch."""
    states = [one for one in store.scan() if isinstance(one, StoredListing) and one.epoch == epoch]
    return {one.listing_id: (one.images, one.summary, store.thumbnail(one.listing_id, "0")) for one in states}


@pytest.mark.slow
def test_workers_back_fill_what_one_process_does_with_the_detector_of_the_bundle(
    old: Path, new: Path, tmp_path: Path, groknet: Call
) -> None:
    found = {}
    for name, more in (("here", ()), ("pool", ("--workers", 2))):
        loaded = home_of(tmp_path / name, old)
        store = build_store(loaded.config.store.url)
        for listing in range(5):
            add(store, listing)
        words = ("backfill", "--home", tmp_path / name, "--bundle", new, "--rate", 0, "--json", *more)
        done = groknet(*words)
        assert (done.code, done.json["done"], done.json["coverage"]) == (Exit.OK, 5, 1.0), done.err
        found[name] = rows_of(store, done.json["epoch"])
        assert groknet(*words).json["total"] == 0
        store.close()
    assert [len(rows) for rows, _, _ in found["here"].values()] == [2, 2, 3, 4, 5]  # at most four boxes a photo
    assert found["pool"] == found["here"]


@pytest.mark.slow
def test_a_back_fill_that_is_stopped_says_so_by_its_exit_code(old: Path, new: Path, tmp_path: Path) -> None:
    """At so low a rate it never comes to its end by itself."""
    loaded = home_of(tmp_path / "home", old)
    store = build_store(loaded.config.store.url)
    for listing in range(5):
        add(store, listing)
    words = ("backfill", "--home", tmp_path / "home", "--bundle", new, "--rate", "0.01", "--json")
    process = subprocess.Popen([sys.executable, "-m", "groknet", *map(str, words)], stdout=subprocess.PIPE, text=True)
    until(lambda: any(isinstance(one, StoredListing) and one.epoch != OLD for one in store.scan()))
    process.send_signal(signal.SIGINT)
    said, _ = process.communicate(timeout=60)
    store.close()
    assert process.returncode == Exit.INTERRUPTED
    counts = json.loads(said)
    assert 0 < counts["done"] < counts["total"] == 5


def test_an_engine_of_the_gpu_stays_in_one_process(old: Path, tmp_path: Path) -> None:
    loaded = home_of(tmp_path / "home", old)
    config = structs.replace(loaded.config, engine=structs.replace(loaded.config.engine, backend="tensorrt"))
    on_gpu = Loaded(config, loaded.home)
    with (
        pytest.raises(ConfigError, match=r"engine\.backend: tensorrt .*leave out --workers"),
        computing(on_gpu, old, config.backfill, Spread(2, "pool")),
    ):
        pass
