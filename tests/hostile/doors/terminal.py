"""Text that a terminal shows: dead letters with hostile headers, and every character that could steer a terminal."""

from __future__ import annotations

import sys
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from random import Random

import msgspec

from groknet.cli.plain_text import shown
from schemas.dead_letters import DeadLetter, parse_dead_letter
from tests.hostile.case import Input

REFUSALS = (msgspec.ValidationError,)
MOST_MB = 300
STEERING = (
    "\x1b[2J",
    "\x1b]0;title\x07",
    "\x9b31m",
    "\r",
    "\b" * 50,
    "\n",
    "\0",
    "\u202e",
    "\u2066",
    "\u200b",
    "\x7f",
    "\ud800",
)
LETTER = DeadLetter(
    topic="listings.uploaded",
    partition=0,
    offset=1,
    timestamp_ms=1,
    group="tagger",
    stage="decode",
    error="not_an_image",
    message="the photo is no photo",
    attempt=1,
    first_failed_at_ms=1,
    failed_at_ms=1,
    model_version="m",
    worker_version="w",
)


def honest(folder: Path) -> None:
    """An honest letter is read and shown as it is."""
    assert parse_dead_letter(LETTER.headers()) == LETTER
    assert shown("Röd mugg, 12 €, 可口可乐") == "Röd mugg, 12 €, 可口可乐"


def inputs(rng: Random, folder: Path) -> Iterator[Input]:
    """Whatever is shown is one line without a control character."""
    while True:
        text = "".join(rng.choice((rng.choice(STEERING), chr(rng.randrange(sys.maxunicode)))) for _ in range(40))
        headers = list(LETTER.headers())
        place = rng.randrange(len(headers))
        value = rng.choice((text.encode("utf-8", "surrogatepass"), b"", b"-1", b"9" * 400, rng.randbytes(30)))
        headers[place] = (headers[place][0], value)
        if rng.random() < 0.2:
            headers.pop(rng.randrange(len(headers)))
        yield Input(f"{headers[0][0]} and text", lambda text=text, headers=tuple(headers): _offer(text, headers))


def _offer(text: str, headers: tuple[tuple[str, bytes], ...]) -> None:
    check(shown(text))
    letter = parse_dead_letter(headers)
    for value in msgspec.structs.asdict(letter).values():
        check(shown(str(value)))


def check(text: str) -> None:
    """No control, format or surrogate character, no line break."""
    assert not [hex(ord(letter)) for letter in text if unicodedata.category(letter) in ("Cc", "Cf", "Cs", "Zl", "Zp")]
