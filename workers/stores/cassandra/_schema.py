"""Checks whether the keyspace has the schema that this build needs.

A migration that adds something is applied before the code that uses it is rolled out. A migration that removes
something is applied after no running code uses it. So a build works with a newer schema only if nothing was removed.
"""

from __future__ import annotations

from typing import Any

from cassandra.cluster import Session  # type: ignore[import-untyped]

from schemas.errors import ConfigError
from workers.stores.cassandra._errors import DRIVER_ERRORS, MIGRATE, meaning
from workers.stores.cassandra._settings import CassandraSettings

SCHEMA_VERSION = 3
"""Number of the last migration that this build knows."""
SCOPE = "store"
"""The partition of `schema_version` that lists the migrations."""
_CHECK_TIMEOUT_S = 10.0


def check_schema(session: Session, settings: CassandraSettings) -> dict[int, str]:
    """Return the kind (`add` or `remove`) of each applied migration, by number.

    Raises:
        ConfigError: the keyspace is missing, was never migrated, is too old, or lacks what this build needs.
        Transient: no node answers.
    """
    applied = {version: kind for version, (kind, _) in read_applied(session, settings).items()}
    where = f"store.url: keyspace {settings.keyspace} at {settings.places}"
    if not applied:
        raise ConfigError(f"{where} does not exist or was never migrated; {MIGRATE}")
    have = max((version for version, kind in applied.items() if kind == "add"), default=0)
    gone = [version for version, kind in applied.items() if kind == "remove" and version > SCHEMA_VERSION]
    if gone:
        raise ConfigError(
            f"{where} has schema {max(applied)}, which is too new: migration {min(gone)} has removed what this build"
            f" (schema {SCHEMA_VERSION}) needs; upgrade groknet"
        )
    missing = [version for version in range(1, SCHEMA_VERSION + 1) if version not in applied]
    if missing and have < SCHEMA_VERSION:
        raise ConfigError(f"{where} has schema {have}, this build needs {SCHEMA_VERSION}; {MIGRATE}")
    return applied


def read_applied(session: Session, settings: CassandraSettings) -> dict[int, tuple[str, str]]:
    """The kind and the checksum of each applied migration, by number. Empty if the keyspace or the table is missing."""
    keyspace = session.cluster.metadata.keyspaces.get(settings.keyspace)
    if keyspace is None or "schema_version" not in keyspace.tables:
        return {}
    try:
        rows: Any = session.execute(
            f"SELECT version, kind, checksum FROM {settings.keyspace}.schema_version WHERE scope = '{SCOPE}'",
            timeout=_CHECK_TIMEOUT_S,
        )
        return {version: (kind, checksum) for version, kind, checksum in rows if version > 0}
    except DRIVER_ERRORS as error:
        raise meaning(error, settings, "reading the schema version") from None
