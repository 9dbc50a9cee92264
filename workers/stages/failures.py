"""Sends a failed event to a retry topic if its failure may pass, else to the dead-letter topic.

Both keep the key, the value and the headers unchanged, unless the record would be too large for the topic. The inline
photos of a retry that is too large move to the store. A dead letter that is too large is cut, and its headers say so.
Nothing here commits an offset: the caller does that after `Delivery.wait`.
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
from workers.stages import moved_photos
from workers.streams.base import Delivery, Producer, Record
from workers.trace_headers import context_headers
from workers.watching import metrics

ATTEMPT = "groknet.attempt"
FIRST_FAILED = "groknet.first_failed_at_ms"
RETRY_ERROR = "groknet.retry.error"
_RETRY_TOPICS = tuple(RETRY_DELAYS_S)
_MAX_DIGITS = 15  # a time in milliseconds has 13 today; Python refuses to parse 4,301 digits
_CUT_VALUE, _CUT_KEY = 16_384, 1_024  # bytes that remain of a dead letter that is too large
_MAX_MESSAGE = 2_000  # characters of a reason, because some reasons quote what a client sent


def attempt_of(record: Record) -> int:
    """The number of this attempt, counted from 1."""
    return _number(record, ATTEMPT) or 1


def due_ms(record: Record) -> int:
    """When a record of a retry topic is due, in UTC milliseconds; 0 for other topics."""
    delay = RETRY_DELAYS_S.get(record.partition.topic)
    return 0 if delay is None else record.timestamp_ms + int(delay * 1000)


def _number(record: Record, name: str) -> int | None:
    """The whole number in a header; None if the header is missing or is not a number. Any producer can write
    headers."""
    text = header(record.headers, name) or ""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= _MAX_DIGITS else None


def _own(headers: Headers) -> Headers:
    """The headers without those that an earlier failure added."""
    ours = (ATTEMPT, FIRST_FAILED, RETRY_ERROR)
    return tuple(pair for pair in headers if pair[0] not in ours and not pair[0].startswith(DLQ_PREFIX))


class NotTaken(Transient):
    """The stream does not take a dead letter now. It is sent again until it does; its event goes nowhere else."""


class Failures:
    """Writes the retries and the dead letters of one worker."""

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
        """Send one dead letter. It is durable after `Delivery.wait`.

        Raises:
            Transient: the stream does not answer, or the topic refuses even a cut dead letter.
        """
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
        # Kafka refuses a record with neither key nor value, so such an event gets an empty value.
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
        """Send a dead letter that fits: only our own headers and the trace's, and the beginning of key and value."""
        value = record.value or b""
        letter = structs.replace(
            letter, replayable="no", value_bytes=len(value), value_sha256=hashlib.sha256(value).hexdigest()
        )
        key = None if record.key is None else record.key[:_CUT_KEY]
        headers = (*context_headers(record.headers), attempts, *letter.headers())
        try:
            return self._producer.send(DEAD_LETTERS, key, value[:_CUT_VALUE], headers)
        except Invalid as refused:
            raise Transient(refused.stage, "dead_letters_refused", refused.message) from refused

    def retry(self, record: Record, why: Transient, *, attempt: int, listing_id: str | None) -> Delivery:
        """Send an event to the next retry topic. After the last topic, or if no topic can take it, it becomes a dead
        letter.

        Raises:
            Transient: the store or the stream does not answer.
        """
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
        """Send the record unchanged, or with its inline photos in the store if it is too large."""
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
    """The retry topic that follows `topic`; None after the last one."""
    following = retries.index(topic) + 1 if topic in retries else 0
    return retries[following] if following < len(retries) else None
