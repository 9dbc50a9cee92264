"""`groknet data clean` and its steps, `report`, `review` and `undo`: from crawled photos to clean products."""

from __future__ import annotations

import json as json_module
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter, validators
from rich.table import Table

from groknet.cli.exits import CommandError, Exit
from groknet.cli.options import EngineOption, JsonOption, LayoutOption
from groknet.cli.own_command import own_command
from groknet.cli.plain_text import shown
from groknet.cli.terminal import json_line, note, progress, stdout

if TYPE_CHECKING:
    from training.cleaning import Cleaning, Embedder, Source

_ABOUT = "cleaning.json"

FolderArgument = Annotated[Path, Parameter(help="Folder of the photos.")]
OutOption = Annotated[
    Path | None, Parameter(name="--out", help="Folder of the cleaning. Default: FOLDER-clean, next to FOLDER.")
]
ProductOption = Annotated[str, Parameter(name="--product", help="Column that names the product of a photo.")]
WorkersOption = Annotated[
    int | None,
    Parameter(
        name="--workers",
        help="Workers that read photos, and on Ray embed them. Default: one a core.",
        validator=validators.Number(gte=1),
    ),
]
BundleArgument = Annotated[
    Path | None, Parameter(name="--bundle", help="Bundle whose embedding compares photos. Default: the demo bundle.")
]


def dedup(
    folder: FolderArgument,
    /,
    *,
    out: OutOption = None,
    reader: LayoutOption = "",
    product: ProductOption = "product",
    workers: WorkersOption = None,
    engine: EngineOption = "pool",
    bits: Annotated[int, Parameter(help="Largest distance of two 256-bit hashes that are looked at.")] = 64,
    likeness: Annotated[float, Parameter(help="Least likeness of the edges of two copies, 0 to 1.")] = 0.75,
    json: JsonOption = False,
) -> Exit:
    """Find photos with equal bytes, and photos that are one picture: changed, cut, framed or turned a little.

    The best photo of each group stays: the largest, sharpest, least compressed one with the fewest overlays. Photos of
    the splits test, val and gallery stay before those of train.

    Nothing is deleted. The folder of the cleaning has marks.jsonl, which says what was decided and why, and labels.csv
    without the duplicates. A run that was interrupted goes on where it ended.

    With --engine ray, all machines of the cluster that RAY_ADDRESS names must see FOLDER under the same path, and the
    workers are the photos' readers. Without RAY_ADDRESS, Ray runs on this machine.

    --json writes {"files", "kept", "relabelled", "same_bytes", "near_duplicate", "noise", "unreadable", "no_photo",
    "hidden", "products merged"}.
    """
    from training.cleaning import DuplicateSettings

    settings = _settings(DuplicateSettings, bits=bits, likeness=likeness)
    with _cleaning(folder, out, reader=reader, product=product, workers=workers, engine=engine) as cleaning:
        cleaning.duplicates(cleaning.read(), settings)
    return _end(cleaning, json=json)


def denoise(
    folder: FolderArgument,
    /,
    *,
    out: OutOption = None,
    reader: LayoutOption = "",
    product: ProductOption = "product",
    workers: WorkersOption = None,
    engine: EngineOption = "pool",
    bundle: BundleArgument = None,
    strict: Annotated[float, Parameter(help="Strict radius, squared L2 distance. 0 chooses it from the data.")] = 0.0,
    loose: Annotated[float, Parameter(help="Loose radius, squared L2 distance. 0 chooses it from the data.")] = 0.0,
    json: JsonOption = False,
) -> Exit:
    """Find the photos under a product's label that show something else, by hierarchical DBSCAN.

    The largest cluster within a strict radius is the product. Photos within a looser radius of it are taken back, and
    the others are marked. The radii are chosen from the data: as large as possible, while few photos of other products
    lie within them. The report shows the choice.

    Run dedup first: copies of a wrong photo form a cluster of their own. Output as of dedup.
    """
    from training.cleaning import NoiseSettings

    settings = _settings(NoiseSettings, strict=strict, loose=loose)
    if strict and loose and loose < strict:
        raise CommandError(f"--loose {loose:g}: it must be at least --strict {strict:g}", Exit.USAGE)
    with _cleaning(folder, out, reader=reader, product=product, workers=workers, engine=engine) as cleaning:
        _need_products(cleaning)
        with _embedder(bundle, workers, engine) as embedder:
            cleaning.noise(embedder, settings)
    return _end(cleaning, json=json)


