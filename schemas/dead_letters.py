"""Dead-letter headers: why a message, or one photo of it, was given up. Key and value stay verbatim.

Only a message that is larger than the dead-letter topic takes is cut: then `replayable` is `no`, and `value_bytes` and
`value_sha256` say what its value was. No stack trace: it can carry addresses with tokens.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from schemas.envelope import Headers

PREFIX = "groknet.dlq."


class DeadLetter(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The `groknet.dlq.*` headers of one dead letter, typed; `image_id` where one photo is at fault."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    group: str
    stage: str
    error: str
    message: str
    attempt: int
    first_failed_at_ms: int
    failed_at_ms: int
    model_version: str
    worker_version: str
    listing_id: str | None = None
    image_id: str | None = None
    replayable: Literal["no"] | None = None
    """`no`: the value is only the beginning of what was sent; absent otherwise."""
    value_bytes: int | None = None
    """Size of the whole value, where it was cut."""
    value_sha256: str | None = None
    """SHA-256 of the whole value in hex, where it was cut."""

    def headers(self) -> Headers:
        """The header pairs, UTF-8 text each."""
        fields = msgspec.structs.asdict(self)
        return tuple((PREFIX + k, str(v).encode()) for k, v in fields.items() if v is not None)


def parse_dead_letter(headers: Headers) -> DeadLetter:
    """Read the headers back; raises msgspec.ValidationError when one is missing or not of its type."""
    fields = {k.removeprefix(PREFIX): v.decode("utf-8", "replace") for k, v in headers if k.startswith(PREFIX)}
    return msgspec.convert(fields, DeadLetter, strict=False)
