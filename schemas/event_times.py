"""Event times: which unit a number is in, RFC 3339 text, and the order within one second."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Annotated

import msgspec
from msgspec import Meta

FIRST_US = 946_684_800_000_000
"""2000-01-01T00:00:00Z in UTC microseconds. An earlier event time is a number in another unit."""
_LAST_US = 4_102_444_800_000_000  # 2100-01-01
_SECOND_US = 1_000_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_UNITS = (("seconds", 1, _SECOND_US), ("milliseconds", 1, 1_000), ("nanoseconds", 1_000, 1))
_DIGITS = re.compile(r"[0-9]{1,19}")
_FRACTION = re.compile(r"(\.[0-9]{6})[0-9]+")  # finer than a microsecond: cut, as later is not what it says
REMEDY = "give UTC microseconds since 1970, or RFC 3339 text such as 2026-01-31T12:00:00Z"
"""How to write an event time."""
_ORDER = {"created": 0, "updated": 1, "removed": 2}


class NotATime(ValueError):
    """The value is no event time. The text says what to write instead."""


def wrong_unit(event_time: int, now_us: int) -> str | None:
    """What is wrong with an event time that is not in microseconds; None for one that may be.

    A time before 2000 or after 2100 is taken for a number in another unit.
    """
    if FIRST_US <= event_time < max(_LAST_US, now_us + _SECOND_US):
        return None
    for unit, divisor, factor in _UNITS:
        microseconds = event_time * factor // divisor
        if FIRST_US <= microseconds < _LAST_US:
            return f"event_time: {event_time} is in {unit}; {REMEDY}; here {microseconds}"
    if event_time < FIRST_US:
        return f"event_time: {event_time} is before 2000 in UTC microseconds; {REMEDY}"
    return f"event_time: {event_time} is after 2100 in UTC microseconds; {REMEDY}"


def from_text(text: str) -> int:
    """UTC microseconds of RFC 3339 text, or of digits. Raises NotATime."""
    text = text.strip()
    if _DIGITS.fullmatch(text):
        return int(text)
    try:
        moment: datetime = msgspec.convert(_FRACTION.sub(r"\1", text), Annotated[datetime, Meta(tz=True)])
        return (moment - _EPOCH) // timedelta(microseconds=1)
    except (msgspec.ValidationError, OverflowError):
        raise NotATime(f"event_time: {text[:40]!r} is no RFC 3339 time with an offset; {REMEDY}") from None


def from_number(number: float) -> int:
    """UTC microseconds of a JSON number with a fraction or an exponent. Raises NotATime unless it is a whole number."""
    if number.is_integer() and abs(number) < 2**53:
        return int(number)
    seconds = FIRST_US <= number * _SECOND_US < _LAST_US
    of = "seconds" if seconds else "milliseconds" if FIRST_US <= number * 1_000 < _LAST_US else ""
    what = f"is in {of}" if of else "is no whole number"
    raise NotATime(f"event_time: {number!r} {what}; {REMEDY}")


def within_its_second(event_time: int, type_: str) -> int:
    """The event time, moved by 1 or 2 µs if it is a whole second, so that created < updated < removed.

    Many shops keep times in whole seconds, where an edit often has the time of the creation. The result is never a
    whole second again, so that moving it twice changes nothing.
    """
    return event_time if event_time % _SECOND_US else event_time + _ORDER.get(type_, 0)
