"""Applies migrations in order: numbered CQL files, `NNNN_add_NAME.cql` or `NNNN_remove_NAME.cql`.

Every statement must do nothing if it has been done already (IF [NOT] EXISTS). So an interrupted migration is simply run
again, and a table that somebody dropped is created again. `schema_version` records the applied migrations. Only one
process migrates at a time; a lightweight transaction with a time to live is its lock.
"""

from __future__ import annotations

import hashlib
import re
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cassandra import ConsistencyLevel  # type: ignore[import-untyped]
from cassandra.cluster import Session  # type: ignore[import-untyped]
from cassandra.query import SimpleStatement  # type: ignore[import-untyped]

from schemas.errors import ConfigError, Transient
from workers.stores.cassandra._errors import DRIVER_ERRORS, meaning
from workers.stores.cassandra._schema import SCOPE, read_applied
from workers.stores.cassandra._settings import CassandraSettings

_NAME = re.compile(r"(?P<version>\d{4})_(?P<kind>add|remove)_(?P<name>[a-z0-9_]+)\.cql")
_COMMENT = re.compile(r"--[^\n]*")
_STATEMENT_TIMEOUT_S = 60.0  # a change of schema waits until all nodes agree
_LOCK_S = 120
_USUAL_REPLICAS = 3


@dataclass(frozen=True, slots=True)
class Migration:
    """One file. `removes` is True if it may be applied only after no running code needs what it removes."""

    version: int
    name: str
    removes: bool
    statements: tuple[str, ...]
    checksum: str

    @property
    def kind(self) -> str:
        """`add` or `remove`, as in `schema_version`."""
        return "remove" if self.removes else "add"


def read_migrations(folder: Path) -> list[Migration]:
    """The migrations of a folder, in order.

    Raises:
        ConfigError: a name is wrong, a number is missing or occurs twice, or a statement cannot be repeated.
    """
    found = [_read(path) for path in sorted(folder.glob("*.cql"))]
    if [migration.version for migration in found] != list(range(1, len(found) + 1)):
        raise ConfigError(f"{folder}: migrations must be numbered 0001, 0002 and so on, each once")
    return found


def migrate(
    session: Session,
    settings: CassandraSettings,
    migrations: Sequence[Migration],
    *,
    removals: bool = False,
    say: Callable[[str], None] = lambda _: None,
) -> list[Migration]:
    """Create the keyspace if it is missing, apply the missing migrations, and return those.

    `removals`: also apply migrations that remove something. If it is False, stop before the first of them. `say` is
    called with a line for each step.

    Raises:
        ConfigError: an applied migration differs from its file, or Cassandra refuses a statement.
        Transient: no node answers, or another migration is under way.
    """
    run = _Runner(session, settings)
    _make_keyspace(run, say)
    run(
        "CREATE TABLE IF NOT EXISTS {keyspace}.schema_version"
        " (scope text, version int, name text, kind text, checksum text, applied_at timestamp,"
        " PRIMARY KEY (scope, version))"  # one partition, so that a read needs only its own replicas
        " WITH speculative_retry = 'MIN(99p,50ms)'"
    )
    with _lock(run):
        applied = read_applied(session, settings)
        _refuse_changed(applied, migrations, settings)
        new = []
        for migration in migrations:
            known = migration.version in applied
            if migration.removes and not known and not removals:
                say(f"{migration.version:04d} {migration.name} removes data: add --removals once no older code runs")
                break
            for statement in migration.statements:
                run(statement)
            if not known:
                _record(run, migration)
                new.append(migration)
                say(f"{migration.version:04d} {migration.name} applied")
    return new


