"""`groknet data`: check and convert data sets, and derive labels without annotation."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter, validators
from rich.table import Table

from groknet.cli.exits import CommandError, Exit
from groknet.cli.options import JsonOption, ReaderOption
from groknet.cli.plain_text import shown
from groknet.cli.terminal import json_line, note, progress, stdout
from schemas.boxes import MOST_BOXES, PADDING, THRESHOLD
from schemas.errors import ConfigError

if TYPE_CHECKING:
    from training.readers.label_table import Row
    from training.weak.boxes import Boxes

_NAMED = 10  # skipped files to print; --json lists all of them


def check(
    folder: Annotated[Path, Parameter(help="Folder of one data set.")],
    /,
    *,
    reader: ReaderOption = "csv",
    decode: Annotated[bool, Parameter(negative=(), help="Also decode every photo. This reads all of them.")] = False,
    json: JsonOption = False,
) -> Exit:
    """Read the folder of a data set as training does, and show what it finds.

    This lists the photos of each split, the labels of each column, and the skipped files with the reason. It says
    whether there are too few validation photos for a head to offer anything.

    Layouts: csv has a labels.csv with the column path, perhaps split, and one for each kind of label. folder has one
    folder for each class, optionally below train, val and test. webdataset has tar shards of 0001.jpg and 0001.json.
    The others are published data sets: aliproducts, inshop, sop, products10k, rp2k. In a recipe: [[datasets]] reader =
    "rp2k", folder = "…".

    Training, evaluate and pack read a folder in the same way, so what they refuse is refused here. Notes say what a
    run would stumble on, such as a split without photos.

    --json writes {"photos": {split: n}, "columns": {column: labels}, "skipped": {name: reason}, "notes": [sentence]}.
    """
    _folder("folder", folder)
    from training.bundle.probabilities.silence import TARGET, sentence
    from training.readers import cautions, read

    found = read(reader, folder)
    skipped = found.skipped | _without_photo(folder, found.rows, decode=decode)
    good = [row for row in found.rows if row["path"] not in skipped]
    if not good:
        path = found.rows[0]["path"]
        raise ConfigError(f"data: no photo of {folder} could be decoded; the first is {path}: {skipped[path]}")
    notes = [*found.notes, *cautions(good)]
    splits = dict(Counter(row["split"] for row in good))
    if few := sentence("a head of these photos", splits.get("val", 0), TARGET):
        notes.append(few)
    names = dict.fromkeys(name for row in good for name in row if name not in ("path", "split"))
    columns = {name: len({row[name] for row in good if row.get(name)}) for name in names}
    if json:
        json_line({"photos": splits, "columns": columns, "skipped": skipped, "notes": notes})
        return Exit.OK
    _counts("photos", splits)
    _counts("labels", columns)
    _skipped(skipped, notes)
    return Exit.OK


def _without_photo(folder: Path, rows: Sequence[Row], *, decode: bool) -> dict[str, str]:
    """Rows whose photo is missing or, if asked, cannot be decoded: path → why."""
    from engines.pixels import decode as decode_photo
    from schemas.errors import Invalid
    from training.data.photos import squash
    from training.readers import read_photo
    from training.readers.label_table import box_of
    from training.readers.photo_paths import is_there

    if not decode:
        return {row["path"]: "cannot be read: no such file" for row in rows if not is_there(folder, row["path"])}
    wrong = {}
    with progress() as bar:
        for row in bar.track(rows, description="photos"):
            try:
                decode_photo(read_photo(folder, row["path"]), squash(64), box=box_of(row))
            except (Invalid, OSError) as error:
                wrong[row["path"]] = str(error)
    return wrong


def pack(
    folder: Annotated[Path, Parameter(help="Folder of one data set.")],
    /,
    *,
    out: Annotated[Path, Parameter(help="Folder for the shards.")],
    reader: ReaderOption = "csv",
    per_shard: Annotated[int, Parameter(help="Photos in each shard.", validator=validators.Number(gte=1))] = 1000,
    json: JsonOption = False,
) -> Exit:
    """Convert a data set of any layout to plain tar shards, to copy it to another machine.

    The bytes of photos do not change. The columns of a photo are stored next to it as JSON, and `origin` is its former
    path. In a recipe: [[datasets]] reader = "webdataset", folder = "…".

    --json writes {"shards", "photos", "skipped": {name: reason}, "notes": [sentence]}.
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
        json_line({"shards": len(packed.shards), "photos": packed.photos, "skipped": skipped, "notes": found.notes})
        return Exit.OK
    _skipped(skipped, found.notes)
    note(f"{packed.photos} photos in {len(packed.shards)} shards in {out}")
    return Exit.OK


