"""`groknet store`: the schema of the store, applied and checked."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, Parameter

from groknet.config import load_config
from groknet.exits import Exit
from groknet.home import find_home
from groknet.options import HomeOption, JsonOption
from groknet.terminal import json_line, note
from schemas.errors import ConfigError
from workers.stores import build_store

if TYPE_CHECKING:
    from workers.stores.cassandra import CassandraSettings

app = App(name="store", help="The schema of the store: apply migrations, check.", help_format="plaintext")


@app.command
def migrate(
    *,
    home: HomeOption = None,
    removals: Annotated[
        bool,
        Parameter(name="--removals", negative=(), help="Also what removes; when no older worker runs any more."),
    ] = False,
    json: JsonOption = False,
) -> Exit:
    """Make keyspace and tables of store.url, or bring them up to date; where all is done, change nothing.

    Before new workers are rolled out: groknet store migrate. After the last old one has gone: with --removals.
    --json writes one line a migration that was applied: {"version", "name", "kind"}.
    """
    url = load_config(find_home(home)).config.store.url
    if not _is_cassandra(url):
        note("the embedded store makes its own tables; there is nothing to migrate")
        return Exit.OK
    from workers.stores.cassandra import check_schema, read_migrations
    from workers.stores.cassandra import migrate as apply

    with _session(url) as (session, settings):
        new = apply(session, settings, read_migrations(_folder()), removals=removals, say=note)
        applied = check_schema(session, settings)
    for migration in new if json else ():
        json_line({"version": migration.version, "name": migration.name, "kind": migration.kind})
    note(f"keyspace {settings.keyspace} has schema {max(applied)}" + ("" if new else "; nothing was to be done"))
    return Exit.OK


@app.command
def check(*, home: HomeOption = None, json: JsonOption = False) -> Exit:
    """Say whether the store is as this version needs it; exit code 0 only then, 2 with the remedy when it is not.

    Changes nothing. --json writes {"keyspace", "schema", "applied"}; the embedded store has neither.
    """
    url = load_config(find_home(home)).config.store.url
    if not _is_cassandra(url):
        note("the embedded store makes its own tables; there is nothing to check")
        return Exit.OK
    from workers.stores.cassandra import check_schema

    build_store(url).close()  # every statement prepared: tables and columns are there
    with _session(url) as (session, settings):
        applied = check_schema(session, settings)
    if json:
        json_line({"keyspace": settings.keyspace, "schema": max(applied), "applied": sorted(applied)})
    else:
        print(f"keyspace {settings.keyspace} at {settings.places}: schema {max(applied)}, as this version needs it")
    return Exit.OK


def _is_cassandra(url: str) -> bool:
    scheme = url.partition("://")[0]
    if scheme not in {"sqlite", "cassandra"}:
        build_store(url)  # says what is wrong with it
    return scheme == "cassandra"


@contextmanager
def _session(url: str) -> Iterator[tuple[Any, CassandraSettings]]:
    from workers.stores.cassandra import open_session, parse_cassandra_url

    settings = parse_cassandra_url(url)
    session = open_session(settings)
    try:
        yield session, settings
    finally:
        session.cluster.shutdown()


def _folder() -> Path:
    """The migrations that come with the package."""
    spec = find_spec("deploy")
    for place in list(spec.submodule_search_locations or ()) if spec else []:
        if (folder := Path(place) / "cql").is_dir():
            return folder
    raise ConfigError("the migrations (deploy/cql) are not installed; run groknet from its sources")
