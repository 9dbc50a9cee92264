"""The CloudEvents headers of every message (Kafka binding, binary mode)."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime
from itertools import count

Headers = tuple[tuple[str, bytes], ...]
# An id is this plus a number, because random bytes cost a system call each. Processes are never forked.
_PROCESS = secrets.token_hex(12)
_numbers = count()


def cloud_event_headers(
    *, type_: str, source: str, key: str, event_id: str | None = None, time_us: int | None = None
) -> Headers:
    """Return the ce_* headers of a message. `key` is the message key; `time_us` is UTC microseconds, now by default."""
    now = datetime.now(UTC) if time_us is None else datetime.fromtimestamp(time_us / 1e6, UTC)
    return (
        ("ce_specversion", b"1.0"),
        ("ce_id", (event_id or f"{_PROCESS}-{next(_numbers):x}").encode()),
        ("ce_source", source.encode()),
        ("ce_type", type_.encode()),
        ("ce_time", now.isoformat().replace("+00:00", "Z").encode()),
        ("ce_partitionkey", key.encode()),
        ("content-type", b"application/json"),
    )


def header(headers: Headers, name: str) -> str | None:
    """Return the last header called `name` as text, or None."""
    for key, value in reversed(headers):
        if key == name:
            return value.decode("utf-8", "replace")
    return None
