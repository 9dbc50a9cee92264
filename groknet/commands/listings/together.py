"""`groknet together`: tell the shop's carts, views and scenes, from which follows what goes with a listing."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from groknet.cli.exits import CommandError, Exit
from groknet.cli.options import HomeOption, JsonOption
from groknet.cli.plain_text import shown
from groknet.cli.terminal import json_line, note, progress
from groknet.home.config import load_config
from groknet.home.paths import find_home
from groknet.importing.occasions import Defaults, Read, read_occasions
from groknet.importing.product import LeftOut, Refused
from groknet.run.open_back_ends import open_stream
from groknet.submitting.send import Sender
from schemas.occasions import Occasion, OccasionKind
from schemas.topics import TOGETHER_DAYS

_TOO_OLD = f"older than {TOGETHER_DAYS} days, so it does not count"
_NAMED = 20  # lines about refused occasions on stderr; --json has all of them


def import_occasions(
    files: Annotated[list[Path], Parameter(help="Files of occasions, plain or compressed with gzip.")],
    /,
    *,
    home: HomeOption = None,
    kind: Annotated[OccasionKind, Parameter(help="Kind of the occasions that name none.")] = "cart",
    prefix: Annotated[str, Parameter(help="Text before each listing id, as given to `groknet import`.")] = "",
    dry_run: Annotated[bool, Parameter(negative=(), help="Send nothing; say what would be sent.")] = False,
    json: JsonOption = False,
) -> Exit:
    """Read which listings were together in carts, views or scenes, and send each occasion.

    A file has JSON lines, {"occasion_id", "kind", "listing_ids", "event_time"}, or is a CSV table. A table has one line
    for each occasion, with the listings in the column listing_ids, separated by spaces or semicolons. Or it has one
    line for each item, such as order_id, product_id, ordered_at: then the lines of one occasion follow each other.
    Times are UTC microseconds or RFC 3339 text; without a time it is that of the file. Occasions older than 90 days do
    not count, so they are left out.

    An occasion replaces the one of the same id, so importing a file again changes nothing, and an import that was
    interrupted is simply started again. Give no names of people: the id says only which occasion it is.

    stderr names line and field of the first problems. --json writes one line for each problem, {"problem", "file",
    "place", "field", "why"}, and at the end {"read", "sent", "refused", "left_out"}.
    """
    place = find_home(home)
    loaded = load_config(place if dry_run else place.make())
    counts: Counter[str] = Counter(dict.fromkeys(("read", "sent", "refused", "left_out"), 0))
    ended, old = False, 0
    with ExitStack() as stack:
        sender = None
        if not dry_run:
            producer = stack.enter_context(open_stream(loaded, "together")).producer()
            stack.callback(producer.close)
            sender = Sender(producer)
            stack.callback(sender.flush)
        bar = stack.enter_context(progress())
        for file in files:
            task = bar.add_task(f"{file.name}: occasions", total=None)
            for one in _read(file, kind, prefix):
                counts["read"] += 1
                if isinstance(one, Occasion):
                    counts["sent"] += 1
                    if sender is not None:
                        sender.send_occasion(one)
                else:
                    ended |= isinstance(one, Refused) and one.ends
                    old += one.why == _TOO_OLD
                    _problem(one, file, counts, json=json)
                bar.advance(task)
    if old and not json:
        note(f"{old} of the occasions that are left out: older than {TOGETHER_DAYS} days; correct event_time if wrong")
    if json:
        json_line(counts)
    else:
        done = "would be sent" if dry_run else "sent"
        bad = f"{counts['refused']} refused, {counts['left_out']} left out"
        print(f"{counts['read']} read: {counts['sent']} {done}, {bad}")
    return Exit.FAILED if ended or not counts["sent"] else Exit.OK


def _read(file: Path, kind: OccasionKind, prefix: str) -> Iterator[Read]:
    try:
        changed = file.stat().st_mtime_ns // 1000
    except OSError as error:
        raise CommandError(f"{file}: cannot be read ({error.strerror})", Exit.NOT_FOUND) from None
    now = time.time_ns() // 1000
    oldest = now - TOGETHER_DAYS * 24 * 3600 * 1_000_000
    for place, one in enumerate(read_occasions(file, Defaults(kind, min(changed, now), prefix)), 1):
        old = isinstance(one, Occasion) and one.event_time <= oldest
        yield LeftOut(f"occasion {place}", _TOO_OLD) if old else one


def _problem(one: Refused | LeftOut, file: Path, counts: Counter[str], *, json: bool) -> None:
    name = "refused" if isinstance(one, Refused) else "left_out"
    counts[name] += 1
    field = one.field if isinstance(one, Refused) else ""
    if json:
        json_line({"problem": name, "file": str(file), "place": one.place, "field": field, "why": one.why})
    elif isinstance(one, Refused) and counts["refused"] <= _NAMED:
        named = f"{field}: " if field and not one.why.startswith(field) else ""
        note(shown(f"{file}, {one.place}: {named}{one.why}"))