def merge(
    folder: FolderArgument,
    /,
    *,
    out: OutOption = None,
    reader: LayoutOption = "",
    product: ProductOption = "product",
    workers: WorkersOption = None,
    engine: EngineOption = "pool",
    bundle: BundleArgument = None,
    highest: Annotated[float, Parameter(help="Share of confused photos at which the first round merges.")] = 0.5,
    lowest: Annotated[float, Parameter(help="Share at which the last rounds merge.")] = 0.2,
    json: JsonOption = False,
) -> Exit:
    """Find labels that are one product, by the confusions of a classifier.

    Labels whose photos are taken for each other often enough are merged. The classifier is fitted again, the threshold
    is lowered, and so on until nothing merges. Each merge is a mark with two photos that explain it.

    In the cleaned table, `product` has the merged label. Output as of dedup.
    """
    from training.cleaning import MergeSettings

    settings = _settings(MergeSettings, highest=highest, lowest=lowest)
    with _cleaning(folder, out, reader=reader, product=product, workers=workers, engine=engine) as cleaning:
        _need_products(cleaning)
        with _embedder(bundle, workers, engine) as embedder:
            cleaning.merge(embedder, settings)
    return _end(cleaning, json=json)


def relabel(
    folder: FolderArgument,
    /,
    *,
    out: OutOption = None,
    reader: LayoutOption = "",
    product: ProductOption = "product",
    workers: WorkersOption = None,
    engine: EngineOption = "pool",
    bundle: BundleArgument = None,
    clear_by: Annotated[
        float, Parameter(help="The next product is less alike by so much, a difference of two cosines.")
    ] = 0.05,
    radius: Annotated[
        float,
        Parameter(help="Squared L2 distance to the product's nearest photo. 0 chooses it from the data."),
    ] = 0.0,
    json: JsonOption = False,
) -> Exit:
    """Find the product of photos that denoise left out. They are kept under its label.

    A photo goes to the product that is most alike, if the product's nearest photo is within the radius and no other
    product is nearly as much alike. Other photos stay left out. The radius is chosen so that hardly any photo of a
    product that the folder does not have would get a label.

    Run denoise and merge first: two labels of one product are equally alike, so nothing is clear. Output as of dedup.
    """
    from training.cleaning import RelabelSettings

    settings = _settings(RelabelSettings, clear_by=clear_by, radius=radius)
    with _cleaning(folder, out, reader=reader, product=product, workers=workers, engine=engine) as cleaning:
        _need_products(cleaning)
        with _embedder(bundle, workers, engine) as embedder:
            cleaning.relabel(embedder, settings)
    return _end(cleaning, json=json)


def clean(
    folder: FolderArgument,
    /,
    *,
    out: OutOption = None,
    reader: LayoutOption = "",
    product: ProductOption = "product",
    workers: WorkersOption = None,
    engine: EngineOption = "pool",
    bundle: BundleArgument = None,
    json: JsonOption = False,
) -> Exit:
    """De-duplicate, de-noise, merge and relabel a folder of photos, with the defaults of these four commands.

    Without a table, the product of a photo is the folder that it lies in. Where there are no two products to compare,
    only duplicates are found.

    The result is a data set that training takes:

    groknet train RECIPE --init FOLDER-clean

    Output as of dedup; report.html shows the photos behind the decisions.
    """
    from training.cleaning import DuplicateSettings, MergeSettings, NoiseSettings, RelabelSettings

    with _cleaning(folder, out, reader=reader, product=product, workers=workers, engine=engine) as cleaning:
        cleaning.duplicates(cleaning.read(), DuplicateSettings())
        if cleaning.has_products():
            with _embedder(bundle, workers, engine) as embedder:
                cleaning.noise(embedder, NoiseSettings())
                cleaning.merge(embedder, MergeSettings())
                cleaning.relabel(embedder, RelabelSettings())
    if not cleaning.has_products():
        note(f"the column {product!r} has no two products, so nothing was de-noised, merged or relabelled")
    return _end(cleaning, json=json)


def report(
    out: Annotated[Path, Parameter(help="Folder of a cleaning.")],
    /,
    *,
    json: JsonOption = False,
) -> Exit:
    """Write report.html, marks.csv and labels.csv of a cleaning again, for instance after an undo.

    report.html contains small copies of photos, so mind who may see it. Output as of dedup.
    """
    return _end(_reopened(out), json=json)


