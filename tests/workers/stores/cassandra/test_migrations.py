"""Migrations on a real node, and one sentence with the remedy for each way in which a keyspace is not as needed."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from groknet.cli import run
from groknet.cli.exits import Exit
from schemas.errors import ConfigError, Transient
from tests.contract.cassandra_keyspace import MIGRATIONS, make, run_cql
from tests.contract.test_store_contract import effects, event, timeless
from workers.stores import build_store
from workers.stores.cassandra import (
    SCHEMA_VERSION,
    Migration,
    check_schema,
    migrate,
    parse_cassandra_url,
    read_migrations,
    session_of,
)

LAST = SCHEMA_VERSION
ALL = list(range(1, LAST + 1))


def after(last: int) -> str:
    """The number, as in a file's name, of a migration that comes so many after the last one."""
    return f"{LAST + last:04}"


def apply(url: str, folder: Path, **options: Any) -> list[Migration]:
    settings = parse_cassandra_url(url)
    with session_of(settings) as session:
        return migrate(session, settings, read_migrations(folder), **options)


def applied(url: str) -> dict[int, str]:
    settings = parse_cassandra_url(url)
    with session_of(settings) as session:
        return check_schema(session, settings)


def copy_of(tmp_path: Path, **more: str) -> Path:
    """The migrations of the repository with some more after them: `_NNNN_kind_name` to CQL."""
    folder = tmp_path / "cql"
    folder.mkdir(exist_ok=True)
    for path in MIGRATIONS.glob("*.cql"):
        (folder / path.name).write_text(path.read_text())
    for name, text in more.items():
        (folder / f"{name[1:]}.cql").write_text(text)
    return folder


def columns(url: str) -> set[str]:
    text = "SELECT column_name FROM system_schema.columns WHERE keyspace_name = '{ks}' AND table_name = 'listings'"
    return {name for (name,) in run_cql(url, text)[0]}


def test_the_code_knows_the_last_migration() -> None:
    assert [migration.version for migration in read_migrations(MIGRATIONS)] == list(range(1, SCHEMA_VERSION + 1))


@pytest.mark.parametrize(
    ("name", "text", "word"),
    [
        (f"{after(1)}_listings", "", "NNNN_add_NAME"),
        (f"{after(1)}_alter_listings", "", "NNNN_add_NAME"),
        (f"{after(2)}_add_more", "", "numbered"),
        ("0001_add_again", "", "numbered"),
        (f"{after(1)}_add_more", "CREATE TABLE {keyspace}.t (a int PRIMARY KEY)", "IF NOT EXISTS"),
    ],
)
def test_files_that_cannot_be_migrations_are_refused(tmp_path: Path, name: str, text: str, word: str) -> None:
    with pytest.raises(ConfigError, match=word):
        read_migrations(copy_of(tmp_path, **{f"_{name}": text}))


@pytest.mark.services
def test_migrating_again_changes_nothing_and_brings_back_what_was_dropped(fresh: str) -> None:
    first = apply(fresh, MIGRATIONS)
    assert [migration.version for migration in first] == ALL
    store = build_store(fresh)
    store.write(*effects(event("l", 1)))
    assert apply(fresh, MIGRATIONS) == []
    assert timeless(store.get(["l"])["l"]) == effects(event("l", 1))[0]
    store.close()
    run_cql(fresh, "DROP TABLE {ks}.thumbnails")
    with pytest.raises(ConfigError, match=r"thumbnails .*groknet store migrate"):
        build_store(fresh)
    assert apply(fresh, MIGRATIONS) == []
    build_store(fresh).close()


@pytest.mark.services
def test_two_that_migrate_at_once_end_as_one_does(fresh: str) -> None:
    make(fresh)
    run_cql(fresh, "TRUNCATE {ks}.schema_version")
    outcomes: list[object] = []

    def work() -> None:
        try:
            outcomes.append(len(apply(fresh, MIGRATIONS)))
        except Transient as error:
            outcomes.append(error.error)

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert outcomes.count(LAST) == 1
    assert set(outcomes) <= {LAST, 0, "migration_under_way"}
    assert applied(fresh) == dict.fromkeys(ALL, "add")


