"""The record of epochs in the store, where a home finds a bundle, the file of older versions, who is alive."""

from __future__ import annotations

import json
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pytest

from groknet.change_over.participants import not_there, refuse_obstacles, stay_apart, wait_for_all
from groknet.cli.exits import CommandError, Exit
from groknet.home.config import Loaded, load_config
from groknet.home.epochs import (
    Bundle,
    Epochs,
    bundle_at,
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
from groknet.home.paths import Home
from groknet.run.presence import Follower, Presence, Watch, first_epochs, live_workers
from schemas.errors import BundleRefused, ConfigError, Transient
from tests.engines.tiny_bundle import HEADS, tiny_graph, write_tiny_bundle
from tests.groknet.conftest import Call
from workers.stores import Store, build_store

OLD, NEW = "0123456789ab", "aaaaaaaaaaaa"
PATIENCE_S = 60.0


@dataclass
class Place:
    """Bundles `old` and `new`, and homes on one store."""

    folder: Path
    store: Store
    old: Path
    new: Path

    def home(self, name: str, bundle: Path | None = None) -> Loaded:
        root = self.folder / name
        Home(root).make()
        url = f"sqlite://{self.folder}/store.db"
        (root / "groknet.toml").write_text(f'[store]\nurl = "{url}"\n[engine]\nbundle = "{bundle or self.old}"\n')
        return load_config(Home(root), {})

    def both(self) -> Epochs:
        return Epochs(active=OLD, bundles={OLD: bundle_at(self.old), NEW: bundle_at(self.new)})

    def record(self, epochs: Epochs) -> None:
        change_record(self.store, lambda _: epochs, lambda: epochs)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    write_tiny_bundle(tmp_path / "old")
    write_tiny_bundle(tmp_path / "new", tiny_graph(1), epoch=NEW, model_version="tiny-2")
    store = build_store(f"sqlite://{tmp_path}/store.db")
    yield Place(tmp_path, store, tmp_path / "old", tmp_path / "new")
    store.close()


def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def old_file(loaded: Loaded, active: str, bundles: dict[str, Path]) -> Path:
    """As an older version wrote it."""
    file = loaded.home.root / "epochs.json"
    named = {epoch: str(folder) for epoch, folder in bundles.items()}
    file.write_text(json.dumps({"configured": loaded.configured, "active": active, "bundles": named, "previous": OLD}))
    return file


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


def test_the_first_record_is_refused_while_another_home_runs_another_epoch(place: Place) -> None:
    one = place.home("one")
    place.store.announce("x", msgspec.json.encode(presence(epoch=NEW, home="/srv/two")), 60)
    with pytest.raises(CommandError, match=r"tagger of /srv/two on box \(epoch aaaaaaaaaaaa\)"):
        first_epochs(one, place.store)
    place.store.announce("x", msgspec.json.encode(presence(epoch=NEW, follows=False)), 60)
    assert first_epochs(one, place.store).active == OLD


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


def presence(epoch: str = OLD, home: str = "/srv/one", **given: object) -> Presence:
    fields = {"kind": "tagger", "name": "tagger", "host": "box", "pid": 1, "url": "", "since": 0.0, "follows": True}
    return Presence(**{**fields, "epoch": epoch, "home": home, **given})


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


def test_a_switch_is_refused_by_name_and_waits_by_name(place: Place) -> None:
    said: list[str] = []
    refuse_obstacles(place.store, NEW, said.append)
    assert wait_for_all(place.store, NEW, 0, said.append) == []

    def announce(**given: object) -> None:
        place.store.announce("x", msgspec.json.encode(presence(**given)), 60)

    place.store.announce("newer", b'{"of": "a later version"}', 60)  # what is not known is not asked
    announce(bundles={OLD: "", NEW: "no bundle in /x"})
    with pytest.raises(CommandError, match="tagger of /srv/one on box: no bundle in /x"):
        refuse_obstacles(place.store, NEW, said.append)
    announce(bundles={OLD: "", NEW: ""})
    refuse_obstacles(place.store, NEW, said.append)
    assert [one.home for one in wait_for_all(place.store, NEW, 0, said.append)] == ["/srv/one"]
    assert said == [f"not on epoch {NEW} yet: tagger of /srv/one on box"]

    announce(bundles={OLD: ""})  # it has not seen the other epoch yet
    arrives = threading.Timer(0.5, announce, kwargs={"bundles": {OLD: "", NEW: ""}})
    arrives.start()
    refuse_obstacles(place.store, NEW, said.append)
    arrives.join()
    changes = threading.Timer(0.5, announce, kwargs={"epoch": NEW})
    changes.start()
    assert wait_for_all(place.store, NEW, PATIENCE_S, said.append) == []
    changes.join()