def weak_labels(
    bundle: Annotated[Path, Parameter(help="Folder of the bundle whose embedding is compared.")],
    /,
    *,
    labelled: Annotated[Path, Parameter(help="Folder of a data set with product labels.")],
    photos: Annotated[Path, Parameter(help="Folder of photos without labels, subfolders included.")],
    out: Annotated[
        Path | None, Parameter(help="Table to write. Default: labels.csv in the folder of the photos.")
    ] = None,
    product: Annotated[str, Parameter(help="Column of the labelled data that names the product.")] = "product",
    threshold: Annotated[
        float, Parameter(help="Largest squared distance of unit embeddings, 2 − 2 cos. Smaller is stricter.")
    ] = 0.2,
    boxes: Annotated[
        Path | None,
        Parameter(help="CSV of boxes: path and left, top, right, bottom as shares, or x0, y0, x1, y1, W, H in pixels."),
    ] = None,
    detector: Annotated[
        Path | None, Parameter(help="Folder of a detector's bundle, which finds the products in the photos.")
    ] = None,
    detector_threshold: Annotated[
        float, Parameter(help="Least confidence of a box, 0 to 1.", validator=validators.Number(gte=0, lte=1))
    ] = THRESHOLD,
    most_boxes: Annotated[
        int, Parameter(help="Most boxes of one photo.", validator=validators.Number(gte=1, lte=MOST_BOXES))
    ] = 16,
    reader: ReaderOption = "csv",
    json: JsonOption = False,
) -> Exit:
    """Label photos with the product of the nearest labelled photo, if it is near enough.

    Boxes come from --boxes or from --detector. Each box of a photo, or the whole photo, is embedded and compared with
    the training and catalogue photos of the labelled data. Photos whose bytes equal a labelled photo are dropped, so
    that no test photo gets into training.

    The labelled validation photos show what this threshold and others do. `covered` is the share of them that is near
    enough. `right` is the share of those that got their own product. Choose a smaller threshold if right is below .95,
    because training does not notice wrong labels.

    The table has the common columns: path, box, split, domain, the product, and the labels that follow from the
    product. It also says where each label came from: source, weak_from (the labelled photo), weak_distance,
    weak_threshold, weak_model. To train on it together with the labelled data, as the same products:

    [[datasets]] name = "weak", folder = "…", product = "product", products_of = "grocery", share = 4

    --json writes {"counts": {…}, "distance": quantiles, "validation": [{"threshold", "photos", "covered", "right"}],
    "skipped": {…}}.
    """
    _folder("bundle", bundle)
    _folder("--labelled", labelled)
    _folder("--photos", photos)
    if boxes is not None and not boxes.is_file():
        raise CommandError(f"--boxes {boxes}: no such file", Exit.NOT_FOUND)
    if boxes is not None and detector is not None:
        raise CommandError("--detector: --boxes says already where the products are; give one of the two", Exit.USAGE)
    from training.weak import label_photos, read_boxes

    settings = _settings("WeakSettings", product=product, reader=reader, threshold=threshold)
    out = out or photos / "labels.csv"
    known = read_boxes(boxes) if boxes else None
    if detector is not None:
        _folder("--detector", detector)
        known = _detected(detector, photos, detector_threshold, most_boxes)
    with progress() as bar:
        task = bar.add_task("photos", total=None)
        report = label_photos(
            bundle,
            labelled,
            photos,
            out,
            settings,
            boxes=known,
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


def _detected(folder: Path, photos: Path, threshold: float, most_boxes: int) -> Boxes:
    """The boxes that a detector finds in the photos of a folder, with a progress bar."""
    from engines.detection import open_detector
    from training.weak import detect_boxes, unlabelled

    paths = unlabelled(photos)
    detector = open_detector(folder)
    try:
        with progress() as bar:
            task = bar.add_task("boxes", total=len(paths))
            return detect_boxes(
                detector,
                photos,
                paths,
                padding=PADDING,
                threshold=threshold,
                most_boxes=most_boxes,
                progress=lambda done, total: bar.update(task, completed=done, total=total),
            )
    finally:
        detector.close()


def query_pairs(
    logs: Annotated[
        list[Path],
        Parameter(
            help="Logs with one JSON object on each line, plain or .gz; - reads stdin.", allow_leading_hyphen=True
        ),
    ],
    /,
    *,
    out: Annotated[Path, Parameter(help="Table to write.")],
    photos: Annotated[Path | None, Parameter(help="Folder of the photos. Photos that it lacks are dropped.")] = None,
    min_images: Annotated[int, Parameter(help="Fewest photos of a query.")] = 25,
    min_buyers: Annotated[int, Parameter(help="Fewest buyers of a pair of query and photo.")] = 1,
    min_query_buyers: Annotated[int, Parameter(help="Fewest buyers of a query; 5 keep no person's own words.")] = 1,
    min_term_buyers: Annotated[int, Parameter(help="Fewest buyers of a word; rarer ones are cut out.")] = 1,
    most_pairs: Annotated[int, Parameter(help="Most pairs of a buyer; one with more is taken for a program.")] = 1_000,
    click_window_s: Annotated[float, Parameter(help="Most seconds from the search to the click.")] = 1800.0,
    message_window_s: Annotated[float, Parameter(help="Most seconds from the click to the message.")] = 86_400.0,
    json: JsonOption = False,
) -> Exit:
    """Make a table of photos and the searches that led to them, from a marketplace's log.

    A pair counts when a buyer searched, clicked a photo in the results within --click-window-s, and wrote to the seller
    of that listing within --message-window-s. Each line of a log is one event. The events of one buyer must be in order
    of time:

    {"time": "2026-03-01T10:00:00Z", "buyer": "b7", "event": "search", "query": "Blue mug"}

    {"time": 1772359205.0, "buyer": "b7", "event": "click", "listing": "l42", "image": "l42/0.jpg"}

    {"time": 1772359300.0, "buyer": "b7", "event": "message", "listing": "l42"}

    Queries are normalised: NFKC, lower case, single blanks, no punctuation, and no blanks between letters of scripts
    that are written without (Chinese, Japanese, Thai, Lao, Khmer, Burmese). Queries that differ only in accents of
    Latin, Greek or Cyrillic letters are one, named by its most frequent spelling. A query is dropped when it contains
    an address or a telephone number, repeats a letter five times or a word three times, contains no letter, is too
    long, or has fewer than --min-images photos or --min-query-buyers buyers. Words of fewer than --min-term-buyers
    buyers are cut out of it; in scripts without blanks, pairs of letters take the place of words. The report counts
    what was dropped, by reason. Memory does not grow with the log.

    The table has the columns path, split, queries, buyers and source. The split depends on the name of the photo: 5 %
    val, 5 % test. Several queries are separated by |. Train on the table with a multi-label head: [[heads]] id =
    "search", column = "queries", kind = "multi_label".

    --json writes {"read": {…}, "dropped": {reason: n}, "kept": {"queries", "photos", "pairs"}}.
    """
    if photos is not None:
        _folder("--photos", photos)
    from training.weak import clean_log

    chain = _settings("ChainSettings", click_window_s=click_window_s, message_window_s=message_window_s)
    counts = {"min_query_buyers": min_query_buyers, "min_term_buyers": min_term_buyers, "most_pairs": most_pairs}
    pairs = _settings("PairSettings", min_images=min_images, min_buyers=min_buyers, **counts)
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
    """A settings object. Its bounds are checked as those of a file are."""
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
        table.add_row(shown(name), f"{value:,}" if isinstance(value, int) else f"{value:.4f}")
    stdout().print(table)


def _skipped(skipped: dict[str, str], notes: Sequence[str] = ()) -> None:
    for text in notes:
        note(shown(text))
    for name, reason in list(skipped.items())[:_NAMED]:
        note(shown(f"skipped {name}: {reason}"))
    if len(skipped) > _NAMED:
        note(f"skipped {len(skipped) - _NAMED} more; --json lists all of them")
    sys.stderr.flush()
