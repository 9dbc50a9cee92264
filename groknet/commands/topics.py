"""`groknet topics`: every topic."""

from __future__ import annotations

from rich.table import Table

from groknet.exits import Exit
from groknet.options import JsonOption
from groknet.terminal import json_line, stdout
from schemas.topics import TOPICS


def topics(*, json: JsonOption = False) -> Exit:
    """List every topic with its key, partitions, retention, owner and the schema of its value."""
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
