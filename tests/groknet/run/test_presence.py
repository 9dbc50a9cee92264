"""What a running worker announces, and the record as it last read it: whatever the store does, the worker runs on."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import msgspec
import pytest

from groknet.change_over.participants import not_there, refuse_obstacles, stay_apart
from groknet.cli.exits import CommandError
from groknet.home.config import DetectSection, load_config
from groknet.home.detecting import bundle_with_detector
from groknet.home.epochs import (
    Epochs,
    bundle_at,
    switched,
)
from groknet.home.paths import Home
from groknet.run.presence import Follower, Watch, first_epochs, live_workers
from schemas.errors import Transient
from schemas.manifest import load_manifest
from tests.engines.detection.test_combine import detector
from tests.engines.tiny_bundle import HEADS, tiny_graph, write_tiny_bundle
from tests.groknet.places import NEW, OLD, Place, presence, until
from workers.stores import Store, build_store


def test_the_first_record_is_refused_while_another_home_runs_another_epoch(place: Place) -> None:
    one = place.home("one")
    place.store.announce("x", msgspec.json.encode(presence(epoch=NEW, home="/srv/two")), 60)
    with pytest.raises(CommandError, match=r"tagger of /srv/two on box \(epoch aaaaaaaaaaaa\)"):
        first_epochs(one, place.store)
    place.store.announce("x", msgspec.json.encode(presence(epoch=NEW, follows=False)), 60)
    assert first_epochs(one, place.store).active == OLD


@pytest.mark.slow
def test_a_follower_outlives_its_store_and_says_what_it_sees(place: Place) -> None:
    one = place.home("one")
    tries: list[int] = []
    own = build_store(f"sqlite://{place.folder}/store.db")

    def open_store() -> Store:
        tries.append(1)
        if len(tries) < 3:
            raise Transient("store", "no_node", "away") if len(tries) == 1 else RuntimeError("a fault of ours")
        return own

    follower = Follower(one, "tagger", "tagger", open_store, obstacle=lambda epoch: f"no index of {epoch}")
    follower.start()
    until(lambda: [w.epoch for w in live_workers(place.store)] == [OLD])
    (told,) = live_workers(place.store)
    assert (told.kind, told.name, told.home, told.follows) == ("tagger", "tagger", str(one.home.root), True)
    assert follower.wanted == place.old
    place.record(place.both())
    until(lambda: live_workers(place.store)[0].bundles == {OLD: "", NEW: f"no index of {NEW}"})
    away = place.new.rename(place.folder / "away")
    until(lambda: f"no bundle in {place.new}" in live_workers(place.store)[0].bundles[NEW])
    place.record(switched(_moved(place, away), NEW))
    until(lambda: follower.epochs is not None and follower.epochs.active == NEW)
    assert follower.wanted == place.old, "it cannot have the other one yet"
    away.rename(place.new)
    until(lambda: follower.wanted == place.new)
    follower.runs(place.new)
    until(lambda: [w.epoch for w in live_workers(place.store)] == [NEW])
    follower.close()
    assert live_workers(place.store) == []
    own.close()


def _moved(place: Place, away: Path) -> Epochs:
    """The record as it was, whose bundle is elsewhere now."""
    here = msgspec.structs.replace(bundle_at(away), location=str(place.new))
    return Epochs(active=OLD, bundles={OLD: bundle_at(place.old), NEW: here})


def test_a_store_that_goes_away_leaves_what_was_read_last(place: Place) -> None:
    place.record(place.both())
    own = build_store(f"sqlite://{place.folder}/store.db")
    watch = Watch(lambda: own, owned=False)
    watch.start()
    until(lambda: watch.epochs is not None)
    own.close()
    until(lambda: "closed" in watch._fault or "close" in watch._fault)
    assert watch.epochs == place.both()
    watch.close()
    Watch(lambda: own, owned=False).close()  # one that was never started


def test_an_indexer_and_a_worker_with_a_bundle_of_its_own_do_not_follow(place: Place) -> None:
    place.record(switched(place.both(), NEW))
    one = place.home("one")
    by_hand = load_config(one.home, {}, bundle=place.old)
    for kind, loaded in (("indexer", one), ("search", by_hand)):
        follower = Follower(loaded, kind, kind, lambda: place.store)
        follower.start()
        until(lambda kind=kind: kind in [w.kind for w in live_workers(place.store)])
        assert follower.wanted == place.old
        follower.stay_announced()
        follower.close()
    indexer, search = live_workers(place.store)
    assert (indexer.follows, search.follows) == (False, False)
    assert not_there([indexer, search], NEW) == []
    assert stay_apart([indexer, search], NEW) == [search], "an indexer holds its epoch as long as it lives"


def test_a_bundle_without_a_hidden_head_is_an_obstacle_and_the_worker_stays(place: Place, tmp_path: Path) -> None:
    """The tagger hides the words, which the new bundle does not have; the search hides the colour, which both have."""
    shutil.rmtree(place.new)
    write_tiny_bundle(place.new, tiny_graph(1), epoch=NEW, model_version="tiny-2", heads=HEADS[:1])
    hidden = {"GROKNET__TAGGER__HIDDEN_HEADS": '["words"]', "GROKNET__SEARCH__HIDDEN_HEADS": '["colour"]'}
    loaded = load_config(place.home("one").home, hidden)
    place.record(place.both())
    followers = [Follower(loaded, kind, kind, lambda: place.store) for kind in ("tagger", "search")]
    for follower in followers:
        follower.start()
    until(lambda: [bool(w.bundles) for w in live_workers(place.store)] == [True, True])
    search, tagger = sorted(live_workers(place.store), key=lambda worker: worker.kind)
    assert search.bundles == {OLD: "", NEW: ""}
    assert "tagger.hidden_heads" in tagger.bundles[NEW]
    with pytest.raises(CommandError, match=r"tagger of .*tagger\.hidden_heads.*'words'.*colour"):
        refuse_obstacles(place.store, NEW, lambda _: None)
    place.record(switched(place.both(), NEW))
    until(lambda: followers[1].wanted == place.new)
    until(lambda: followers[0].epochs is not None and followers[0].epochs.active == NEW)
    assert followers[0].wanted == place.old
    for follower in followers:
        follower.close()


def test_a_worker_that_starts_removes_joined_bundles_that_nothing_names(place: Place) -> None:
    """The record names one folder, a worker of another home runs another one, and one of an earlier version says no
    folder."""
    one = place.home("one")
    names = [f"{epoch}-{'0' * 12}" for epoch in ("1" * 12, "2" * 12, "3" * 12, "4" * 12)]
    folders = [one.home.root / "bundles" / name for name in names]
    for folder in folders:
        shutil.copytree(place.old, folder)
        os.utime(folder, (1e9, 1e9))
    place.record(Epochs(active=OLD, bundles={OLD: bundle_at(place.old), NEW: bundle_at(folders[0])}))
    announced = [presence(home="/srv/two", bundle=str(folders[1])), presence("3" * 12, home="/srv/three")]
    for number, worker in enumerate(announced):
        place.store.announce(str(number), msgspec.json.encode(worker), 60)
    follower = Follower(one, "indexer", "indexer", lambda: place.store)
    follower.start()
    until(lambda: not folders[3].exists())
    follower.close()
    assert [folder.is_dir() for folder in folders] == [True, True, True, False]


def test_a_bundle_that_finds_products_is_an_obstacle_for_a_tagger_that_decodes_in_processes(
    place: Place, tmp_path: Path
) -> None:
    detector(tmp_path / "finder")
    detect = DetectSection(mode="subject", bundle=str(tmp_path / "finder"))
    both = bundle_with_detector(Home(tmp_path), place.new, detect)
    epoch = load_manifest(both).epoch
    record = Epochs(active=OLD, bundles={OLD: bundle_at(place.old), epoch: bundle_at(both)})
    place.record(record)
    loaded = load_config(place.home("one").home, {"GROKNET__TAGGER__DECODE_PROCESSES": "1"})
    followers = [Follower(loaded, kind, kind, lambda: place.store) for kind in ("tagger", "search")]
    for follower in followers:
        follower.start()
    until(lambda: [bool(w.bundles) for w in live_workers(place.store)] == [True, True])
    search, tagger = sorted(live_workers(place.store), key=lambda worker: worker.kind)
    assert search.bundles == {OLD: "", epoch: ""}
    assert tagger.bundles[OLD] == ""
    assert "set decode_processes = 0" in tagger.bundles[epoch]
    place.record(switched(record, epoch))
    until(lambda: followers[1].wanted == both)
    until(lambda: followers[0].epochs is not None and followers[0].epochs.active == epoch)
    assert followers[0].wanted == place.old
    for follower in followers:
        follower.close()
