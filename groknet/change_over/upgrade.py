"""Takes over what an older release has left: a home, its tables and its topics. And says whether there is a way back.

Every step looks first and changes only what is old, so that a second run changes nothing. `plan` only looks.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Literal, NamedTuple

import msgspec

from groknet.change_over.old_epochs import back_again, take_over
from groknet.cli.exits import CommandError, Exit
from groknet.home.config import Loaded
from groknet.home.epochs import OLD_FILE
from groknet.home.migrations import migrations
from groknet.home.paths import Home, loose_files
from groknet.home.running import is_locked
from groknet.run.open_back_ends import make_topics, open_store, wanted_topics
from schemas.errors import BundleRefused, ConfigError
from schemas.manifest import load_manifest
from workers.sqlite import parse_url
from workers.stores.schema import check_store, migrate_store
from workers.streams import build_stream

State = Literal["done", "to do", "refused"]
_EMBEDDED = "sqlite://"
_NEW_TABLES = {"settings", "workers", "blobs", "probes", "expiring", "products", "memberships"}
"""The tables that the embedded store of the release before this one lacks."""


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """One part of an upgrade: its name, its state, and what there is to do, was done, or stands in the way."""

    step: str
    state: State
    what: str


class _Part(NamedTuple):
    """`missing` says what is to do, or nothing. `act` does it."""

    name: str
    missing: Callable[[Loaded], str]
    act: Callable[[Loaded], object]
    fine: str


def plan(loaded: Loaded) -> Iterator[Step]:
    """Say what `upgrade` would do. Nothing is changed."""
    for part in _PARTS:
        yield _look(part, loaded)


def upgrade(loaded: Loaded) -> Iterator[Step]:
    """Do what is missing, one step after another, and stop at the first that is refused.

    Raises:
        CommandError: a worker of this home runs.
        Transient: the stream or the store does not answer.
    """
    _refuse_running(loaded.home)
    for part in _PARTS:
        found = _look(part, loaded)
        if found.state == "to do":
            try:
                part.act(loaded)
            except (BundleRefused, ConfigError, CommandError) as error:
                yield Step(step=part.name, state="refused", what=str(error))
                return
            found = Step(step=part.name, state="done", what=found.what)
        yield found
        if found.state == "refused":
            return


def back(loaded: Loaded) -> Step:
    """Give the older release what only it reads. Tables and topics need nothing: this release only added to them.

    Raises CommandError, with the reason, if the older release would do something else than this one does now.
    """
    _refuse_running(loaded.home)
    with open_store(loaded) as store:
        what = back_again(loaded, store)
    return Step(step="epochs", state="done", what=what or "nothing to give back; the older release may start")


def _look(part: _Part, loaded: Loaded) -> Step:
    try:
        missing = part.missing(loaded)
    except (BundleRefused, ConfigError, CommandError) as error:
        return Step(step=part.name, state="refused", what=str(error))
    return Step(step=part.name, state="to do" if missing else "done", what=missing or part.fine)


def _refuse_running(home: Home) -> None:
    running = sorted(path.stem for path in home.run.glob("*.lock") if is_locked(home, path.stem))
    if running:
        text = f"{', '.join(running)} still runs in {home.root}; stop it first, so that no older worker reads on"
        raise CommandError(text, Exit.USAGE)


def _permissions(loaded: Loaded) -> str:
    loose = loose_files(loaded.home)
    return f"others may read {len(loose)} files of {loaded.home.root}; they become its owner's alone" if loose else ""


def _close(loaded: Loaded) -> None:
    for path in loose_files(loaded.home):
        path.chmod(path.stat().st_mode & ~0o077)


def _tables(loaded: Loaded) -> str:
    url = loaded.config.store.url
    if not url.startswith(_EMBEDDED):
        try:
            check_store(url)
        except ConfigError as error:
            if "store migrate" not in str(error):
                raise
            return f"{error}; this command does the same"
        return ""
    path = parse_url(url, "store.url")[0]
    missing = _NEW_TABLES - _tables_of(path) if path.exists() else set()
    return f"{path}: the tables {', '.join(sorted(missing))} are added" if missing else ""


def _tables_of(path: Path) -> set[str]:
    """The tables of an SQLite file, which is only read."""
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as db:
            return {name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    except sqlite3.DatabaseError as error:
        raise ConfigError(f"{path}: {error}; restore it from a backup") from None


def _migrate(loaded: Loaded) -> None:
    if migrate_store(loaded.config.store.url, migrations()) is None:
        with open_store(loaded):
            pass  # the embedded store adds its tables when it is opened


def _epochs(loaded: Loaded) -> str:
    file = loaded.home.root / OLD_FILE
    return f"{file} is copied into the store and renamed to {OLD_FILE}.migrated" if file.exists() else ""


def _take_over(loaded: Loaded) -> None:
    with open_store(loaded) as store:
        take_over(loaded, store)


def _topics(loaded: Loaded) -> str:
    """Topics that are missing. A topic with other settings is refused: its partitions decide where keys go."""
    url = loaded.config.stream.url
    wanted = wanted_topics(loaded, load_manifest(Path(loaded.config.engine.bundle)).epoch)
    if url.startswith(_EMBEDDED) and not parse_url(url, "stream.url")[0].exists():
        return f"{len(wanted)} topics are created"
    stream = build_stream(url, "upgrade")
    admin = stream.admin()
    try:
        present = admin.topics()
    finally:
        admin.close()
    make_topics(stream, [topic for topic in wanted if topic.name in present])  # they exist: this only compares
    missing = [topic.name for topic in wanted if topic.name not in present]
    return f"created: {', '.join(missing)}" if missing else ""


def _make_topics(loaded: Loaded) -> None:
    wanted = wanted_topics(loaded, load_manifest(Path(loaded.config.engine.bundle)).epoch)
    make_topics(build_stream(loaded.config.stream.url, "upgrade"), wanted)


_PARTS = (
    _Part("permissions", _permissions, _close, "the home is its owner's alone"),
    _Part("tables", _tables, _migrate, "the store has every table"),
    _Part("epochs", _epochs, _take_over, "the epoch in force is in the store, or that of engine.bundle"),
    _Part("topics", _topics, _make_topics, "the stream has every topic, with its partitions and retention"),
    _Part(
        "groups",
        lambda _: "",
        lambda _: None,
        "taggers go on where their group had stopped; retries, read by a group of their own now, begin there too",
    ),
)
