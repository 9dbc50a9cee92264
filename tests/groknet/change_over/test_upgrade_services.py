"""`groknet upgrade` on real Kafka and Cassandra as the release before this one left them.

`old_keyspace.json` has the rows that that release's own code wrote into schema 1: a listing with two photos, one with a
bad photo, and a removed one. Topics, groups and `epochs.json` are made as it made them.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from deploy.local import Services, ServicesSettings
from groknet.change_over.upgrade import back, plan, upgrade
from groknet.cli.exits import CommandError
from groknet.home.config import Loaded, demo_bundle, load_config
from groknet.home.epochs import OLD_FILE, Bundle, Epochs, change_record, read_record
from groknet.home.paths import Home
from groknet.run.open_back_ends import open_store
from schemas.errors import ConfigError
from schemas.manifest import load_manifest
from schemas.predictions import RemovalMarker, StoredListing
from schemas.topics import RETRY_DELAYS_S, UPLOADED, source_topics, topics_for
from tests.conftest import QUICK_JAVA
from tests.contract import cassandra_keyspace
from tests.contract.backends import join, poll_until
from workers.stores import build_store
from workers.stores.cassandra import SCHEMA_VERSION, migrate, parse_cassandra_url, read_migrations, session_of
from workers.streams import Stream, TopicSpec, build_stream
from workers.tagger import GROUP, RETRY_GROUP

pytestmark = [
    pytest.mark.services,
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:(read|open)_text is deprecated:DeprecationWarning"),  # kafka-python 3.0.12
]

ROWS = Path(__file__).parent / "old_keyspace.json"
RETRY = next(iter(RETRY_DELAYS_S))
EPOCH = load_manifest(demo_bundle()).epoch


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Services]:
    """A broker of this module's own, because topics and groups have fixed names."""
    settings = ServicesSettings(brokers=1, nodes=0, java_options=QUICK_JAVA)
    with Services(tmp_path_factory.mktemp("broker"), settings) as running:
        yield running


@pytest.fixture
def keyspace(services: Services, tmp_path: Path) -> Iterator[str]:
    """A keyspace of schema 1 with the rows of the release before this one."""
    url = cassandra_keyspace.fresh_url(services)
    first = tmp_path / "cql"
    first.mkdir()
    shutil.copy(cassandra_keyspace.MIGRATIONS / "0001_add_listings.cql", first)
    settings = parse_cassandra_url(url)
    with session_of(settings) as session:
        migrate(session, settings, read_migrations(first))
    cassandra_keyspace.run_cql(url, *(_insert(row) for row in json.loads(ROWS.read_bytes())))
    yield url
    cassandra_keyspace.drop(url)


def _insert(row: dict) -> str:
    cells = dict(row["cells"])
    if "photo" in cells:
        mark, webp = cells["photo"]
        cells["photo"] = [mark, "0x" + webp.encode().hex()]
    text = json.dumps({**row["key"], **cells}).replace("'", "''")
    return f"INSERT INTO {{ks}}.{row['table']} JSON '{text}' DEFAULT UNSET USING TIMESTAMP {row['at']}"


@pytest.fixture
def old(keyspace: str, broker: Services, tmp_path: Path) -> Loaded:
    """The home of a tagger that had read three events and one of two retries."""
    home = Home(tmp_path / "home")
    home.root.mkdir()
    home.config_file.write_text(
        f'[stream]\nurl = "kafka://{broker.bootstrap}"\n[store]\nurl = "{keyspace}"\n', encoding="utf-8"
    )
    record = {"configured": str(demo_bundle()), "active": EPOCH, "bundles": {EPOCH: str(demo_bundle())}}
    (home.root / OLD_FILE).write_text(json.dumps({**record, "previous": None}))
    home.root.chmod(0o755)
    loaded = load_config(home, {})
    _run_the_old_tagger(build_stream(loaded.config.stream.url, "old"))
    return loaded


