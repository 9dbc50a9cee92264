"""Reads dead letters, and sends them again."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import msgspec

from groknet.cli.exits import CommandError, Exit
from schemas.dead_letters import PREFIX, DeadLetter, parse_dead_letter
from schemas.envelope import Headers
from schemas.errors import Invalid, InvalidEvent
from schemas.events import SURPLUS, decode_event
from schemas.topics import DEAD_LETTERS, UPLOADED
from workers.stages.failures import ATTEMPT
from workers.stages.moved_photos import marked, move_out
from workers.streams.base import Partition, Producer, RebalanceListener, Record, Stream

REPLAY_GROUP = "dlq-replay"
_DELIVERY_S = 30.0
_IDLE_POLLS = 50  # of 0.1 s each; if another member has the partitions, nothing comes for this long
Policy = Literal["stop", "reinsert", "drop"]


@dataclass(frozen=True, slots=True)
class Letter:
    """One dead letter as its topic has it. `why` is None if its headers cannot be read."""

    record: Record
    why: DeadLetter | None
    replayed: bool = False

    @property
    def id(self) -> str:
        """`PARTITION:OFFSET` in the dead-letter topic."""
        return f"{self.record.partition.number}:{self.record.offset}"

    @property
    def listing_id(self) -> str | None:
        """The listing id in its headers, or else in its key."""
        if self.why is not None and self.why.listing_id is not None:
            return self.why.listing_id
        return None if self.record.key is None else self.record.key.decode("utf-8", "replace")

    def as_plain(self) -> dict[str, Any]:
        """One line of `dlq list --json`."""
        why = {} if self.why is None else msgspec.structs.asdict(self.why)
        first = {"id": self.id, "listing_id": self.listing_id, "image_id": why.pop("image_id", None)}
        return {**first, **{k: v for k, v in why.items() if k not in first}, "replayed": self.replayed}


def read_letters(stream: Stream) -> list[Letter]:
    """All dead letters that the topic still has, oldest first."""
    admin = stream.admin()
    try:
        done = admin.committed(REPLAY_GROUP, DEAD_LETTERS)
        letters = [
            Letter(record, _why(record.headers), record.offset < done.get(record.partition, 0))
            for record in admin.read(DEAD_LETTERS)
        ]
    finally:
        admin.close()
    return sorted(
        letters, key=lambda letter: (letter.record.timestamp_ms, letter.record.partition, letter.record.offset)
    )


def _why(headers: Headers) -> DeadLetter | None:
    try:
        return parse_dead_letter(headers)
    except msgspec.ValidationError:
        return None


@dataclass(frozen=True, slots=True)
class Replayed:
    """What a replay did with one dead letter, or would do in a dry run."""

    letter: Letter
    action: Literal["sent", "same event", "left out", "reinserted", "dropped"]


def _unusable(letter: Letter) -> str | None:
    """Why this dead letter cannot be sent again. None if it can."""
    if letter.why is not None and letter.why.replayable == "no":
        size = letter.why.value_bytes
        return f"it was cut, as the dead-letter topic did not take its {size} bytes; its producer must send it again"
    try:
        decode_event(letter.record.value)
    except InvalidEvent as error:
        return error.message
    return None


def plan(letters: Sequence[Letter], policy: Policy, most: int | None) -> Iterator[Replayed]:
    """Decide what to do with each dead letter, in order, for at most `most` of them.

    If several photos of an event are dead letters, the event is sent once. A letter that only names photos beyond the
    first 20 is left out, whatever the policy: sending the event again would write the same letter, for ever. An event
    that was cut or still cannot be decoded would only become a dead letter again. `stop` raises CommandError at it,
    `reinsert` puts it at the end of the dead letters, and `drop` leaves it out.
    """
    events: set[tuple[str, int, int]] = set()
    for letter in letters[:most]:
        source = (letter.why.topic, letter.why.partition, letter.why.offset) if letter.why else None
        if letter.why is not None and letter.why.error == SURPLUS:
            yield Replayed(letter, "left out")
            continue
        unusable = _unusable(letter)
        if unusable is not None:
            if policy == "stop":
                text = f"dead letter {letter.id} cannot be sent again: {unusable}; --policy drop leaves it out"
                raise CommandError(text, Exit.FAILED)
            yield Replayed(letter, "reinserted" if policy == "reinsert" else "dropped")
            continue
        if source in events:
            yield Replayed(letter, "same event")
            continue
        if source is not None:
            events.add(source)
        yield Replayed(letter, "sent")


def replay(
    stream: Stream, policy: Policy, most: int | None, *, keep_blob: Callable[[bytes], str]
) -> Iterator[Replayed]:
    """Send the dead letters again that no replay has sent before, with unchanged key and value, and attempt + 1.

    If an event is too large for its topic, `keep_blob` moves its inline photos to the store, as for a retry. Each dead
    letter is committed once its record is durable, so an interrupted replay sends at most the last one twice. With the
    policy `stop`, raises CommandError at a dead letter that cannot be sent.
    """
    listener = RebalanceListener()
    producer = stream.producer()
    consumer = stream.consumer(REPLAY_GROUP, [DEAD_LETTERS], listener)
    try:
        waiting = _waiting(stream)
        records: list[Record] = []
        idle = 0
        while len(records) < min(sum(waiting.values()), most or sum(waiting.values())) and idle < _IDLE_POLLS:
            got = consumer.poll(0.1, 100)
            idle = 0 if got else idle + 1
            records += [r for r in got if r.partition in waiting]
        letters = [Letter(record, _why(record.headers)) for record in records]
        for planned in plan(letters, policy, most):
            record = planned.letter.record
            step = _sent(producer, planned, policy, keep_blob) if planned.action == "sent" else planned
            if step.action == "reinserted":
                headers = _next_headers(step.letter, keep_why=True)
                producer.send(DEAD_LETTERS, record.key, record.value, headers).wait(_DELIVERY_S)
            consumer.commit({record.partition: record.next_offset})
            yield step
    finally:
        consumer.close()
        producer.close()


def _sent(producer: Producer, step: Replayed, policy: Policy, keep_blob: Callable[[bytes], str]) -> Replayed:
    """Send one dead letter again, and return the result."""
    record, headers = step.letter.record, _next_headers(step.letter, keep_why=False)
    try:
        try:
            sent = producer.send(UPLOADED, record.key, record.value, headers)
        except Invalid:
            moved = move_out(record.value or b"", keep_blob)
            if moved is None:
                raise
            sent = producer.send(UPLOADED, record.key, moved, marked(headers))
    except Invalid as why:
        if policy == "stop":
            text = f"dead letter {step.letter.id} cannot be sent again: {why.message}; --policy drop leaves it out"
            raise CommandError(text, Exit.FAILED) from None
        return Replayed(step.letter, "reinserted" if policy == "reinsert" else "dropped")
    sent.wait(_DELIVERY_S)
    return step


def _waiting(stream: Stream) -> dict[Partition, int]:
    """The number of dead letters that no replay has read until now, by partition."""
    admin = stream.admin()
    try:
        done = admin.committed(REPLAY_GROUP, DEAD_LETTERS)
        counts: dict[Partition, int] = {}
        for record in admin.read(DEAD_LETTERS):
            if record.offset >= done.get(record.partition, 0):
                counts[record.partition] = counts.get(record.partition, 0) + 1
        return counts
    finally:
        admin.close()


def _next_headers(letter: Letter, *, keep_why: bool) -> Headers:
    attempt = (letter.why.attempt if letter.why else 1) + 1
    kept = tuple(
        pair for pair in letter.record.headers if pair[0] != ATTEMPT and (keep_why or not pair[0].startswith(PREFIX))
    )
    if keep_why:
        kept = tuple(p for p in kept if p[0] != PREFIX + "attempt")
        kept = (*kept, (PREFIX + "attempt", str(attempt).encode()))
    return (*kept, (ATTEMPT, str(attempt).encode()))
