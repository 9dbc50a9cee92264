"""`groknet submit`: send photos, folders and event files, and with --wait follow each listing to its outcome."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Annotated

from cyclopts import Parameter
from rich.progress import Progress, TaskID

from groknet.cli.exits import CommandError, Exit
from groknet.cli.options import GIVE_UP_S, GiveUpOption, HomeOption, JsonOption
from groknet.cli.terminal import json_line, note, progress
from groknet.home.config import Loaded, load_config
from groknet.home.paths import find_home
from groknet.run.open_back_ends import open_store, open_stream
from groknet.submitting.event_files import is_event_name, looks_like_events, read_events
from groknet.submitting.outcomes import IndexView, Outcome, Tracker, indexer_urls
from groknet.submitting.photo_events import (
    IMAGE_SUFFIXES,
    find_photos,
    head_of,
    is_old,
    looks_like_photo,
    named,
    photo_event,
)
from groknet.submitting.send import Outgoing, Sender, outgoing
from workers import tracing
from workers.intake import Uploads

STDIN = "-"


def submit(
    paths: Annotated[
        list[str],
        Parameter(
            help="Photos, folders, files of events (.ndjson, .json, .gz), or - to read events from stdin.",
            allow_leading_hyphen=True,
        ),
    ],
    /,
    *,
    home: HomeOption = None,
    wait: Annotated[bool, Parameter(negative=(), help="Wait until the outcome of every listing is known.")] = False,
    json: JsonOption = False,
    give_up_s: GiveUpOption = GIVE_UP_S,
) -> Exit:
    """Send photos, folders of photos or events. Each photo becomes one listing. Sending a folder twice changes nothing.

    The id of a listing is the path of the photo below the given folder, without its extension. If it has other
    characters than letters, digits and ._:/-, they become _ and a checksum is appended. The event time is the time at
    which the file was last modified. A photo below intake.allowed_roots is sent as a file:// address. Another photo is
    sent inside the event up to 700 KB, and as a copy in HOME/uploads above that.

    A photo that is dated before 2000 gets the event time 2000-01-01T00:00:00Z. In a folder, files that have neither the
    suffix nor the first bytes of a photo are left out, and stderr names them.

    A file of events has one event a line, an array of events, or events that are printed over several lines. It may be
    compressed with gzip. Events are sent unchanged. One that cannot be decoded becomes a dead letter, and stderr names
    it.

    --json writes one line for each listing: {"listing_id", "status", "stored_s", "searchable_s"}. Times are seconds
    since the event was sent. Without --wait the status is sent. With --wait it is searchable, partial (some photos
    failed, or there are more than 20), dead, empty (no photos), removed, superseded (the store already had something
    newer) or timeout.
    """
    loaded = load_config(find_home(home).make())
    items, total = gather(paths, loaded)
    outcomes = send_all(
        items, loaded, total=total, wait=wait, give_up_s=give_up_s, on_outcome=json_line if json else None
    )
    if not json:
        print(summary(outcomes))
    return Exit.UNKNOWN_OUTCOME if any(o.status == "timeout" for o in outcomes) else Exit.OK


def gather(paths: Sequence[str], loaded: Loaded) -> tuple[Iterator[Outgoing], int | None]:
    """The messages to send, which are read while they are sent, and their number if it is known before.

    Raises CommandError before anything is sent if a path does not exist or looks like an option.
    """
    for path in paths:
        if path.startswith("--") and not Path(path).exists():
            raise CommandError(f"{path}: neither an option nor a path; see `groknet submit --help`", Exit.USAGE)
    events = [path for path in paths if path == STDIN or _holds_events(Path(path))]
    photos = find_photos([Path(path) for path in paths if path not in events], _left_out)
    for path in events:
        if path != STDIN and not Path(path).is_file():
            raise CommandError(f"{path}: no such file", Exit.NOT_FOUND)
    old = sum(is_old(photo) for photo in photos)
    if old:
        note(f"{old} of {len(photos)} photos are dated before 2000; their event time is 2000-01-01T00:00:00Z")
    roots = [Path(root) for root in loaded.config.intake.allowed_roots]

    def read() -> Iterator[Outgoing]:
        for photo in photos:
            yield _reported(outgoing(photo_event(photo, loaded.home.uploads, roots)), str(photo.path))
        for path in events:
            with ExitStack() as stack:
                file: IO[bytes] = sys.stdin.buffer if path == STDIN else stack.enter_context(Path(path).open("rb"))
                for place, item in read_events(file, "stdin" if path == STDIN else path):
                    yield _reported(item, place)

    return read(), None if events else len(photos)


def _holds_events(path: Path) -> bool:
    """Whether a path is a file of events, by its name or else by its first bytes.

    Raises CommandError for a file that is neither events nor a photo.
    """
    if path.is_dir() or path.suffix.lower() in IMAGE_SUFFIXES:
        return False
    if is_event_name(path.name):
        return True
    if not path.is_file():
        return False  # finding the photos says that it does not exist
    head = head_of(path)
    if looks_like_photo(head):
        return False
    if looks_like_events(head):
        return True
    text = "neither a photo nor events; give a photo, a folder, or events as JSON lines (.ndjson) or an array (.json)"
    raise CommandError(f"{path}: {text}", Exit.USAGE)


def _left_out(folder: Path, files: Sequence[Path]) -> None:
    note(f"{folder}: {named(files, folder)} left out, as they are no photos; give a file of events by its name")


def _reported(item: Outgoing, place: str) -> Outgoing:
    if item.event is None:
        note(f"{place}: {item.problem}; it is sent unchanged and becomes a dead letter")
    return item


def send_all(
    items: Iterator[Outgoing],
    loaded: Loaded,
    *,
    total: int | None,
    wait: bool,
    give_up_s: float,
    on_outcome: Callable[[Outcome], None] | None,
) -> list[Outcome]:
    """Send everything. With `wait`, follow each listing to its outcome, and call `on_outcome` with it."""
    outcomes: list[Outcome] = []
    with ExitStack() as stack:
        stream = stack.enter_context(open_stream(loaded, "submit"))
        bar = stack.enter_context(progress())
        producer = stream.producer()
        stack.callback(producer.close)
        stack.callback(tracing.begin(loaded.config.tracing, "submit"))
        sender = Sender(producer)
        tracker = _tracker(loaded, stack, give_up_s) if wait else None
        sending = bar.add_task("sent", total=total)
        settling = bar.add_task("settled", total=total) if wait else None

        def settle(outcome: Outcome) -> None:
            outcomes.append(outcome)
            _advance(bar, settling)
            if on_outcome:
                on_outcome(outcome)

        sent = 0
        for item in items:
            sender.send(item)
            sent += 1
            _advance(bar, sending)
            if item.event is not None and item.event.removed:
                Uploads(loaded.home.uploads).tidy([item.event])
            if tracker is None:
                settle(Outcome(listing_id=item.listing_id, status="sent" if item.event else "dead"))
                continue
            tracker.sent(item)
            for outcome in tracker.poll():
                settle(outcome)
        sender.flush()
        bar.update(sending, total=sent)
        if tracker is not None and settling is not None:
            bar.update(settling, total=len(outcomes) + len(tracker))
            for outcome in tracker.drain():
                settle(outcome)
    late = sum(outcome.status == "timeout" for outcome in outcomes)
    if late:
        remedy = f"`groknet doctor --home {loaded.home.root}` says which worker does not run"
        note(
            f"{late} of {len(outcomes)} listings have no outcome yet, and nothing changed for {give_up_s:g} s; {remedy}"
        )
    return outcomes


def _advance(bar: Progress, task: TaskID | None) -> None:
    if task is not None:
        bar.advance(task)


def _tracker(loaded: Loaded, stack: ExitStack, give_up_s: float) -> Tracker:
    stream = stack.enter_context(open_stream(loaded, "submit"))
    admin = stream.admin()
    stack.callback(admin.close)
    store = stack.enter_context(open_store(loaded))
    home, configured = loaded.home, loaded.config.search.indexer_urls
    return Tracker(store, admin, IndexView(lambda: indexer_urls(home, configured, store)), give_up_s)


def summary(outcomes: Sequence[Outcome]) -> str:
    """The number of listings by outcome and their times, in at most two lines."""
    counts = Counter(o.status for o in outcomes)
    lines = [f"{len(outcomes)} listings: " + ", ".join(f"{n} {status}" for status, n in counts.most_common())]
    times = [
        f"{name} p50 {percentile(seconds, 50):.2f} s, p95 {percentile(seconds, 95):.2f} s"
        for name, seconds in (
            ("stored", [o.stored_s for o in outcomes if o.stored_s is not None]),
            ("searchable", [o.searchable_s for o in outcomes if o.searchable_s is not None]),
        )
        if seconds
    ]
    if times:
        lines.append("from sending to " + "; ".join(times))
    if counts["dead"]:
        lines.append("`groknet dlq list` says why they are dead")
    return "\n".join(lines)


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest value that at least `percent` % of the values do not exceed, without interpolation."""
    ordered = sorted(values)
    return ordered[max(0, -(-len(ordered) * int(percent) // 100) - 1)]


__all__ = ["gather", "percentile", "send_all", "submit", "summary"]