def review(
    out: Annotated[Path, Parameter(help="Folder of a cleaning.")],
    /,
    *,
    host: Annotated[
        str, Parameter(help="Address to listen on. Another machine can reach any but a loopback address.")
    ] = "127.0.0.1",
    port: Annotated[int, Parameter(help="Port to listen on; 0 takes any free one.")] = 9571,
) -> Exit:
    """Show duplicates, wrong photos and merges on a page, for one person to check. Ctrl-C stops it.

    The most doubtful ones come first. Every decision is stored at once, and Z undoes it, also after a restart. At the
    end the decisions take marks back or put them in force, and the cleaned table is written again.

    The page has no password, so it listens on this machine alone.
    """
    cleaning = _reopened(out)
    from groknet.cli.stopping import wait_for_stop
    from training.cleaning import review_items, take_decisions
    from training.review import Queue
    from training.review.app import build_review
    from training.review.photos import ReviewPhotos
    from workers.http.serving import serve

    with Queue(out / "review") as queue:
        take_decisions(queue, cleaning.marks)  # those of a review that was killed, before their items are made anew
        items = review_items(cleaning.source, cleaning.marks, cleaning.product)
        if not items:
            raise CommandError(f"{out}: there is nothing to review; no step marked anything", Exit.NOT_FOUND)
        queue.put_open(items)
        app = build_review(
            queue, ReviewPhotos(cleaning.source.folder), title=f"Cleaning of {cleaning.source.folder.name}"
        )
        server = serve(app, host, port)
        try:
            note(f"review of {len(queue.items):,} groups on {server.url}; Ctrl-C stops it")
            wait_for_stop()
        finally:
            server.stop()
        found = take_decisions(queue, cleaning.marks)
    note(
        f"{found.decided} decided; {found.undone} marks taken back, {found.redone} in force again, {found.added} added"
    )
    return _end(cleaning, json=False, seconds=found.seconds)


def undo(
    out: Annotated[Path, Parameter(help="Folder of a cleaning.")],
    ids: Annotated[list[str] | None, Parameter(help="Ids of marks, as report.html and marks.csv show them.")] = None,
    /,
    *,
    photo: Annotated[str, Parameter(help="Instead of ids: all marks of this photo.")] = "",
    step: Annotated[
        Literal["", "duplicates", "noise", "merge", "relabel", "review"],
        Parameter(help="Instead of ids: all marks of a step."),
    ] = "",
    redo: Annotated[bool, Parameter(negative=(), help="Put the marks back in force instead.")] = False,
    json: JsonOption = False,
) -> Exit:
    """Take marks back, and write the cleaned table again. A mark that was taken back stays so when its step runs again.

    Output as of dedup.
    """
    cleaning = _reopened(out)
    if bool(ids) + bool(photo) + bool(step) != 1:
        raise CommandError("undo: give ids of marks, --photo or --step", Exit.USAGE)
    read = {mark.id for mark, _ in cleaning.marks.all("read")}
    wanted = list(ids or [])
    if not wanted:
        wanted = [mark.id for mark, _ in cleaning.marks.all(step) if not photo or mark.photo == photo]
        wanted = [one for one in wanted if one not in read] or wanted
        if not wanted:
            raise CommandError(f"undo: no mark of {photo or step}", Exit.NOT_FOUND)
    if read.intersection(wanted):
        raise CommandError(
            "undo: a file that is no photo or cannot be read cannot be taken back; mend it, then clean again"
        )
    changed = cleaning.marks.redo(wanted) if redo else cleaning.marks.undo(wanted)
    note(f"{changed} marks {'are in force again' if redo else 'were taken back'}")
    return _end(cleaning, json=json)


