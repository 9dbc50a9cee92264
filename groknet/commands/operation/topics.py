"""`groknet topics`: list, create and check the topics."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from cyclopts import App
from rich.table import Table

from groknet.cli.exits import CommandError, Exit
from groknet.cli.options import BundleOption, HomeOption, JsonOption
from groknet.cli.terminal import json_line, stdout
from schemas.errors import ConfigError
from schemas.topics import TOPICS, Topic

if TYPE_CHECKING:
    from workers.streams import Stream

app = App(name="topics", help="List, create and check the topics.", help_format="plaintext")


@app.default
def topics(*, json: JsonOption = False) -> Exit:
    """List every topic with its key, partitions, default retention, owner and the schema of its value."""
    if json:
        for topic in TOPICS:
            json_line(topic)
        return Exit.OK
    table = Table("topic", "key", "partitions", "kept", "owner", "value")
    for topic in TOPICS:
        days = None if topic.retention_ms is None else topic.retention_ms // 86_400_000
        kept = "newest of each key" if days is None else f"{days} days"
        table.add_row(topic.name, topic.key, str(topic.partitions), kept, topic.owner, topic.value)
    stdout().print(table)
    return Exit.OK


@app.command
def apply(*, home: HomeOption = None, bundle: BundleOption = None, json: JsonOption = False) -> Exit:
    """Create the missing topics, and give those of retries and dead letters the retention of the configuration.

    On Kafka with three brokers, each partition has three copies. The retention is that of stream.keep_retries_days and
    stream.keep_dead_letters_days, also for topics that exist. Nothing else is changed
    in a topic that exists with other settings; the message says how to correct it. --json writes one line for each
    topic: {"topic", "state"}.
    """
    from groknet.run.open_back_ends import make_topics, set_retention

    stream, wanted = _opened(home, bundle)
    missing = _missing(stream, wanted)
    set_retention(stream, wanted)
    make_topics(stream, wanted)
    for topic in wanted:
        _say(topic.name, "made" if topic.name in missing else "there", json=json)
    return Exit.OK


@app.command
def check(*, home: HomeOption = None, bundle: BundleOption = None, json: JsonOption = False) -> Exit:
    """Check that the stream has every topic, with the partitions that `groknet topics` lists and the retention of the
    configuration. It changes nothing.

    --json writes one line for each topic: {"topic", "state"}. The state is ok, missing or differs.
    """
    from groknet.run.open_back_ends import make_topics

    stream, wanted = _opened(home, bundle)
    missing = _missing(stream, wanted)
    differs: list[str] = []
    for topic in wanted:
        state = "missing" if topic.name in missing else "ok"
        if state == "ok":
            try:
                make_topics(stream, [topic])  # it exists, so this only compares
            except ConfigError as error:
                state = "differs"
                differs.append(str(error))
        _say(topic.name, state, json=json)
    if differs:
        raise CommandError(differs[0])
    if missing:
        raise CommandError(f"missing: {', '.join(sorted(missing))}; create them with `groknet topics apply`")
    return Exit.OK


def _opened(home: Path | None, bundle: Path | None) -> tuple[Stream, tuple[Topic, ...]]:
    """The stream of the configuration, and the topics that it should have."""
    from groknet.home.config import load_config
    from groknet.home.paths import find_home
    from groknet.run.open_back_ends import wanted_topics
    from schemas.manifest import load_manifest
    from workers.streams import build_stream

    loaded = load_config(find_home(home), bundle=bundle)
    epoch = load_manifest(Path(loaded.config.engine.bundle)).epoch
    return build_stream(loaded.config.stream.url, "topics"), wanted_topics(loaded, epoch)


def _missing(stream: Stream, wanted: tuple[Topic, ...]) -> set[str]:
    admin = stream.admin()
    try:
        return {topic.name for topic in wanted} - admin.topics()
    finally:
        admin.close()


def _say(topic: str, state: str, *, json: bool) -> None:
    if json:
        json_line({"topic": topic, "state": state})
    else:
        print(f"{topic}: {state}")
