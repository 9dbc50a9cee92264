"""`groknet data`: what a data set's folder holds, and labels that nobody had to write."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter, validators
from rich.table import Table

from groknet.cli.exits import CommandError, Exit
from groknet.cli.options import JsonOption, ReaderOption
from groknet.cli.terminal import json_line, note, progress, stdout

_NAMED = 10  # skipped files that a person is shown; --json names them all


def check(
    folder: Annotated[Path, Parameter(help="Folder of one data set.")],
    /,
    *,
    reader: ReaderOption = "csv",
    decode: Annotated[bool, Parameter(negative=(), help="Decode every photo as well; reads all of them.")] = False,
    json: JsonOption = False,
) -> Exit:
    """Read a data set's folder as training would, and say what is there: photos a split, labels a column, and what had
    to be skipped, by name, with the reason.

    Layouts: csv (labels.csv: path, split, a column a label), folder (a folder a class, perhaps below train, val,
    test), webdataset (plain tar shards of 0001.jpg, 0001.json), and aliproducts, inshop, sop, products10k, rp2k as
    they are published. In a recipe: [[datasets]] reader = "rp2k", folder = "…".

    --json writes {"photos": {split: n}, "columns": {column: labels}, "skipped": {name: reason}}.
    """
    _folder("folder", folder)
    from engines.pixels import decode as decode_photo
    from schemas.errors import Invalid
    from training.data.photos import squash
    from training.readers import read, read_photo
    from training.readers.label_table import box_of

    found = read(reader, folder)
    skipped = dict(found.skipped)
    with progress(quiet=not decode) as bar:
        for row in bar.track(found.rows if decode else [], description="photos"):
            try:
                decode_photo(read_photo(folder, row["path"]), squash(64), box=box_of(row))
            except (Invalid, OSError) as error:
                skipped[row["path"]] = str(error)
    good = [row for row in found.rows if row["path"] not in skipped]
    splits = dict(Counter(row.get("split", "") for row in good))
    names = dict.fromkeys(name for row in good for name in row if name not in ("path", "split"))
    columns = {name: len({row[name] for row in good if row.get(name)}) for name in names}
    if json:
        json_line({"photos": splits, "columns": columns, "skipped": skipped})
        return Exit.OK
    _counts("photos", splits)
    _counts("labels", columns)
    _skipped(skipped)
    return Exit.OK


def pack(
    folder: Annotated[Path, Parameter(help="Folder of one data set.")],
    /,
    *,
    out: Annotated[Path, Parameter(help="Folder for the shards.")],
    reader: ReaderOption = "csv",
    per_shard: Annotated[int, Parameter(help="Photos a shard.", validator=validators.Number(gte=1))] = 1000,
    json: JsonOption = False,
) -> Exit:
    """Pack a data set of any layout into plain tar shards, to carry it to another machine.

    Photos stay byte for byte; their columns lie beside them as json, with `origin`, the path that they had. In a
    recipe: [[datasets]] reader = "webdataset", folder = "…".

    --json writes {"shards", "photos", "skipped": {name: reason}}.
    """
    _folder("folder", folder)
    from training.readers import read, write_shards

    found = read(reader, folder)
    with progress() as bar:
        task = bar.add_task("photos", total=len(found.rows))
        packed = write_shards(
            folder,
            found.rows,
            out,
            per_shard=per_shard,
            progress=lambda done, total: bar.update(task, completed=done, total=total),
        )
    skipped = found.skipped | packed.skipped
    if json:
        json_line({"shards": len(packed.shards), "photos": packed.photos, "skipped": skipped})
        return Exit.OK
    _skipped(skipped)
    note(f"{packed.photos} photos in {len(packed.shards)} shards in {out}")
    return Exit.OK


def weak_labels(
    bundle: Annotated[Path, Parameter(help="Folder of the bundle whose embedding compares.")],
    /,
    *,
    labelled: Annotated[Path, Parameter(help="Folder of the data set whose products are known.")],
    photos: Annotated[Path, Parameter(help="Folder of photos without labels; all below it are looked at.")],
    out: Annotated[Path | None, Parameter(help="The table to write; else labels.csv beside the photos.")] = None,
    product: Annotated[str, Parameter(help="Column of the labelled data that is the product.")] = "product",
    threshold: Annotated[
        float, Parameter(help="Largest squared distance of unit embeddings, 2 − 2 cos; smaller is stricter.")
    ] = 0.2,
    boxes: Annotated[
        Path | None,
        Parameter(help="CSV of boxes: path and left, top, right, bottom as shares, or x0, y0, x1, y1, W, H in pixels."),
    ] = None,
    reader: ReaderOption = "csv",
    json: JsonOption = False,
) -> Exit:
    """Give photos without labels the product of the labelled photo that they look like, where it is near enough.

    Every box of a photo (the whole photo where there is none) is embedded and compared with the training and catalogue
    photos of the labelled data. Photos that are byte for byte a labelled one are dropped, so that no test photo comes
    back as training. What this and other thresholds let through is measured on the labelled validation photos:
    `covered` is the share of them that is near enough, `right` the share of these that got their own product. Where
    right is below .95 choose a smaller threshold: training believes what it is told.

    The table has the common columns (path, box, split, domain, the product and what the product decides) and where each
    label came from: source, weak_from (the labelled photo), weak_distance, weak_threshold, weak_model. Train on it
    beside the labelled data, as the same products:

    [[datasets]] name = "weak", folder = "…", product = "product", products_of = "grocery", share = 4

    --json writes {"counts": {…}, "distance": quantiles, "validation": [{"threshold", "photos", "covered", "right"}],
    "skipped": {…}}.
    """
    _folder("bundle", bundle)
    _folder("--labelled", labelled)
    _folder("--photos", photos)
    if boxes is not None and not boxes.is_file():
        raise CommandError(f"--boxes {boxes}: no such file", Exit.NOT_FOUND)
    from training.weak import label_photos, read_boxes

    settings = _settings("WeakSettings", product=product, reader=reader, threshold=threshold)
    out = out or photos / "labels.csv"
    with progress() as bar:
        task = bar.add_task("photos", total=None)
        report = label_photos(
            bundle,
            labelled,
            photos,
            out,
            settings,
            boxes=read_boxes(boxes) if boxes else None,
            progress=lambda done, total: bar.update(task, completed=done, total=total),
        )
    if json:
        parts = {"counts": report.counts, "distance": report.quantiles, "validation": report.validation}
        json_line({"table": str(out), **parts, "skipped": report.skipped})
        return Exit.OK
    _counts("photos", report.counts)
    _counts("nearest distance", report.quantiles)
    judged = Table("threshold", "photos", "covered", "right", box=None)
    for entry in report.validation:
        right = f"{entry['right']:.3f}" if "right" in entry else ""
        judged.add_row(f"{entry['threshold']:g}", str(entry["photos"]), f"{entry['covered']:.3f}", right)
    if report.validation:
        stdout().print(judged)
    _skipped(report.skipped)
    note(f"table {out}: {report.counts['added']} rows")
    return Exit.OK


def query_pairs(
    logs: Annotated[
        list[Path],
        Parameter(help="Logs, one JSON object a line; .gz, and - for standard input.", allow_leading_hyphen=True),
    ],
    /,
    *,
    out: Annotated[Path, Parameter(help="The table to write.")],
    photos: Annotated[Path | None, Parameter(help="Folder of the images; what is not there is dropped.")] = None,
    min_images: Annotated[int, Parameter(help="Photos that a query needs.")] = 25,
    min_buyers: Annotated[int, Parameter(help="Buyers that a pair of query and photo needs.")] = 1,
    click_window_s: Annotated[float, Parameter(help="Seconds from the search to the click.")] = 1800.0,
    message_window_s: Annotated[float, Parameter(help="Seconds from the click to the message.")] = 86_400.0,
    json: JsonOption = False,
) -> Exit:
    """Turn a marketplace's log into photos with the searches that led to them.

    A pair counts where one buyer searched, clicked a photo in the results within --click-window-s, and wrote to that
    listing's seller within --message-window-s. A line is one event, each buyer's in order of time:

    {"time": "2026-03-01T10:00:00Z", "buyer": "b7", "event": "search", "query": "Blue mug"}

    {"time": 1772359205.0, "buyer": "b7", "event": "click", "listing": "l42", "image": "l42/0.jpg"}

    {"time": 1772359300.0, "buyer": "b7", "event": "message", "listing": "l42"}

    Queries are brought to one form (NFKC, lower case, single blanks, no punctuation); those with an address or a
    telephone number, without a letter, or too long are dropped. Queries with fewer than --min-images photos go last.
    Everything dropped is counted by reason. Memory does not grow with the log.

    The table has path, split (by the photo's name: 5 % val, 5 % test), queries (several with | between), buyers and
    source. Train on it with a multi-label head: [[heads]] id = "search", column = "queries", kind = "multi_label".

    --json writes {"read": {…}, "dropped": {reason: n}, "kept": {"queries", "photos", "pairs"}}.
    """
    if photos is not None:
        _folder("--photos", photos)
    from training.weak import clean_log

    chain = _settings("ChainSettings", click_window_s=click_window_s, message_window_s=message_window_s)
    pairs = _settings("PairSettings", min_images=min_images, min_buyers=min_buyers)
    with progress() as bar:
        task = bar.add_task("lines", total=None)
        update = lambda lines: bar.update(task, completed=lines)  # noqa: E731
        report = clean_log(logs, out, chain, pairs, photos=photos, progress=update)
    if json:
        json_line({"table": str(out), "read": report.read, "dropped": report.dropped, "kept": report.kept})
        return Exit.OK
    for title, counts in (("read", report.read), ("dropped", report.dropped), ("kept", report.kept)):
        _counts(title, counts)
    note(f"table {out}: {report.kept['photos']} rows")
    return Exit.OK


def _settings(name: str, **values: Any) -> Any:
    """A settings object, its bounds checked as a file's would be."""
    import msgspec

    from training import weak

    try:
        return msgspec.convert(values, vars(weak)[name])
    except msgspec.ValidationError as error:
        option = str(error).rpartition("$.")[2].strip("`").replace("_", "-")
        text = str(error).partition(" - at ")[0]
        raise CommandError(f"--{option}: {text[:1].lower()}{text[1:]}", Exit.USAGE) from None


def _folder(what: str, folder: Path) -> None:
    if not folder.is_dir():
        raise CommandError(f"{what} {folder}: no such folder", Exit.NOT_FOUND)


def _counts(title: str, counts: dict[str, Any]) -> None:
    if not counts:
        return
    table = Table(title, "", box=None)
    for name, value in counts.items():
        table.add_row(name, f"{value:,}" if isinstance(value, int) else f"{value:.4f}")
    stdout().print(table)


def _skipped(skipped: dict[str, str]) -> None:
    for name, reason in list(skipped.items())[:_NAMED]:
        note(f"skipped {name}: {reason}")
    if len(skipped) > _NAMED:
        note(f"skipped {len(skipped) - _NAMED} more; --json names them all")
    sys.stderr.flush()
