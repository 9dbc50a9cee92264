"""`groknet dlq`: list dead letters, show one with its reason, and send them again."""

from __future__ import annotations

from collections import Counter
from contextlib import ExitStack
from datetime import UTC, datetime
from typing import Annotated

from cyclopts import Parameter, validators
from rich.table import Table

from groknet.cli.exits import CommandError, Exit
from groknet.cli.options import HomeOption, JsonOption
from groknet.cli.plain_text import shown
from groknet.cli.terminal import json_line, note, stdout
from groknet.home.config import load_config
from groknet.home.paths import find_home
from groknet.run.open_back_ends import open_store, open_stream
from groknet.submitting.dead_letters import Policy, Replayed, plan, read_letters
from groknet.submitting.dead_letters import replay as replay_letters

_CELL = 160  # characters of a cell; a key may have a megabyte


def list_letters(*, home: HomeOption = None, json: JsonOption = False) -> Exit:
    """List dead letters, oldest first. Each line says which event failed, where and why, and whether it was sent again.

    --json writes one line for each dead letter: {"id", "listing_id", "image_id", "stage", "error", "message", …}.
    """
    loaded = load_config(find_home(home).must_exist())
    with open_stream(loaded, "dlq") as stream:
        letters = read_letters(stream)
    if json:
        for letter in letters:
            json_line(letter.as_plain())
        return Exit.OK
    table = Table("id", "when", "listing", "photo", "stage", "error", "message", box=None)
    for letter in letters:
        why = letter.why
        at = letter.record.timestamp_ms if why is None else why.failed_at_ms
        when = datetime.fromtimestamp(at / 1e3, UTC).strftime("%Y-%m-%d %H:%M:%S")
        stage, error, message = (why.stage, why.error, why.message) if why else ("?", "?", "headers unreadable")
        photo = (why.image_id if why else None) or ""
        again = " (sent again)" if letter.replayed else ""
        cells = (letter.listing_id or "?", photo, stage, error, message + again)
        table.add_row(letter.id, when, *map(_short, cells))
    stdout().print(table if letters else "no dead letters")
    return Exit.OK


def show(
    letter_id: Annotated[str, Parameter(name="id", help="PARTITION:OFFSET, as `groknet dlq list` prints it.")],
    /,
    *,
    home: HomeOption = None,
    json: JsonOption = False,
) -> Exit:
    """Show one dead letter with all its headers and its unchanged value."""
    loaded = load_config(find_home(home).must_exist())
    with open_stream(loaded, "dlq") as stream:
        letter = next((one for one in read_letters(stream) if one.id == letter_id), None)
    if letter is None:
        raise CommandError(f"dead letter {letter_id}: not there; `groknet dlq list` names them", Exit.NOT_FOUND)
    headers = {name: value.decode("utf-8", "replace") for name, value in letter.record.headers}
    value = (letter.record.value or b"").decode("utf-8", "replace")
    if json:
        json_line({**letter.as_plain(), "headers": headers, "value": value})
        return Exit.OK
    key = letter.record.key
    print("no key" if key is None else f"key: {_short(key.decode('utf-8', 'replace'))}")
    for name, text in headers.items():
        print(f"{shown(name)}: {shown(text)}")
    print(f"\n{shown(value)}")
    return Exit.OK


def _short(text: str) -> str:
    """Text from an event, shortened and escaped for one line of a terminal."""
    text = shown(text)
    return text if len(text) <= _CELL else f"{text[: _CELL - 1]}…"


def replay(
    *,
    home: HomeOption = None,
    policy: Annotated[
        Policy, Parameter(help="What to do with an event that was cut or still cannot be decoded.")
    ] = "stop",
    most: Annotated[
        int | None,
        Parameter(name="--max", help="Replay at most this many dead letters.", validator=validators.Number(gte=1)),
    ] = None,
    dry_run: Annotated[
        bool, Parameter(name="--dry-run", negative=(), help="Print what would be done, and send nothing.")
    ] = False,
    json: JsonOption = False,
) -> Exit:
    """Send dead letters to listings.uploaded again. The events do not change, except that their attempt counts one up.

    Some events cannot be sent: they were cut, or they still cannot be decoded. --policy decides what happens to them.
    stop: stop there, with exit code 1. reinsert: put it at the end of the dead letters. drop: leave it out.

    A letter that only names photos beyond the first 20 is left out: sending its event again would change nothing.

    Each dead letter is sent once. The next replay continues behind the last one, and `groknet dlq list` marks those
    that were sent again.
    """
    loaded = load_config(find_home(home).must_exist())
    counts: Counter[str] = Counter()
    with open_stream(loaded, "dlq") as stream, ExitStack() as stack:
        if dry_run:
            steps = plan([letter for letter in read_letters(stream) if not letter.replayed], policy, most)
        else:
            steps = replay_letters(stream, policy, most, keep_blob=stack.enter_context(open_store(loaded)).keep_blob)
        try:
            for step in steps:
                counts[step.action] += 1
                _report(step, json=json)
        finally:
            total = ", ".join(f"{n} {action}" for action, n in counts.most_common()) or "nothing to send"
            note(("would be: " if dry_run else "") + total)
    return Exit.OK


def _report(step: Replayed, *, json: bool) -> None:
    letter = step.letter
    if json:
        json_line({"id": letter.id, "listing_id": letter.listing_id, "action": step.action})
    else:
        print(f"{letter.id}  {_short(letter.listing_id or '?')}  {step.action}")
