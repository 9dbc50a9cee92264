"""`groknet upgrade` on a home that the release before this one left behind (tests/groknet/change_over/old_home)."""

from __future__ import annotations

import json
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from groknet.change_over.upgrade import back, plan, upgrade
from groknet.cli.exits import CommandError, Exit
from groknet.home.config import Loaded, demo_bundle, load_config
from groknet.home.epochs import OLD_FILE, Bundle, Epochs, change_record, read_record
from groknet.home.paths import Home
from groknet.home.running import Lock
from groknet.run.open_back_ends import open_store
from schemas.manifest import load_manifest
from schemas.predictions import RemovalMarker, StoredListing
from schemas.topics import UPLOADED, topics_for
from tests.groknet.conftest import Call
from workers.streams import build_stream

LEFT = Path(__file__).parent / "old_home"
SHARED = {"settings", "workers", "blobs", "probes", "expiring", "products", "memberships"}


@pytest.fixture
def old(tmp_path: Path) -> Loaded:
    """The home, with the record of its epoch as that release kept it."""
    home = Home(tmp_path / "home")
    shutil.copytree(LEFT, home.root)
    home.root.chmod(0o755)
    bundle = demo_bundle()
    epoch = load_manifest(bundle).epoch
    record = {"configured": str(bundle), "active": epoch, "bundles": {epoch: str(bundle)}, "previous": None}
    (home.root / OLD_FILE).write_text(json.dumps(record))
    return load_config(home, {})


def tables(loaded: Loaded, name: str) -> set[str]:
    with closing(sqlite3.connect(loaded.home.root / name)) as db:
        return {table for (table,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}


def contents(loaded: Loaded) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in loaded.home.root.iterdir() if path.is_file()}


def test_the_home_is_of_the_release_before_this_one(old: Loaded) -> None:
    assert {"latest", "rows", "thumbnails"} <= tables(old, "store.db")
    assert not SHARED & tables(old, "store.db")


def test_a_dry_run_says_what_there_is_to_do_and_changes_nothing(old: Loaded) -> None:
    before = contents(old)
    found = {step.step: step for step in plan(old)}
    to_do = [name for name, step in found.items() if step.state == "to do"]
    assert to_do == ["permissions", "tables", "epochs", "topics"]
    assert all(table in found["tables"].what for table in SHARED)
    after = contents(old)
    assert {name: body for name, body in after.items() if not name.endswith(("-shm", "-wal"))} == before


def test_it_takes_everything_over_once(old: Loaded) -> None:
    assert [step.state for step in upgrade(old)] == ["done"] * 5
    assert tables(old, "store.db") >= SHARED
    assert not (old.home.root / OLD_FILE).exists()
    assert old.home.root.stat().st_mode & 0o077 == 0
    assert [step.state for step in plan(old)] == ["done"] * 5
    before = contents(old)
    assert [step.state for step in upgrade(old)] == ["done"] * 5
    assert contents(old).keys() == before.keys()


def test_what_was_stored_is_still_there(old: Loaded) -> None:
    list(upgrade(old))
    with open_store(old) as store:
        found = store.get(["red-mug", "blue-bowl"])
        record = read_record(store)
    mug, bowl = found["red-mug"], found["blue-bowl"]
    assert isinstance(mug, StoredListing)
    assert mug.summary.status == "complete"
    assert [image.hash for image in mug.images if image.hash]
    assert isinstance(bowl, RemovalMarker)
    assert record is not None
    assert record.epochs.active == load_manifest(demo_bundle()).epoch


def test_the_groups_go_on_where_they_were(old: Loaded) -> None:
    stream = build_stream(old.config.stream.url, "test")
    with closing(stream.admin()) as admin:
        before = admin.committed("tagger", UPLOADED), admin.end_offsets(UPLOADED)
    list(upgrade(old))
    with closing(stream.admin()) as admin:
        assert (admin.committed("tagger", UPLOADED), admin.end_offsets(UPLOADED)) == before
        assert sum(before[0].values()) == sum(before[1].values()) == 3  # two listings and a removal, all finished
        assert {topic.name for topic in topics_for(load_manifest(demo_bundle()).epoch)} <= admin.topics()


def test_another_number_of_partitions_is_refused_and_the_rest_is_left(old: Loaded) -> None:
    with closing(sqlite3.connect(old.home.root / "stream.db")) as db, db:
        db.execute("UPDATE topics SET partitions = 4 WHERE name = ?", (UPLOADED,))
    steps = list(upgrade(old))
    assert (steps[-1].step, steps[-1].state) == ("topics", "refused")
    assert UPLOADED in steps[-1].what


def test_it_waits_for_no_worker_to_run(old: Loaded) -> None:
    lock = Lock(old.home.make(), "tagger")
    with pytest.raises(CommandError, match="tagger still runs"):
        list(upgrade(old))
    lock.release()
    assert [step.state for step in upgrade(old)] == ["done"] * 5


def test_the_way_back_is_open_until_another_epoch_is_in_force(old: Loaded) -> None:
    given = (old.home.root / OLD_FILE).read_bytes()
    list(upgrade(old))
    assert OLD_FILE in back(old).what
    assert (old.home.root / OLD_FILE).read_bytes() == given
    list(upgrade(old))
    with open_store(old) as store:
        change_record(store, _another, lambda: pytest.fail("there is a record"))
    with pytest.raises(CommandError, match="epoch ffffffffffff is in force now"):
        back(old)
    assert not (old.home.root / OLD_FILE).exists()


def _another(epochs: Epochs) -> Epochs:
    bundles = {**epochs.bundles, "f" * 12: Bundle(location="elsewhere", digest="0" * 64)}
    return Epochs(active="f" * 12, previous=epochs.active, bundles=bundles)


def test_the_command_prints_a_line_for_each_step(groknet: Call, old: Loaded) -> None:
    home = str(old.home.root)
    dry = groknet("upgrade", "--home", home, "--dry-run")
    assert (dry.code, dry.out.count("to do ")) == (Exit.OK, 4)
    done = groknet("upgrade", "--home", home, "--json")
    assert [json.loads(line)["state"] for line in done.out.splitlines()] == ["done"] * 5
    again = groknet("upgrade", "--home", home, "--back")
    assert (again.code, OLD_FILE in again.out) == (Exit.OK, True)
    missing = groknet("upgrade", "--home", home + "-none")
    assert missing.code == Exit.NOT_FOUND
