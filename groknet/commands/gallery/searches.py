"""`groknet gallery unanswered`, `discover` and `coverage`: what people search for and the catalogue lacks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter, validators
from rich.table import Table

from groknet.cli.exits import CommandError, Exit
from groknet.cli.options import HomeOption, JsonOption
from groknet.cli.plain_text import shown
from groknet.cli.terminal import json_line, note, progress, stdout
from groknet.gallery.coverage import Coverage, Covered, coverage, listings_by_category
from groknet.gallery.failing import Wanted, categories, groups, newest
from groknet.gallery.page import unanswered_page
from groknet.home.config import Loaded, load_config
from groknet.home.epochs import in_force
from groknet.home.paths import find_home
from groknet.run.open_back_ends import open_store
from schemas.manifest import Manifest, load_manifest
from workers.search.kept.ledger import FILE, KeptSearch, Ledger
from workers.stores import Store

RadiusOption = Annotated[
    int | None,
    Parameter(
        help="Bits of 256 in which a search may differ from the middle of its group. Default: search.close_bits.",
        validator=validators.Number(gte=0, lte=256),
    ),
]
MostOption = Annotated[int, Parameter(name="--most", help="Rows to print.", validator=validators.Number(gte=1))]


def unanswered(
    *,
    home: HomeOption = None,
    radius: RadiusOption = None,
    most: MostOption = 20,
    html: Annotated[Path | None, Parameter(help="Write a page with the photos of each group.")] = None,
    json: JsonOption = False,
) -> Exit:
    """List what people searched for by photo and did not find, grouped by likeness: what to acquire next.

    A search counts as unanswered if no listing was close to its photo (search.close_likeness). Groups are made of
    hashes: all members differ in at most --radius bits from the middle. The group that surely misses most comes first.

    Searches are kept only if the operator sets search.keep to hashes or photos, and only those whose client sends
    keep=true, because the person agrees. They are kept for search.keep_days days, and nothing says who searched.
    `groknet feedback forget` deletes them at once.

    --json writes one line for each group: {"searches", "category", "likeness", "first", "last", "hashes"}.
    """
    with _opened(home) as (loaded, _, manifest):
        searches = _of_epoch(loaded, manifest)
    found = groups([one for one in searches if not one.close], _radius(loaded, radius))
    if html is not None:
        html.write_text(unanswered_page(found), encoding="utf-8")
        note(f"page {html}: {len(found)} groups")
    if json:
        for group in found:
            json_line(_as_json(group) | {"hashes": [one.hash for one in group.members]})
        return Exit.OK
    missed = sum(group.searches for group in found)
    print(f"{len(searches)} searches are kept, {missed} of them without an answer, in {len(found)} groups")
    _print_groups(found[:most])
    return Exit.OK


def discover(
    *,
    home: HomeOption = None,
    radius: RadiusOption = None,
    most: MostOption = 20,
    json: JsonOption = False,
) -> Exit:
    """Rank categories, and groups of searches that look alike, by how often their searches fail.

    The score is the number of searches that fail at least, at 95 % (the lower bound of Wilson's interval, times the
    searches). So a category with 50 failures of 100 comes before one with 2 of 2. The category of a search is the
    best one by the vote of its nearest listings.

    --json writes {"category", "searches", "failed", "missed", "listings"} for each category, then a line for each
    group as `groknet gallery unanswered` writes it, with "failed" and "missed".
    """
    with _opened(home) as (loaded, store, manifest):
        searches = _of_epoch(loaded, manifest)
        listings = _listings(store, manifest)
    by_category = categories(searches, listings)
    found = groups(searches, _radius(loaded, radius))
    if json:
        for row in by_category:
            told = {"category": row.category, "searches": row.searches, "failed": row.failed}
            json_line(told | {"missed": round(row.missed, 2), "listings": row.listings})
        for group in found:
            json_line(_as_json(group) | {"failed": group.failed, "missed": round(group.missed, 2)})
        return Exit.OK
    table = Table("category", "searches", "failed", "surely missed", "listings", box=None)
    for row in by_category[:most]:
        counts = (f"{row.searches:,}", f"{row.failed:,}", f"{row.missed:.1f}", f"{row.listings or 0:,}")
        table.add_row(shown(row.category), *counts)
    stdout().print(table)
    _print_groups([group for group in found if group.failed][:most])
    return Exit.OK


def show_coverage(
    *,
    home: HomeOption = None,
    most: MostOption = 50,
    json: JsonOption = False,
) -> Exit:
    """Report which share of the listings gets a label from its photos, and which from its title alone.

    A listing is covered by its photos if a label is offered, by its title if the title contains the words of a label.
    There is one row for each category of the listings, and one for each head of the bundle.

    --json writes one line for each row: {"of": "all", "category" or "head", "name", "listings", "photos", "with_photo",
    "by_photo", "by_title", "by_either"}.
    """
    with _opened(home) as (_, store, manifest):
        found = _counted(store, manifest)
    rows = [("all", "", found.whole)]
    rows += [("category", name, one) for name, one in sorted(found.categories.items(), key=lambda i: -i[1].listings)]
    rows += [("head", name, one) for name, one in found.heads.items()]
    if json:
        for of, name, covered in rows:
            json_line({"of": of, "name": name, **vars(covered)})
        return Exit.OK
    table = Table("", "listings", "photos", "with a photo", "by photo", "by title alone", "by either", box=None)
    for _, name, covered in rows[: most + 1]:
        table.add_row(shown(name) or "all", f"{covered.listings:,}", f"{covered.photos:,}", *_shares(covered))
    stdout().print(table)
    return Exit.OK


def _shares(covered: Covered) -> Iterator[str]:
    for count in (covered.with_photo, covered.by_photo, covered.by_title, covered.by_either):
        yield f"{100 * covered.share(count):.1f} %"


@contextmanager
def _opened(home: Path | None) -> Iterator[tuple[Loaded, Store, Manifest]]:
    """The configuration, the store, and the manifest in force."""
    loaded = load_config(find_home(home).must_exist())
    with open_store(loaded) as store:
        yield loaded, store, load_manifest(Path(in_force(loaded, store).config.engine.bundle))


def kept_searches(loaded: Loaded) -> Ledger:
    """The file of kept searches and judgements. Raises CommandError if there is none."""
    path, settings = loaded.home.root / FILE, loaded.config.search
    if not path.exists():
        text = f"{path}: no such file, so no search and no judgement is kept in this home"
        remedy = "search.keep allows it; wait until clients send keep=true"
        if settings.keep == "nothing":
            remedy = 'set keep = "hashes" or "photos" under [search], restart search, and let clients send keep=true'
        raise CommandError(f"{text}; {remedy}", Exit.NOT_FOUND)
    return Ledger(path, days=settings.keep_days, most=settings.max_kept)


def _of_epoch(loaded: Loaded, manifest: Manifest) -> list[KeptSearch]:
    with closing(kept_searches(loaded)) as ledger:
        searches, older = newest(ledger.searches(), manifest.epoch)
    if older:
        note(f"{older} older searches are left out; the newest {len(searches)} are grouped")
    return searches


def _radius(loaded: Loaded, radius: int | None) -> int:
    return loaded.config.search.close_bits if radius is None else radius


def _counted(store: Store, manifest: Manifest) -> Coverage:
    with progress() as bar:
        return coverage(bar.track(store.scan(), description="listings"), manifest)


def _listings(store: Store, manifest: Manifest) -> Counter[str]:
    return listings_by_category(_counted(store, manifest))


def _day(at: int) -> str:
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d}"


def _as_json(group: Wanted) -> dict[str, Any]:
    times = [one.at for one in group.members]
    return {
        "searches": group.searches,
        "category": group.category,
        "likeness": round(group.likeness, 4),
        "first": _day(min(times)),
        "last": _day(max(times)),
    }


def _print_groups(found: list[Wanted]) -> None:
    table = Table("searches", "failed", "looks most like", "nearest alike", "first", "last", "middle", box=None)
    for group in found:
        told = _as_json(group)
        alike = f"{100 * group.likeness:.0f} %"
        days = (told["first"], told["last"])
        category = shown(group.category or "")
        table.add_row(str(group.searches), str(group.failed), category, alike, *days, group.centre.hash[:12])
    if found:
        stdout().print(table)