@pytest.mark.services
def test_additions_come_before_the_code_and_removals_after_it(fresh: str, tmp_path: Path) -> None:
    folder = copy_of(
        tmp_path,
        **{
            f"_{after(1)}_add_colour": "ALTER TABLE {keyspace}.listings ADD IF NOT EXISTS colour text;",
            f"_{after(2)}_remove_body": "ALTER TABLE {keyspace}.listings DROP IF EXISTS body; -- what this build reads",
            f"_{after(3)}_add_size": "ALTER TABLE {keyspace}.listings ADD IF NOT EXISTS size int;",
        },
    )
    said: list[str] = []
    assert [m.version for m in apply(fresh, folder, say=said.append)] == [
        *ALL,
        LAST + 1,
    ]  # all before the first that removes
    assert any(after(2) in line and "--removals" in line for line in said)
    store = build_store(fresh)  # this build works on a schema that was added to
    store.write(*effects(event("l", 1)))
    store.close()
    assert [m.version for m in apply(fresh, folder, removals=True)] == [LAST + 2, LAST + 3]
    assert {"colour", "size"} <= columns(fresh)
    assert "body" not in columns(fresh)
    with pytest.raises(
        ConfigError, match=rf"schema {LAST + 3}, which is too new: migration {LAST + 2} .*upgrade groknet"
    ):
        build_store(fresh)
    with pytest.raises(ConfigError, match="too new"):
        applied(fresh)


@pytest.mark.services
def test_a_file_that_changed_after_it_was_applied_is_refused(fresh: str, tmp_path: Path) -> None:
    name = f"_{after(1)}_add_colour"
    folder = copy_of(tmp_path, **{name: "ALTER TABLE {keyspace}.listings ADD IF NOT EXISTS colour text;"})
    apply(fresh, folder)
    copy_of(tmp_path, **{name: "ALTER TABLE {keyspace}.listings ADD IF NOT EXISTS colour int;"})
    with pytest.raises(ConfigError, match=f"{after(1)} colour is not what was applied"):
        apply(fresh, folder)


@pytest.mark.services
def test_a_keyspace_of_an_older_build_is_brought_up_to_date_with_all_that_it_holds(fresh: str, tmp_path: Path) -> None:
    first = copy_of(tmp_path)
    for path in first.glob("000[2-9]_*.cql"):
        path.unlink()
    assert [m.version for m in apply(fresh, first)] == [1]
    with pytest.raises(ConfigError, match=rf"has schema 1, this build needs {LAST}; run `groknet store migrate`"):
        build_store(fresh)
    run_cql(
        fresh,
        "INSERT INTO {ks}.listings (listing_id, model_version, image_id, event_time, newest)"
        " VALUES ('l', '', '', 5, 'removed:d')",
    )
    assert [m.version for m in apply(fresh, MIGRATIONS)] == ALL[1:]
    store = build_store(fresh)
    assert [listing.event_time for listing in store.scan()] == [5]
    assert store.put_setting("s", b"v", 0)
    store.close()


@pytest.mark.services
def test_a_keyspace_that_is_missing_or_too_old_is_said(fresh: str) -> None:
    with pytest.raises(ConfigError, match=r"does not exist or was never migrated; run `groknet store migrate`"):
        build_store(fresh)
    make(fresh)
    run_cql(
        fresh,
        "TRUNCATE {ks}.schema_version",
        "INSERT INTO {ks}.schema_version (scope, version, name, kind) VALUES ('store', 0, 'somebody', 'lock')",
    )
    with pytest.raises(ConfigError, match="groknet store migrate"):
        build_store(fresh)


@pytest.mark.services
def test_the_command_line_migrates_and_checks(
    fresh: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GROKNET__STORE__URL", fresh)
    home = ["--home", str(tmp_path)]
    assert run(["store", "check", *home]) == Exit.USAGE
    said = capsys.readouterr().err
    assert said.startswith("groknet: store.url: ")
    assert said.count("\n") == 1
    assert "groknet store migrate" in said
    assert run(["store", "migrate", "--json", *home]) == Exit.OK
    numbers = ",".join(map(str, ALL))
    assert f'"version":{LAST},"applied":[{numbers}],"new":[{numbers}]' in capsys.readouterr().out
    assert run(["store", "migrate", *home]) == Exit.OK
    assert run(["store", "check", *home]) == Exit.OK
    assert f"schema {LAST}" in capsys.readouterr().out
    monkeypatch.setenv("GROKNET__STORE__URL", "cassandra://127.0.0.1:1/shop")
    assert run(["store", "check", *home]) == Exit.NOT_RUNNING
    assert "correct the address" in capsys.readouterr().err


def test_the_embedded_store_needs_no_migration(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for command in ("migrate", "check"):
        assert run(["store", command, "--home", str(tmp_path)]) == Exit.OK
        assert "embedded" in capsys.readouterr().err
