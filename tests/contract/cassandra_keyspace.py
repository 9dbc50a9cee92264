"""Keyspaces of their own for tests on a real Cassandra: migrated once, emptied before each test."""

from __future__ import annotations

import itertools
import time
from pathlib import Path
from urllib.parse import quote

from deploy.local import Services
from workers.stores.cassandra import migrate, parse_cassandra_url, read_migrations, session_of

ROOT = Path(__file__).parents[2]
MIGRATIONS = ROOT / "deploy" / "cql"
_numbers = itertools.count(time.time_ns())


def place(services: Services, password: str | None = None) -> str:
    """USER:PASSWORD@HOST:PORT,HOST:PORT of services."""
    state = services.status()
    assert state is not None
    user, secret = state.security.cassandra_user, password or state.security.cassandra_password
    who = f"{quote(user, safe='')}:{quote(secret or '', safe='')}@" if user else ""
    return who + ",".join(f"{host}:{services.cassandra_port}" for host in services.contact_points)


def fresh_url(services: Services, options: str = "") -> str:
    """The URL of a keyspace that does not exist yet."""
    return f"cassandra://{place(services)}/test_{next(_numbers)}?timeout_s=30{options}"


def make(url: str) -> None:
    """Make the keyspace and its tables."""
    settings = parse_cassandra_url(url)
    with session_of(settings) as session:
        migrate(session, settings, read_migrations(MIGRATIONS))


def run_cql(url: str, *statements: str) -> list[list[tuple]]:
    """Run statements, in which {ks} is the keyspace; the rows of each."""
    settings = parse_cassandra_url(url)
    with session_of(settings) as session:
        return [list(session.execute(text.replace("{ks}", settings.keyspace), timeout=30)) for text in statements]


def empty(url: str) -> None:
    tables = ("listings", "thumbnails", "products", "memberships", "members", "settings", "workers", "blobs")
    run_cql(url, *(f"TRUNCATE {{ks}}.{table}" for table in tables))


def drop(url: str) -> None:
    run_cql(url, "DROP KEYSPACE IF EXISTS {ks}")
