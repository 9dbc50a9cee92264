"""`groknet store`: migrate and check the schema of the store."""

from __future__ import annotations

from typing import Annotated

from cyclopts import App, Parameter

from groknet.change_over.old_epochs import take_over
from groknet.cli.exits import Exit
from groknet.cli.options import HomeOption, JsonOption
from groknet.cli.terminal import json_line, note
from groknet.home.config import load_config
from groknet.home.epochs import OLD_FILE
from groknet.home.migrations import migrations
from groknet.home.paths import find_home
from groknet.run.open_back_ends import open_store
from workers.stores.schema import Schema, check_store, migrate_store

app = App(name="store", help="Migrate and check the schema of the store.", help_format="plaintext")


@app.command
def migrate(
    *,
    home: HomeOption = None,
    removals: Annotated[
        bool,
        Parameter(
            name="--removals",
            negative=(),
            help="Also apply migrations that remove something. Only when no older worker runs any more.",
        ),
    ] = False,
    json: JsonOption = False,
) -> Exit:
    """Create the keyspace and the tables of store.url, or bring them up to date.

    Run this before you roll out new workers. Run it again with --removals after the last old worker has stopped. The
    file HOME/epochs.json of an older version is copied into the store and renamed.

    --json writes {"place", "version", "applied", "new"}.
    """
    loaded = load_config(find_home(home))
    schema = migrate_store(loaded.config.store.url, migrations(), removals=removals, say=note)
    if (loaded.home.root / OLD_FILE).exists():
        with open_store(loaded) as store:
            note(take_over(loaded, store))
    return _say(schema, json, "" if schema and schema.new else "; no migration was new")


@app.command
def check(*, home: HomeOption = None, json: JsonOption = False) -> Exit:
    """Check that the store has the schema that this version needs. It changes nothing.

    The exit code is 2 when it has not; the message names the remedy. --json writes {"place", "version", "applied",
    "new"}.
    """
    schema = check_store(load_config(find_home(home)).config.store.url)
    return _say(schema, json, ", as this version needs it")


def _say(schema: Schema | None, json: bool, how: str) -> Exit:
    if schema is None:
        note("the embedded store creates its own tables and has no migrations")
    elif json:
        json_line(schema)
    else:
        print(f"{schema.place}: schema {schema.version}{how}")
    return Exit.OK
