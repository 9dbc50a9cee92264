"""The file of older versions: taken over once into the store, and until then nothing starts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from groknet.cli.exits import Exit
from groknet.home.config import Loaded
from groknet.home.epochs import (
    Epochs,
    bundle_at,
    in_force,
    known_epochs,
    read_record,
)
from groknet.run.presence import first_epochs
from schemas.errors import ConfigError
from tests.engines.tiny_bundle import tiny_graph, write_tiny_bundle
from tests.groknet.conftest import Call
from tests.groknet.places import NEW, OLD, Place


def old_file(loaded: Loaded, active: str, bundles: dict[str, Path]) -> Path:
    """As an older version wrote it."""
    file = loaded.home.root / "epochs.json"
    named = {epoch: str(folder) for epoch, folder in bundles.items()}
    file.write_text(json.dumps({"configured": loaded.configured, "active": active, "bundles": named, "previous": OLD}))
    return file


def test_migrate_takes_the_old_file_over_and_until_then_nothing_starts(groknet: Call, place: Place) -> None:
    one, two = place.home("one"), place.home("two")
    file = old_file(one, NEW, {OLD: place.old, NEW: place.new})
    for call in (in_force, known_epochs, first_epochs):
        with pytest.raises(ConfigError, match=f"{file}: .*groknet store migrate"):
            call(one, place.store)
    for command in (("run", "tagger"), ("run", "search", "--port", "0"), ("run", "all"), ("epoch", "status")):
        answer = groknet(*command, "--home", one.home.root)
        assert (answer.code, "groknet store migrate" in answer.err) == (Exit.USAGE, True)
    migrated = groknet("store", "migrate", "--home", one.home.root)
    assert (migrated.code, f"epoch {NEW} is in force" in migrated.err) == (Exit.OK, True)
    record = read_record(place.store)
    assert record is not None
    assert record.epochs == Epochs(
        active=NEW, previous=OLD, bundles={OLD: bundle_at(place.old), NEW: bundle_at(place.new)}
    )
    assert not file.exists()
    assert file.with_name("epochs.json.migrated").exists()
    assert in_force(one, place.store).config.engine.bundle == str(place.new)

    same = old_file(two, NEW, {OLD: place.old, NEW: place.new})
    assert groknet("store", "migrate", "--home", two.home.root).code == Exit.OK
    assert (read_record(place.store), same.exists()) == (record, False)
    other = old_file(two, OLD, {OLD: place.old})
    refused = groknet("store", "migrate", "--home", two.home.root)
    assert refused.code == Exit.USAGE
    assert f"epoch {OLD} is in force there, and {NEW} in the store" in refused.err
    assert (read_record(place.store), other.exists()) == (record, True)
    write_tiny_bundle(place.folder / "third", tiny_graph(2), epoch=NEW, model_version="tiny-3")
    old_file(two, NEW, {NEW: place.folder / "third"})
    refused = groknet("store", "migrate", "--home", two.home.root)
    assert refused.code == Exit.USAGE
    assert str(place.folder / "third") in refused.err
    assert str(place.new) in refused.err


def test_an_old_file_that_was_not_in_force_or_cannot_be_read(groknet: Call, place: Place) -> None:
    one = place.home("one")
    file = old_file(one, NEW, {NEW: place.new})
    place.home("one", place.new)  # engine.bundle was changed by hand afterwards
    assert groknet("store", "migrate", "--home", one.home.root).code == Exit.OK
    assert (read_record(place.store), file.exists()) == (None, False)
    file.write_text("{")
    answer = groknet("store", "migrate", "--home", one.home.root)
    assert (answer.code, str(file) in answer.err) == (Exit.USAGE, True)
    old_file(place.home("one"), NEW, {NEW: place.folder / "gone"})
    answer = groknet("store", "migrate", "--home", one.home.root)
    assert (answer.code, str(place.folder / "gone") in answer.err) == (Exit.USAGE, True)