class _Runner:
    """Runs statements at a quorum, with `{keyspace}` filled in. The driver waits until all nodes agree on a schema."""

    def __init__(self, session: Session, settings: CassandraSettings) -> None:
        self.session = session
        self.settings = settings

    def __call__(self, statement: str, *values: object) -> Any:
        text = statement.replace("{keyspace}", self.settings.keyspace)
        query = SimpleStatement(
            text, consistency_level=ConsistencyLevel.QUORUM, serial_consistency_level=ConsistencyLevel.SERIAL
        )
        try:
            return self.session.execute(query, values or None, timeout=_STATEMENT_TIMEOUT_S)
        except DRIVER_ERRORS as error:
            raise meaning(error, self.settings, f"migrating ({' '.join(text.split()[:4])})") from None


def _read(path: Path) -> Migration:
    match = _NAME.fullmatch(path.name)
    if match is None:
        raise ConfigError(f"{path}: name it NNNN_add_NAME.cql or NNNN_remove_NAME.cql")
    body = path.read_text(encoding="utf-8")
    statements = tuple(part.strip() for part in _COMMENT.sub("", body).split(";") if part.strip())
    for statement in statements:
        if "IF NOT EXISTS" not in statement and "IF EXISTS" not in statement:
            raise ConfigError(f"{path}: {statement.splitlines()[0]!r} must say IF NOT EXISTS or IF EXISTS")
    return Migration(
        version=int(match["version"]),
        name=match["name"],
        removes=match["kind"] == "remove",
        statements=statements,
        checksum=hashlib.sha256(body.encode()).hexdigest(),
    )


def _make_keyspace(run: _Runner, say: Callable[[str], None]) -> None:
    metadata = run.session.cluster.metadata
    if run.settings.keyspace in metadata.keyspaces:
        return
    nodes: dict[str, int] = {}
    run.session.cluster.refresh_nodes()
    for host in metadata.all_hosts():
        nodes[host.datacenter] = nodes.get(host.datacenter, 0) + 1
    # With two replicas a quorum needs both. With three, one node may fail, as soon as there is a third node.
    usual = {name: 1 if count == 1 else _USUAL_REPLICAS for name, count in sorted(nodes.items())}
    copies = {name: run.settings.replicas or count for name, count in usual.items()}
    options = ", ".join(f"'{name}': {count}" for name, count in copies.items())
    run(
        "CREATE KEYSPACE IF NOT EXISTS {keyspace} WITH replication ="
        f" {{'class': 'NetworkTopologyStrategy', {options}}}"
    )
    placed = ", ".join(f"{count} in {name}" for name, count in copies.items())
    say(f"keyspace {run.settings.keyspace} created, replicas: {placed}")


def _refuse_changed(
    applied: dict[int, tuple[str, str]], migrations: Sequence[Migration], settings: CassandraSettings
) -> None:
    for migration in migrations:
        known = applied.get(migration.version)
        if known and known[1] != migration.checksum:
            raise ConfigError(
                f"migration {migration.version:04d} {migration.name} is not what was applied to keyspace"
                f" {settings.keyspace}; leave applied files as they are and add a new one"
            )


def _record(run: _Runner, migration: Migration) -> None:
    run(
        "INSERT INTO {keyspace}.schema_version (scope, version, name, kind, checksum, applied_at)"
        f" VALUES ('{SCOPE}', %s, %s, %s, %s, toTimestamp(now()))",
        migration.version,
        migration.name,
        migration.kind,
        migration.checksum,
    )


@contextmanager
def _lock(run: _Runner) -> Iterator[None]:
    """Hold row 0, which is the lock. It expires by itself if its holder died."""
    me = f"{socket.gethostname()}-{time.time_ns()}"
    taken = run(
        f"INSERT INTO {{keyspace}}.schema_version (scope, version, name, kind) VALUES ('{SCOPE}', 0, %s, 'lock')"
        f" IF NOT EXISTS USING TTL {_LOCK_S}",
        me,
    )
    answer = taken.one()
    if not answer[0]:
        raise Transient(
            "store",
            "migration_under_way",
            f"keyspace {run.settings.keyspace} is being migrated by another process; try again in {_LOCK_S} s at most",
        )
    try:
        yield
    finally:
        run(f"DELETE FROM {{keyspace}}.schema_version WHERE scope = '{SCOPE}' AND version = 0 IF name = %s", me)
