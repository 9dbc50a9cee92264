"""Applies the migrations of a store, and checks its schema, for every back end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from workers.stores import build_store


@dataclass(frozen=True, slots=True)
class Schema:
    """The schema of a store: where it is, the number of its last migration, all numbers, and the numbers applied just
    now."""

    place: str
    version: int
    applied: tuple[int, ...]
    new: tuple[int, ...] = ()


def migrate_store(
    url: str, folder: Path, *, removals: bool = False, say: Callable[[str], None] = lambda _: None
) -> Schema | None:
    """Apply the migrations of a folder that are not applied yet, and check the schema. None if the back end needs none.

    `removals`: also apply migrations that remove what older code reads. `say` is called with a line for each step.

    Raises:
        ConfigError: the URL, user or password is wrong, or a migration cannot be applied.
        Transient: no node answers, or another migration is under way.
    """
    if not _has_migrations(url):
        return None
    from workers.stores.cassandra import check_schema, migrate, parse_cassandra_url, read_migrations, session_of

    settings = parse_cassandra_url(url)
    with session_of(settings) as session:
        new = migrate(session, settings, read_migrations(folder), removals=removals, say=say)
        applied = check_schema(session, settings)
    place = f"keyspace {settings.keyspace} at {settings.places}"
    return Schema(place, max(applied), tuple(sorted(applied)), tuple(migration.version for migration in new))


def check_store(url: str) -> Schema | None:
    """Check that the tables, the columns and the version fit this build. None if the back end needs no schema.

    Raises:
        ConfigError: they do not fit; the message names the remedy.
        Transient: no node answers.
    """
    build_store(url).close()
    if not _has_migrations(url):
        return None
    from workers.stores.cassandra import check_schema, parse_cassandra_url, session_of

    settings = parse_cassandra_url(url)
    with session_of(settings) as session:
        applied = check_schema(session, settings)
    return Schema(f"keyspace {settings.keyspace} at {settings.places}", max(applied), tuple(sorted(applied)))


def _has_migrations(url: str) -> bool:
    return url.startswith("cassandra://")