@contextmanager
def _cleaning(
    folder: Path,
    out: Path | None,
    *,
    reader: str,
    product: str,
    workers: int | None = None,
    engine: EngineOption = "pool",
) -> Iterator[Cleaning]:
    """The cleaning of a folder, with a progress bar."""
    if not folder.is_dir():
        raise CommandError(f"folder {folder}: no such folder", Exit.NOT_FOUND)
    out = out or folder.absolute().with_name(f"{folder.absolute().name}-clean")
    if folder.resolve() in (out.resolve(), *out.resolve().parents):
        raise CommandError(f"--out {out}: it lies in the folder of the photos; name another one", Exit.USAGE)
    from training.cleaning import Cleaning, open_source

    with progress(time_left=True) as bar:
        tasks: dict[str, Any] = {}

        def show(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = bar.add_task(what, total=total or None)
            bar.update(tasks[what], completed=done, total=total or None)

        source = open_source(folder, reader)
        _need_column(source, product)
        cleaning = Cleaning(source, out, product, workers=workers, engine=engine, bar=show)
        _remember(source, out, product)
        yield cleaning


@contextmanager
def _embedder(bundle: Path | None, workers: int | None, engine: EngineOption) -> Iterator[Embedder]:
    """In this process with as many threads as there are cores, or on Ray with one thread for each worker."""
    from groknet.home.config import demo_bundle
    from training.cleaning import by_workers, in_this_process

    folder = bundle or demo_bundle()
    if engine == "ray":
        yield by_workers(folder, workers or os.cpu_count() or 1, engine)
        return
    from engines.recognition import build_engine

    recogniser = build_engine(folder)
    try:
        yield in_this_process(recogniser)
    finally:
        recogniser.close()


def _remember(source: Source, out: Path, product: str) -> None:
    """Write what the cleaning is of. Refuse another column than that of the marks which are there."""
    from engines.files import write_file
    from training.cleaning import Marks

    if (out / _ABOUT).is_file():
        before = json_module.loads((out / _ABOUT).read_text())["product"]
        if before != product and any(mark.step in ("noise", "merge", "relabel") for mark, _ in Marks(out).all()):
            text = f"{out} is a cleaning by the column {before!r}, and its marks name labels of that one"
            raise CommandError(f"--product {product}: {text}; give another --out", Exit.USAGE)
    about = {"folder": str(source.folder.resolve()), "reader": source.reader, "product": product}
    write_file(out / _ABOUT, json_module.dumps(about, indent=1))


def _reopened(out: Path) -> Cleaning:
    if not (out / _ABOUT).is_file():
        raise CommandError(f"{out}: no cleaning; `groknet data clean FOLDER` makes one", Exit.NOT_FOUND)
    from training.cleaning import Cleaning, open_source

    about = json_module.loads((out / _ABOUT).read_text())
    return Cleaning(open_source(Path(about["folder"]), about["reader"]), out, about["product"])


def _need_column(source: Source, product: str) -> None:
    """Refuse a column that was named and that no photo has. Without the default one there are no products."""
    columns = source.rows.columns()
    if product == "product" or product in columns:
        return
    there = [name for name in columns if name not in ("path", "split")]
    raise CommandError(f"--product {product}: there is no such column; there are {', '.join(there)}", Exit.USAGE)


def _need_products(cleaning: Cleaning) -> None:
    if not cleaning.has_products():
        raise CommandError(
            f"--product {cleaning.product}: the photos have no two products in this column; name another one",
            Exit.USAGE,
        )


def _settings(kind: Any, **values: Any) -> Any:
    """A settings object. Its bounds are checked as those of a file are."""
    import msgspec

    try:
        return msgspec.convert(values, kind)
    except msgspec.ValidationError as error:
        option = str(error).rpartition("$.")[2].strip("`").replace("_", "-")
        text = str(error).partition(" - at ")[0]
        raise CommandError(f"--{option}: {text[:1].lower()}{text[1:]}", Exit.USAGE) from None


def _end(cleaning: Cleaning, *, json: bool, seconds: float = 0.0) -> Exit:
    """Write the tables and the report, and print what became of every file."""
    from training.cleaning import SECONDS, account, write_labels, write_marks, write_report

    out, marks = cleaning.out, cleaning.marks
    write_labels(cleaning.source, marks, out, cleaning.product)
    write_marks(marks, out / "marks.csv")
    page = write_report(cleaning.source, marks, out, seconds=seconds or SECONDS)
    counts = account(cleaning.source, marks)
    if json:
        json_line(counts)
        return Exit.OK
    table = Table("files", "", box=None)
    for name, count in counts.items():
        table.add_row(shown(name.replace("_", " ")), f"{count:,}")
    stdout().print(table)
    for text in cleaning.source.notes:
        note(shown(text))
    note(f"table {out / 'labels.csv'}, report {page}")
    note(f"to train on it: {own_command('train', 'RECIPE', '--init', out)}")
    return Exit.OK
