"""`groknet show`: show what is stored about listings."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import msgspec
from cyclopts import Parameter
from rich.console import Console
from rich.table import Table
from rich.text import Text

from groknet.cli.exits import CommandError, Exit
from groknet.cli.options import HomeOption, JsonOption, ListingIds
from groknet.cli.plain_text import shown
from groknet.cli.terminal import json_line, stdout
from groknet.home.config import Loaded, load_config
from groknet.home.epochs import in_force
from groknet.home.paths import find_home
from groknet.run.open_back_ends import open_store
from schemas.errors import BundleRefused
from schemas.manifest import load_manifest
from schemas.predictions import RemovalMarker, StoredListing
from workers.search.find.labels.usefulness import Usefulness
from workers.stores import Store


def show(
    listings: ListingIds,
    /,
    *,
    home: HomeOption = None,
    model_version: Annotated[
        str | None, Parameter(help="Version of the model. Default: the one that was stored last.")
    ] = None,
    json: JsonOption = False,
) -> Exit:
    """Show status, predictions and hashes of listings. Predictions are calibrated probabilities, best first, of the
    heads that apply to the listing. The most useful head comes first: the finest one that says what the thing is, or
    the one for things of every kind.

    The exit code is 4 when one of the listings is not stored, or was removed.

    --json writes one line for each listing, as it is stored, without the bytes of photos. A removed listing is
    {"listing_id", "status": "removed", "event_time"}.
    """
    loaded = load_config(find_home(home).must_exist())
    with open_store(loaded) as store:
        found = store.get(listings, model_version)
        heads = None if json else _heads(loaded, store)
    for listing_id in listings:
        entry = found.get(listing_id)
        if entry is None:
            continue
        if json:
            json_line(as_plain(entry))
        else:
            _print(entry, heads)
    missing = [name for name in listings if not isinstance(found.get(name), StoredListing)]
    if missing:
        what = "was removed" if missing[0] in found else "is not stored"
        more = f" ({len(missing)} such listings)" if len(missing) > 1 else ""
        raise CommandError(
            f"{missing[0]} {what}{more}; `groknet submit --wait` says what becomes of it", Exit.NOT_FOUND
        )
    return Exit.OK


def as_plain(entry: StoredListing | RemovalMarker) -> dict[str, Any]:
    """A stored listing as in JSON: the fields of the summary first, and the event without photo bytes."""
    plain: dict[str, Any] = msgspec.to_builtins(entry)
    if isinstance(entry, RemovalMarker):
        return {"listing_id": entry.listing_id, "status": "removed", "event_time": entry.event_time}
    for image in plain["event"].get("images", []):
        if "data" in image:
            image["data"] = None
    summary = plain.pop("summary")
    return {"listing_id": plain.pop("listing_id"), **summary, **plain}


def _heads(loaded: Loaded, store: Store) -> Usefulness | None:
    """The order of the heads, by the bundle in force; None if this home does not have that bundle."""
    try:
        manifest = load_manifest(Path(in_force(loaded, store).config.engine.bundle))
    except BundleRefused:
        return None
    return Usefulness(manifest, loaded.config.search.category_columns)


def _print(entry: StoredListing | RemovalMarker, heads: Usefulness | None) -> None:
    console = stdout()
    when = datetime.fromtimestamp(entry.event_time / 1e6, UTC).isoformat(sep=" ", timespec="seconds")
    title = Text(shown(entry.listing_id), "bold")
    if isinstance(entry, RemovalMarker):
        console.print(title.append(f"  removed  {when}", "not bold"))
        return
    console.print(title.append(f"  {entry.summary.status}  {when}  model {entry.model_version}", "not bold"))
    _print_offer(console, entry)
    table = Table("head", "label", "probability", "offered", box=None)
    said, applies = entry.summary.predictions, entry.summary.applies
    if applies is not None:
        console.print(f"applies: {', '.join(applies) or 'no head'}")
    listed = [head for head in (heads.order(said, applies) if heads else said) if applies is None or head in applies]
    # What a head that does not apply says means nothing; --json has it.
    if entry.images and not any(one.offered for head in listed for one in said[head]):
        console.print("nothing is known for sure; these are guesses" if listed else "nothing is known about it")
    for head in listed:
        for i, prediction in enumerate(said[head]):
            offered = "yes" if prediction.offered else ""
            table.add_row("" if i else shown(head), shown(prediction.label), f"{prediction.probability:.3f}", offered)
    console.print(table)
    for image in entry.images:
        box = "" if image.box is None else f"  box {','.join(f'{edge:g}' for edge in image.box)}"
        console.print(f"photo {shown(image.image_id)}{box}  hash {image.hash}")
    if entry.summary.status == "empty":
        console.print("no photos: nothing is tagged, and no search finds it")
    for bad in entry.summary.bad_images:
        console.print(f"photo {shown(bad.image_id)}  bad: {shown(bad.stage)} {shown(bad.error)}")


def _print_offer(console: Console, entry: StoredListing) -> None:
    """What the seller said of price and seller, if anything."""
    price, seller = entry.event.price, entry.event.seller_id
    parts = [f"price {price.amount} {price.currency}"] if price else []
    parts += [f"seller {shown(seller)}"] if seller else []
    if parts:
        console.print("  ".join(parts))
