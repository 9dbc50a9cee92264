"""Says in words where a listing is: one sentence, then one line for each known fact."""

from __future__ import annotations

from collections.abc import Iterator

from groknet.cli.plain_text import shown
from groknet.cli.terminal import duration, local_time
from groknet.diagnosis.whereabouts import Dead, InHand, Stored, Waiting, Whereabouts

_REASONS = {
    "fetch: timeout": "its photo's host timed out",
    "fetch: connection_failed": "the connection to its photo's host failed",
    "fetch: dns_failure": "the name of its photo's host did not resolve",
    "fetch: event_time": "its photos did not all arrive in time",
    "fetch: slow_host": "its photo's host is slow",
}
_HTTP = "fetch: http_"
_MOST_DEAD = 10  # lines; `groknet dlq list` has all


def sentence(found: Whereabouts, now: float) -> str:
    """One sentence: where the listing is, and what happens next. `now` is in UTC seconds."""
    open_ = [one for one in found.waiting if not one.done]
    on_the_way = len(found.in_hand) + len(open_)
    more = f" ({on_the_way - 1} more of its events are on the way)" if on_the_way > 1 else ""
    if found.in_hand:
        text = _in_hand(found.in_hand[-1], now)
    elif open_:
        text = _waits(max(open_, key=lambda one: one.event_time or 0), now)
    else:
        text = _at_rest(found, now)
    return f"{shown(found.listing_id)} {text}{more}"


def _in_hand(event: InHand, now: float) -> str:
    reason = f", where it waits: {shown(event.why)}" if event.why else ""
    return f"is in hand of {event.tagger} since {local_time(event.since, now)}, at stage {shown(event.stage)}{reason}"


def _waits(event: Waiting, now: float) -> str:
    text = f"waits in {event.topic} since {local_time(event.since, now)}"
    if event.due is None:
        return f"{text}; {_before(event.before)}"
    at = local_time(event.due, now)
    following = f"it is tried next at {at}"
    if event.due <= now:
        following = f"it was due at {at}, {duration(now - event.due)} ago, and the next tagger that reads it tries it"
    return f"{text}, because {_reason(event.why)}; {following}"


def _before(count: int) -> str:
    if not count:
        return "it is the next of its partition"
    return f"{count} event{'s are' if count > 1 else ' is'} before it"


def _reason(why: str | None) -> str:
    """The reason in the header of a retry, in words."""
    if why is None:
        return "of an unnamed failure"
    if why.startswith(_HTTP):
        return f"its photo's host answered {shown(why.removeprefix(_HTTP))}"
    return _REASONS.get(why, f"of a failure that may pass ({shown(why)})")


def _at_rest(found: Whereabouts, now: float) -> str:
    """Where a listing is when no event of it is on the way."""
    stored, last = found.stored, found.dead[-1] if found.dead else None
    if stored is None:
        return _not_stored(found, last, now)
    of = f"event of {local_time(stored.event_time / 1e6, now)}"
    if stored.status == "dead":
        reason = f": {_died(last, now)}" if last is not None else ""
        return f"is stored as dead, none of its photos can be used ({of}){reason}"
    if stored.status == "empty":
        text = _empty(found, of)
    else:
        text = _removed(found, of) if stored.status == "removed" else _searchable(found, of)
    if last is None or last.replayed or not _is_newer(last, stored):
        return text
    which = "a newer" if last.event_time is not None else "another"
    return f"{text}; of {which} event {_died(last, now)}"


def _not_stored(found: Whereabouts, last: Dead | None, now: float) -> str:
    held = 0 if found.indexed is None else found.indexed.held
    in_index = f"is searchable (event of {local_time(held / 1e6, now)})" if held else ""
    if "store" in found.unknown:
        text = in_index or "is not searchable"
        tail = f"; {_died(last, now)}" if last is not None else ""
        return f"{text}; whether something newer is stored is not known, because the store does not answer{tail}"
    if last is not None:
        return f"is not stored: {_died(last, now)}"
    return f"is not stored and not on the way, but {in_index}" if held else "is not stored and not on the way"


