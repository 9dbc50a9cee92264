"""`groknet where`: show where one listing is now, and what happens next."""

from __future__ import annotations

import time

import msgspec

from groknet.cli.exits import CommandError, Exit
from groknet.cli.options import HomeOption, JsonOption, ListingId
from groknet.cli.plain_text import shown
from groknet.cli.terminal import json_line, note
from groknet.diagnosis.where_text import details, sentence
from groknet.diagnosis.whereabouts import Patience, find
from groknet.home.config import load_config
from groknet.home.paths import find_home


def where(
    listing_id: ListingId,
    /,
    *,
    home: HomeOption = None,
    json: JsonOption = False,
) -> Exit:
    """Show where a listing is: stored, searchable or on the way. If it waits: since when, why, and until when.

    The first line is the answer in one sentence. The other lines list everything that is known: what the store and the
    index hold; events that a tagger of this home is working on, and in which stage; events that wait in
    listings.uploaded, and how many are before them; events in a retry topic, with the reason and the time of the next
    try; dead letters, and whether they can be sent again. Times are local. The command reads the uncommitted records
    and the dead letters, so it takes longer when many events wait.

    The exit code is 4 when nothing is known of the listing, and 3 when a service that may know it does not answer.

    --json writes one value: {"listing_id", "sentence", "stored", "indexed", "in_hand", "waiting", "dead", "unknown"}.
    Event times and stored_at are UTC microseconds, all other times UTC seconds.
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