def _run_the_old_tagger(stream: Stream) -> None:
    """Topics, events and offsets as it left them: one group for uploads and retries alike."""
    with closing(stream.admin()) as admin:
        if UPLOADED in admin.topics():
            return  # another test of this module
        admin.ensure_topics(
            [TopicSpec(t.name, t.partitions, t.cleanup == "compact", t.retention_ms) for t in topics_for(EPOCH)]
        )
    producer = stream.producer()
    for n in range(3):
        producer.send(UPLOADED, b"listing-%d" % n, b"event")
    producer.send(RETRY, b"listing-0", b"tried")
    producer.flush(60)
    member = join(stream, GROUP, source_topics())
    poll_until([member], lambda: len(member.records) == 4, 60)
    member.consumer.commit({record.partition: record.next_offset for record in member.records})
    member.consumer.close()
    producer.send(RETRY, b"listing-0", b"waits")
    producer.close()


def _rows(url: str) -> list[list[tuple]]:
    tables = ("listings", "thumbnails")
    found = cassandra_keyspace.run_cql(url, *(f"SELECT * FROM {{ks}}.{table}" for table in tables))
    return [sorted(rows, key=repr) for rows in found]


def _retries_waiting(stream: Stream) -> list[bytes | None]:
    """What a tagger of this release finds in the retry topics at first."""
    member = join(stream, RETRY_GROUP, tuple(RETRY_DELAYS_S), GROUP)
    poll_until([member], lambda: bool(member.records), 60)
    member.consumer.close()
    return [record.value for record in member.records]


def test_a_dry_run_names_what_the_servers_lack_and_changes_nothing(old: Loaded) -> None:
    url = old.config.store.url
    before = _rows(url)
    steps = {step.step: step for step in plan(old)}
    assert {name for name, step in steps.items() if step.state == "to do"} == {"permissions", "tables", "epochs"}
    assert f"has schema 1, this build needs {SCHEMA_VERSION}" in steps["tables"].what
    assert _rows(url) == before
    with pytest.raises(ConfigError, match="schema 1"):
        build_store(url)


def test_everything_is_taken_over_and_the_way_back_is_open_until_the_epoch_changes(old: Loaded) -> None:
    url, given = old.config.store.url, (old.home.root / OLD_FILE).read_bytes()
    before = _rows(url)
    stream = build_stream(old.config.stream.url, "test")
    with closing(stream.admin()) as admin:
        committed = admin.committed(GROUP, UPLOADED)
    assert [step.state for step in upgrade(old)] == ["done"] * 5
    assert [step.state for step in plan(old)] == ["done"] * 5
    # tables
    with open_store(old) as store:
        found = store.get(["red-mug", "torn-bag", "blue-bowl"])
        thumbnail = store.thumbnail("red-mug", "2")
        record = read_record(store)
    mug, bag, bowl = found["red-mug"], found["torn-bag"], found["blue-bowl"]
    assert isinstance(mug, StoredListing)
    assert isinstance(bag, StoredListing)
    assert (mug.event.title, mug.event.images[1].data, mug.images[0].applies) == ("Red mug", b"inline bytes", None)
    assert mug.images[0].hash == "b01918d473704686bf7180c69e71d7d1a54d21f9a024404774f02e31f884bf5e"
    assert (bag.summary.status, [bad.image_id for bad in bag.summary.bad_images]) == ("partial", ["2"])
    assert bowl == RemovalMarker(listing_id="blue-bowl", event_time=1_790_000_000_000_007)
    assert thumbnail == b"webp of 2"
    assert record is not None
    assert record.epochs.active == EPOCH
    # topics and groups
    with closing(stream.admin()) as admin:
        assert admin.committed(GROUP, UPLOADED) == committed
        assert sum(committed.values()) == 3
    assert _retries_waiting(stream) == [b"waits"]
    # back again: the older release finds its rows and its file as it left them
    assert OLD_FILE in back(old).what
    assert (old.home.root / OLD_FILE).read_bytes() == given
    assert _rows(url) == before
    list(upgrade(old))
    with open_store(old) as store:
        change_record(store, _another, lambda: pytest.fail("there is a record"))
    with pytest.raises(CommandError, match="epoch ffffffffffff is in force now"):
        back(old)


def _another(epochs: Epochs) -> Epochs:
    bundles = {**epochs.bundles, "f" * 12: Bundle(location="elsewhere", digest="0" * 64)}
    return Epochs(active="f" * 12, previous=epochs.active, bundles=bundles)
