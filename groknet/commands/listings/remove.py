"""`groknet remove`: remove listings from the store and the index."""

from __future__ import annotations

import time
import uuid
from typing import Annotated

from cyclopts import Parameter

from groknet.cli.exits import CommandError, Exit
from groknet.cli.options import GIVE_UP_S, GiveUpOption, HomeOption, JsonOption, ListingIds
from groknet.cli.terminal import json_line, note
from groknet.commands.listings.submit import send_all, summary
from groknet.home.config import load_config
from groknet.home.paths import find_home
from groknet.run.open_back_ends import open_store
from groknet.submitting.send import outgoing
from schemas.events import ListingEvent


def remove(
    listings: ListingIds,
    /,
    *,
    home: HomeOption = None,
    wait: Annotated[
        bool, Parameter(negative=(), help="Wait until they are gone from the store and the index.")
    ] = False,
    json: JsonOption = False,
    give_up_s: GiveUpOption = GIVE_UP_S,
) -> Exit:
    """Remove listings. Copies of their photos in HOME/uploads are deleted as well.

    A removal is also sent for a listing that is not stored, because its event may still be on the way. stderr names
    such listings. To bring a listing back, submit photos that are newer than the removal.
    """
    loaded = load_config(find_home(home).must_exist())
    with open_store(loaded) as store:
        latest = store.latest(listings)
    items = []
    now_us = time.time_ns() // 1000
    for listing_id in dict.fromkeys(listings):
        stored = latest.get(listing_id)
        if stored is None:
            note(f"{listing_id}: not stored; the removal was sent, in case an event of it is on the way")
        event = ListingEvent(
            event_id=str(uuid.uuid4()),
            listing_id=listing_id,
            event_time=max(now_us, stored.order[0] if stored else 0),  # at equal times a removal wins
            type="removed",
            producer="groknet remove",
        )
        item = outgoing(event)
        if item.event is None:
            raise CommandError(f"{listing_id}: {item.problem}", Exit.USAGE)
        items.append(item)
    report = json_line if json else None
    outcomes = send_all(iter(items), loaded, total=len(items), wait=wait, give_up_s=give_up_s, on_outcome=report)
    if not json:
        print(summary(outcomes))
    return Exit.UNKNOWN_OUTCOME if any(o.status == "timeout" for o in outcomes) else Exit.OK