def _removed(found: Whereabouts, of: str) -> str:
    if found.indexed is None:
        return f"was removed ({of}); whether the index has followed is not known, because no indexer answers"
    return f"was removed ({of})" + ("; the index still holds it" if found.indexed.held else "")


def _empty(found: Whereabouts, of: str) -> str:
    text = f"is stored without photos ({of}), so no search finds it"
    held = found.indexed is not None and found.indexed.held
    return f"{text}; the index still holds its earlier photos" if held else text


def _searchable(found: Whereabouts, of: str) -> str:
    if found.stored is None or found.indexed is None:
        return f"is stored ({of}); whether it is searchable is not known, because no indexer answers"
    if found.indexed.held < found.stored.event_time:
        return f"is stored ({of}) and not searchable yet: the indexer has not read it"
    partial = ", except for photos that cannot be used" if found.stored.status == "partial" else ""
    return f"is stored and searchable{partial} ({of})"


def _is_newer(letter: Dead, stored: Stored) -> bool:
    """Whether a dead letter is of a newer event than the stored one. If its event cannot be read, the time of the dead
    letter decides."""
    if letter.event_time is not None:
        return letter.event_time > stored.event_time
    if letter.image_id is not None:
        return False  # it is one photo of an event that is stored without it
    return stored.stored_at is not None and letter.at > stored.stored_at / 1e6


def _died(letter: Dead, now: float) -> str:
    if letter.replayed:
        remedy = "it was sent again since"
    elif letter.replayable:
        remedy = "`groknet dlq replay` sends it again"
    else:
        remedy = "it cannot be replayed: its producer must send it again"
    cause = f"{shown(letter.stage)} {shown(letter.error)}, {shown(letter.message)}"
    return f"it became a dead letter at {local_time(letter.at, now)} ({cause}); {remedy}"


def details(found: Whereabouts, now: float) -> Iterator[str]:
    """Yield a line for each known fact, and for each service that could not be asked. `now` is in UTC seconds."""
    if found.stored is not None:
        stored = found.stored
        model = f", model {stored.model_version}" if stored.model_version else ""
        at = f", written at {local_time(stored.stored_at / 1e6, now)}" if stored.stored_at else ""
        yield f"store        {stored.status}, event of {local_time(stored.event_time / 1e6, now)}{model}{at}"
    if found.indexed is not None:
        held, removed = found.indexed.held, found.indexed.removed
        gone = f"nothing; gone since the event of {local_time(removed / 1e6, now)}" if removed else "nothing"
        yield f"index        {f'event of {local_time(held / 1e6, now)}' if held else gone}"
    for event in found.in_hand:
        place = f"{event.topic} partition {event.partition} offset {event.offset}"
        yield f"in hand      {_in_hand(event, now).removeprefix('is in hand of ')}; {place}, attempt {event.attempt}"
    for one in found.waiting:
        place = f"{one.topic} partition {one.partition} offset {one.offset}, attempt {one.attempt}"
        of = (
            "an event that cannot be read"
            if one.event_time is None
            else f"event of {local_time(one.event_time / 1e6, now)}"
        )
        yield f"on the way   {of}, {'stored, not committed yet' if one.done else _waits(one, now)}; {place}"
    for letter in found.dead[-_MOST_DEAD:]:
        photo = f"photo {shown(letter.image_id)}: " if letter.image_id else ""
        yield f"dead letter  {letter.id}: {photo}{_died(letter, now)}"
    if len(found.dead) > _MOST_DEAD:
        yield f"             and {len(found.dead) - _MOST_DEAD} older ones; `groknet dlq list` has all"
    for what, why in found.unknown.items():
        yield f"not asked    {what}: {shown(why)}"
