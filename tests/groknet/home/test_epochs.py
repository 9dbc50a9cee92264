"""The record of epochs in the store, where a home finds a bundle, the file of older versions, who is alive."""

from __future__ import annotations

import shutil
import threading
from pathlib import Path

import pytest

from groknet.cli.exits import CommandError
from groknet.home.config import load_config
from groknet.home.epochs import (
    Bundle,
    change_record,
    configured_epochs,
    find_bundle,
    in_force,
    known_epochs,
    read_record,
    switched,
    with_epoch,
    without_epoch,
)
from schemas.errors import BundleRefused
from tests.engines.tiny_bundle import tiny_graph, write_tiny_bundle
from tests.groknet.places import NEW, OLD, Place


def test_without_a_record_a_home_is_on_its_configured_bundle_and_with_one_on_the_stores(place: Place) -> None:
    one = place.home("one")
    assert in_force(one, place.store) == one
    assert known_epochs(one, place.store).active == OLD
    place.record(switched(place.both(), NEW))
    assert in_force(one, place.store).config.engine.bundle == str(place.new)
    assert in_force(one, place.store).configured == str(place.old)
    by_hand = load_config(one.home, {}, bundle=place.old)
    assert in_force(by_hand, place.store).config.engine.bundle == str(place.old)
    assert known_epochs(one, place.store).previous == OLD


def test_another_engine_bundle_counts_for_its_own_epoch_alone(place: Place, tmp_path: Path) -> None:
    place.record(switched(place.both(), NEW))
    retrained = tmp_path / "heads"  # another model of the epoch in force: its hashes may be compared
    write_tiny_bundle(retrained, tiny_graph(1), epoch=NEW, model_version="tiny-3")
    assert in_force(place.home("one", retrained), place.store).config.engine.bundle == str(retrained)
    assert in_force(place.home("two", place.old), place.store).config.engine.bundle == str(place.new)


def test_a_bundle_is_found_at_its_location_else_in_the_home_whole_and_unchanged(place: Place) -> None:
    one = place.home("one")
    epochs = place.both()
    spare = one.home.root / "bundles" / NEW
    assert find_bundle(one, epochs, NEW) == place.new
    away = place.new.rename(place.folder / "away")
    with pytest.raises(BundleRefused) as caught:
        find_bundle(one, epochs, NEW)
    assert f"no bundle in {place.new}; no bundle in {spare}; copy the bundle of epoch {NEW} to" in str(caught.value)
    spare.mkdir(parents=True)
    shutil.copy(away / "manifest.json", spare)
    with pytest.raises(BundleRefused, match=f"{spare}: files.*not in the bundle"):
        find_bundle(one, epochs, NEW)  # a copy that goes on
    shutil.copytree(away, spare, dirs_exist_ok=True)
    assert find_bundle(one, epochs, NEW) == spare
    write_tiny_bundle(place.new, tiny_graph(1), epoch=NEW, model_version="tiny-3")
    assert find_bundle(one, epochs, NEW) == spare
    shutil.rmtree(spare)
    with pytest.raises(BundleRefused, match=f"{place.new} holds another bundle"):
        find_bundle(one, epochs, NEW)
    with pytest.raises(CommandError, match="epoch 1234 is not known here"):
        find_bundle(one, epochs, "1234")


def test_changes_that_come_at_once_are_all_made(place: Place) -> None:
    first = configured_epochs(place.home("one"))
    names = [f"{n:012d}" for n in range(16)]
    threads = [
        threading.Thread(
            target=change_record,
            args=(place.store, lambda known, n=name: with_epoch(known, n, Bundle(location=n, digest=n)), lambda: first),
        )
        for name in names
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    record = read_record(place.store)
    assert record is not None
    assert (set(record.epochs.bundles), record.version) == ({OLD, *names}, len(names))


def test_a_change_that_changes_nothing_writes_nothing(place: Place) -> None:
    place.record(place.both())
    assert change_record(place.store, lambda known: switched(known, OLD), place.both) == place.both()
    record = read_record(place.store)
    assert record is not None
    assert record.version == 1
    with pytest.raises(CommandError, match="is in force"):
        change_record(place.store, lambda known: without_epoch(known, OLD), place.both)
