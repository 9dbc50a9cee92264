"""`groknet import`: the products of a shop's feed become listings."""

from __future__ import annotations

import csv
import re
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter
from rich.table import Table

from groknet.cli.exits import CommandError, Exit
from groknet.cli.options import HomeOption, JsonOption
from groknet.cli.plain_text import shown
from groknet.cli.terminal import json_line, note, progress, stdout
from groknet.home.config import Loaded, load_config
from groknet.home.paths import find_home
from groknet.importing.events import EventMaker, Imported, import_events
from groknet.importing.formats import Format, read_feed
from groknet.importing.product import LeftOut, Note, Refused
from groknet.run.open_back_ends import open_stream
from groknet.submitting.send import Sender, outgoing
from schemas.events import encode_event
from workers import tracing

_NAMED = 20  # lines about refused products and fields on stderr; --problems and --json have all of them


def import_feed(
    feeds: Annotated[list[Path], Parameter(help="Feeds of products, plain or compressed with gzip.")],
    /,
    *,
    home: HomeOption = None,
    kind: Annotated[
        Format | None, Parameter(name="--format", help="Format of the feeds. Default: what each looks like.")
    ] = None,
    prefix: Annotated[str, Parameter(help="Text before each id, so that two shops never share an id: acme/")] = "",
    seller: Annotated[str | None, Parameter(help="Id of the seller of all products.")] = None,
    currency: Annotated[
        str | None, Parameter(help="Currency of prices that name none, such as EUR. Exports of shops name none.")
    ] = None,
    encoding: Annotated[str | None, Parameter(help="Encoding of text that is not UTF-8, such as cp1252.")] = None,
    dry_run: Annotated[bool, Parameter(negative=(), help="Send nothing; say what would be sent.")] = False,
    out: Annotated[
        Path | None, Parameter(help="Write the events to this file, one a line, instead of sending.")
    ] = None,
    problems: Annotated[Path | None, Parameter(help="Write all problems to this CSV file.")] = None,
    json: JsonOption = False,
) -> Exit:
    """Read the products of a shop's feed, and send each as a listing.

    Formats: Google product feeds as XML (RSS or Atom) and as text (tabs or commas), schema.org products as JSON-LD (a
    file, lines, or a web page), CSV exports of WooCommerce and of Shopify.

    The id of a listing is --prefix and the shop's id. The event time is the time at which the feed was last modified,
    so importing a feed again changes nothing, and a newer feed replaces what it names. Products that a newer feed no
    longer names stay; remove them with `groknet remove`.

    Photos are sent as addresses, and the tagger fetches them within the limits of [intake]. A photo whose address it
    would refuse is left out. A product without a photo is refused. A field that cannot be read, such as a price in two
    currencies, is left out and the product is sent. stderr names line and field of the first problems, --problems
    writes all of them to a file. A feed that is damaged in the middle is imported up to that place.

    A feed of any size needs the memory of a few products. A gzip file that unpacks to more than 200 times its size, and
    XML that declares entities, are not read further.

    --json writes one line for each problem, {"problem": "refused", "left_out" or "note", "feed", "place", "field",
    "why"}, and at the end {"read", "imported", "refused", "left_out", "notes"}.
    """
    if currency is not None and not re.fullmatch(r"[A-Za-z]{3}", currency):
        raise CommandError(f"--currency {currency}: give the three letters of ISO 4217, such as EUR", Exit.USAGE)
    loaded = load_config(find_home(home) if dry_run or out else find_home(home).make())
    report = _Report(json)
    ended = False
    how = _How(loaded, prefix, seller, kind, currency.upper() if currency else None, encoding)
    with ExitStack() as stack:
        if problems is not None:
            report.write_to(stack.enter_context(problems.open("w", newline="", encoding="utf-8")))
        take = _taker(loaded, stack, dry_run=dry_run, out=out)
        bar = stack.enter_context(progress())
        for feed in feeds:
            task = bar.add_task(f"{feed.name}: products", total=None)
            for made in _events(feed, how):
                if isinstance(made, Imported):
                    take(made)
                ended |= report.add(feed, made)
                bar.advance(task)
    report.end("would be sent" if dry_run else "written" if out else "sent")
    return Exit.FAILED if ended or not report.counts["imported"] else Exit.OK


