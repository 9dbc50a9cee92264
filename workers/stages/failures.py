"""Where a failed event goes: a retry topic while its failure may pass, else the dead-letter topic.

Both carry key, value and headers verbatim, as far as the topic takes them. A retry that is too large moves its inline
photos to the store. A dead letter that is too large is cut, and says so. Nothing here commits: the caller does, after
`Delivery.wait`.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from importlib.metadata import version

from msgspec import structs

from schemas.dead_letters import PREFIX as DLQ_PREFIX
from schemas.dead_letters import DeadLetter
from schemas.envelope import Headers, header
from schemas.errors import Invalid, Transient
from schemas.topics import DEAD_LETTERS, RETRY_DELAYS_S
from workers import metrics
from workers.stages import moved_photos
from workers.streams.base import Delivery, Producer, Record

ATTEMPT = "groknet.attempt"
FIRST_FAILED = "groknet.first_failed_at_ms"
RETRY_ERROR = "groknet.retry.error"
_RETRY_TOPICS = tuple(RETRY_DELAYS_S)
_MAX_DIGITS = 15  # milliseconds of the year 2000 have 12; Python itself refuses 4,301
_CUT_VALUE, _CUT_KEY = 16_384, 1_024  # bytes that are left of a dead letter that is too large
_MAX_MESSAGE = 2_000  # characters of a reason: some quote what a stranger has sent


def attempt_of(record: Record) -> int:
    """Which attempt this record is, from 1."""
    return _number(record, ATTEMPT) or 1


def due_ms(record: Record) -> int:
    """UTC milliseconds before which a record of a retry topic must not be touched; 0 for other topics."""
    delay = RETRY_DELAYS_S.get(record.partition.topic)
    return 0 if delay is None else record.timestamp_ms + int(delay * 1000)


def _number(record: Record, name: str) -> int | None:
    """The whole number in a header; None where it is absent or is none: any producer can write any header."""
    text = header(record.headers, name) or ""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= _MAX_DIGITS else None


def _own(headers: Headers) -> Headers:
    """Without what an earlier failure wrote."""
    ours = (ATTEMPT, FIRST_FAILED, RETRY_ERROR)
    return tuple(pair for pair in headers if pair[0] not in ours and not pair[0].startswith(DLQ_PREFIX))


class Failures:
    """Writes retries and dead letters of one worker."""

    def __init__(
        self, producer: Producer, *, group: str, model_version: str, keep_blob: Callable[[bytes], str]
    ) -> None:
        """`keep_blob`: stores the bytes of a photo and returns their SHA-256 in hex."""
        self._producer = producer
        self._group = group
        self._model_version = model_version
        self._worker_version = version("groknet")
        self._keep_blob = keep_blob

    def dead_letter(
        self, record: Record, why: Invalid, *, attempt: int, listing_id: str | None = None, image_id: str | None = None
    ) -> Delivery:
        """Send one dead letter; it counts once the delivery is waited for. Raises Transient when the topic takes not
        even one that is cut."""
        now = time.time_ns() // 1_000_000
        letter = DeadLetter(
            topic=record.partition.topic,
            partition=record.partition.number,
            offset=record.offset,
            timestamp_ms=record.timestamp_ms,
            group=self._group,
            stage=why.stage,
            error=why.error,
            message=why.message[:_MAX_MESSAGE],
            attempt=attempt,
            first_failed_at_ms=_number(record, FIRST_FAILED) or now,
            failed_at_ms=now,
            model_version=self._model_version,
            worker_version=self._worker_version,
            listing_id=listing_id,
            image_id=image_id,
        )
        attempts = (ATTEMPT, str(attempt).encode())
        headers = (*_own(record.headers), attempts, *letter.headers())
        # Kafka takes no record without key and value; one that came so keeps an empty value.
        value = b"" if record.key is None and record.value is None else record.value
        try:
            sent = self._producer.send(DEAD_LETTERS, record.key, value, headers)
        except Invalid as refused:
            if refused.error != "too_large":
                raise
            sent = self._cut(record, letter, attempts)
        metrics.DEAD_LETTERS.labels(DEAD_LETTERS, why.stage, why.error).inc()
        return sent

    def _cut(self, record: Record, letter: DeadLetter, attempts: tuple[str, bytes]) -> Delivery:
        """A dead letter that fits: our own headers, and the beginning of key and value."""
        value = record.value or b""
        letter = structs.replace(
            letter, replayable="no", value_bytes=len(value), value_sha256=hashlib.sha256(value).hexdigest()
        )
        key = None if record.key is None else record.key[:_CUT_KEY]
        try:
            return self._producer.send(DEAD_LETTERS, key, value[:_CUT_VALUE], (attempts, *letter.headers()))
        except Invalid as refused:
            raise Transient(refused.stage, "dead_letters_refused", refused.message) from refused

    def retry(self, record: Record, why: Transient, *, attempt: int, listing_id: str | None) -> Delivery:
        """Send to the next retry topic; after the last one, or where it fits into none, the event is a dead letter.
        Raises Transient when store or stream do not answer."""
        topic = next_topic(record.partition.topic)
        if topic is None:
            given_up = Invalid(why.stage, why.error, f"{why.message} (given up after {attempt} attempts)")
            return self.dead_letter(record, given_up, attempt=attempt, listing_id=listing_id)
        first = _number(record, FIRST_FAILED) or time.time_ns() // 1_000_000
        ours: Headers = (
            (ATTEMPT, str(attempt + 1).encode()),
            (FIRST_FAILED, str(first).encode()),
            (RETRY_ERROR, f"{why.stage}: {why.error}".encode()),
        )
        try:
            sent = self._send_retry(topic, record, ours)
        except Invalid as refused:
            if refused.error != "too_large":
                raise
            text = f"{why.message}; it cannot be retried, as {refused.message}"
            return self.dead_letter(record, Invalid(why.stage, why.error, text), attempt=attempt, listing_id=listing_id)
        metrics.RETRIES.labels(topic, why.error).inc()
        return sent

    def _send_retry(self, topic: str, record: Record, ours: Headers) -> Delivery:
        """Send as it is, else with its inline photos in the store."""
        headers = (*_own(record.headers), *ours)
        try:
            return self._producer.send(topic, record.key, record.value, headers)
        except Invalid as refused:
            moved = None
            if refused.error == "too_large" and record.value is not None:
                moved = moved_photos.move_out(record.value, self._keep_blob)
            if moved is None:
                raise
            return self._producer.send(topic, record.key, moved, moved_photos.marked(headers))


def next_topic(topic: str, retries: Sequence[str] = _RETRY_TOPICS) -> str | None:
    """The retry topic after `topic`, or None after the last."""
    following = retries.index(topic) + 1 if topic in retries else 0
    return retries[following] if following < len(retries) else None
