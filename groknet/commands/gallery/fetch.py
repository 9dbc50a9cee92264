"""`groknet gallery fetch`: fetch a list of addresses or a sitemap, politely."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter, validators
from rich.table import Table

from groknet.cli.exits import CommandError, Exit
from groknet.cli.options import HomeOption, JsonOption
from groknet.cli.plain_text import shown
from groknet.cli.terminal import json_line, note, progress, stdout
from groknet.fetching.contents import Address, NotUsable, read_list
from groknet.fetching.crawl import PROGRESS, Crawl, CrawlSettings
from groknet.home.config import load_config
from groknet.home.paths import find_home

_NAMED = 10


def fetch(
    sources: Annotated[
        list[str],
        Parameter(help="Lists of addresses, sitemaps, events of `groknet import --out`, or the address of a sitemap."),
    ],
    /,
    *,
    out: Annotated[Path, Parameter(help="Folder for the photos. A later call with the same folder goes on.")],
    home: HomeOption = None,
    pause_s: Annotated[
        float, Parameter(help="Seconds between two requests of one host.", validator=validators.Number(gte=0.1))
    ] = 2.0,
    hosts: Annotated[
        int, Parameter(help="Hosts that are asked side by side.", validator=validators.Number(gte=1, lte=64))
    ] = 8,
    photos: Annotated[
        int, Parameter(help="Photos of each product of a page; 0 fetches none.", validator=validators.Number(gte=0))
    ] = 5,
    most: Annotated[
        int, Parameter(help="Addresses in all, with those that are found.", validator=validators.Number(gte=1))
    ] = 1_000_000,
    again: Annotated[bool, Parameter(negative=(), help="Also try again what failed before.")] = False,
    json: JsonOption = False,
) -> Exit:
    """Fetch the photos and the products that a list of addresses or a sitemap names.

    An address may be a photo, a sitemap, or a web page with schema.org products (JSON-LD). Photos go to photos/ in the
    folder, and labels.csv names their product, category and address. The products of pages go to events.ndjson: send
    them with `groknet submit`. What the folder has already is not fetched again, so the command can be interrupted and
    called again.

    Everything passes the limits of [intake]: only public hosts, https:// unless the host is listed, bounded sizes and
    times. Each host is asked one request at a time, with --pause-s between them or longer if its robots.txt says so
    (Crawl-delay). robots.txt is followed, under the name groknet-intake. A host that fails is asked less and less
    often, at most three times an address.

    --json writes at the end {"done", "waiting", "failed", "refused", "reasons": [{"state", "why", "addresses"}]}.
    """
    intake = load_config(find_home(home)).config.intake
    addresses = [list(_addresses(source)) for source in sources]
    settings = CrawlSettings(pause_s=pause_s, hosts=hosts, photos=photos, most=most)
    if (out / PROGRESS).exists():
        note(f"{out}: going on from an earlier call")
    with closing(Crawl(out, intake, settings)) as crawl:
        for some in addresses:
            crawl.add(some)
        if again:
            note(f"{crawl.retry()} addresses that failed are tried again")
        with progress() as bar:
            task = bar.add_task("addresses", total=None)
            for counts in crawl.run():
                waiting = counts.get("waiting", 0)
                bar.update(task, completed=sum(counts.values()) - waiting, total=sum(counts.values()))
        counts, reasons, beyond = crawl.counts(), crawl.reasons(), crawl.beyond
    if beyond:
        note(f"{beyond} addresses are left out; --most {most} is reached")
    if json:
        told = [{"state": state, "why": why, "addresses": count} for state, why, count in reasons]
        json_line({name: counts.get(name, 0) for name in ("done", "waiting", "failed", "refused")} | {"reasons": told})
        return Exit.OK
    print(f"{counts.get('done', 0)} fetched, {counts.get('refused', 0)} refused, {counts.get('failed', 0)} failed")
    table = Table("", "addresses", "because", box=None)
    for state, why, count in reasons[:_NAMED]:
        table.add_row(state, f"{count:,}", shown(why))
    if reasons:
        stdout().print(table)
    return Exit.OK


def _addresses(source: str) -> list[Address]:
    if source.lower().startswith(("https://", "http://")):
        return [Address(source)]
    try:
        return list(read_list(Path(source).read_bytes()))
    except OSError as error:
        raise CommandError(f"{source}: cannot be read ({error.strerror})", Exit.NOT_FOUND) from None
    except NotUsable as why:
        raise CommandError(f"{source}: {why}", Exit.USAGE) from None