@dataclass(frozen=True)
class _How:
    """What the options say about all feeds."""

    loaded: Loaded
    prefix: str
    seller: str | None
    kind: Format | None
    currency: str | None
    encoding: str | None


def _events(feed: Path, how: _How) -> Iterator[Imported | Refused | LeftOut]:
    try:
        changed = feed.stat().st_mtime_ns // 1000
    except OSError as error:
        raise CommandError(f"{feed}: cannot be read ({error.strerror})", Exit.NOT_FOUND) from None
    now = time.time_ns() // 1000
    intake = how.loaded.config.intake
    maker = EventMaker(prefix=how.prefix, seller_id=how.seller, event_time=min(changed, now), intake=intake)
    found = read_feed(feed, kind=how.kind, currency=how.currency, encoding=how.encoding)
    return import_events(found, maker)


def _taker(loaded: Loaded, stack: ExitStack, *, dry_run: bool, out: Path | None) -> Callable[[Imported], None]:
    """What is done with each event."""
    if dry_run:
        return lambda _: None
    if out is not None:
        file = stack.enter_context(out.open("wb"))
        return lambda made: _write(file, made)
    producer = stack.enter_context(open_stream(loaded, "import")).producer()
    stack.callback(producer.close)
    stack.callback(tracing.begin(loaded.config.tracing, "import"))
    sender = Sender(producer)
    stack.callback(sender.flush)
    return lambda made: sender.send(outgoing(made.event))


def _write(file: Any, made: Imported) -> None:
    file.write(encode_event(made.event) + b"\n")


class _Report:
    """Counts what became of each product, and names the problems."""

    def __init__(self, json: bool) -> None:
        self._json = json
        self._named = 0
        self._table: Any = None
        self.counts: Counter[str] = Counter(dict.fromkeys(("read", "imported", "refused", "left_out", "notes"), 0))
        self._reasons: Counter[str] = Counter()

    def write_to(self, file: Any) -> None:
        """Write all problems to a CSV file as well."""
        self._table = csv.writer(file)
        self._table.writerow(("problem", "feed", "place", "field", "why"))

    def add(self, feed: Path, made: Imported | Refused | LeftOut) -> bool:
        """Count one product. Returns whether the feed ended early."""
        self.counts["read"] += 1
        match made:
            case Imported():
                self.counts["imported"] += 1
                for one in made.notes:
                    self.counts["notes"] += 1
                    self._problem("note", feed, one)
                return False
            case Refused():
                self.counts["refused"] += 1
                self._problem("refused", feed, made)
                return made.ends
            case LeftOut():
                self.counts["left_out"] += 1
                self._reasons[made.why] += 1
                self._row("left_out", feed, Note(made.place, "", made.why))
                return False

    def _problem(self, kind: str, feed: Path, one: Note | Refused) -> None:
        self._row(kind, feed, one)
        self._named += 1
        if not self._json and self._named <= _NAMED:
            place = f"{feed}, {one.place}" if one.place else str(feed)
            field = f"{one.field}: " if one.field and not one.why.startswith(one.field) else ""
            kept = "refused" if kind == "refused" else "imported without this field"
            note(shown(f"{place}: {field}{one.why} ({kept})"))

    def _row(self, kind: str, feed: Path, one: Note | Refused) -> None:
        if self._table is not None:
            self._table.writerow((kind, feed, one.place, one.field, one.why))
        if self._json:
            found = {"feed": str(feed), "place": one.place, "field": one.field, "why": one.why}
            json_line({"problem": kind, **found})

    def end(self, done: str) -> None:
        """Print the sums."""
        if self._json:
            json_line(self.counts)
            return
        if self._named > _NAMED:
            note(f"{self._named - _NAMED} more problems; --problems FILE writes all of them")
        counts = self.counts
        refused = f"{counts['refused']} refused, {counts['left_out']} left out"
        print(f"{counts['read']} read: {counts['imported']} {done}, {refused}, {counts['notes']} fields left out")
        table = Table("left out because", "products", box=None)
        for why, count in self._reasons.most_common():
            table.add_row(shown(why), str(count))
        if self._reasons:
            stdout().print(table)
