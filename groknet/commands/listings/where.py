"""`groknet where`: where one listing is now, and what comes next."""

from __future__ import annotations

import time
from typing import Annotated

import msgspec
from cyclopts import Parameter

from groknet.cli.exits import CommandError, Exit
from groknet.cli.options import HomeOption, JsonOption
from groknet.cli.terminal import json_line, note, shown
from groknet.diagnosis.where_text import details, sentence
from groknet.diagnosis.whereabouts import Patience, find
from groknet.home.config import load_config
from groknet.home.paths import find_home


def where(
    listing_id: Annotated[str, Parameter(name="id", help="A listing id.")],
    /,
    *,
    home: HomeOption = None,
    json: JsonOption = False,
) -> Exit:
    """Say where a listing is: stored, searchable, or on the way, since when, why, and when it is tried next.

    One sentence, then a line for each thing that is known: what store and index have of it; events of it in hand of a
    tagger of this home, with the stage; events that wait in listings.uploaded, with how many come before them; events
    in a retry topic, with the reason and the time of the next try; its dead letters, and whether they can be sent
    again. Times are local. Only records that are not committed yet are read, and the dead letters.

    Exit code 4 when nothing is known of it, 3 when that may be because a service does not answer. --json writes one
    value: {"listing_id", "sentence", "stored", "indexed", "in_hand", "waiting", "dead", "unknown"}, with event times
    and stored_at in UTC microseconds and all other times in UTC seconds.
    """
    loaded = load_config(find_home(home).must_exist())
    found = find(loaded, listing_id, Patience(note))
    now = time.time()
    if not found.known:
        name = shown(listing_id)
        silent = [f"{what}: {why}" for what, why in found.unknown.items() if what != "index"]
        if silent:  # an index never holds what the store does not know
            text = f"{name}: nothing is known, and not all could be asked: {shown('; '.join(silent))}"
            raise CommandError(f"{text}; `groknet doctor` says more", Exit.NOT_RUNNING)
        text = f"nothing is known of {name}: it is not stored, not on the way and no dead letter"
        raise CommandError(f"{text}; `groknet submit --wait` says what becomes of it", Exit.NOT_FOUND)
    text = sentence(found, now)
    if json:
        plain = msgspec.to_builtins(found)
        json_line({"listing_id": plain.pop("listing_id"), "sentence": text, **plain})
        return Exit.OK
    print(text)
    for line in details(found, now):
        print(f"  {line}")
    return Exit.OK
