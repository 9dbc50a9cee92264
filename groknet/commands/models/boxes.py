"""`groknet boxes`: label many photos with boxes from few that were drawn by hand."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter, validators
from rich.table import Table

from groknet.cli.exits import CommandError, Exit
from groknet.cli.options import EngineOption, JsonOption
from groknet.cli.own_command import own_command
from groknet.cli.plain_text import shown
from groknet.cli.stopping import wait_for_stop
from groknet.cli.terminal import json_line, note, progress, stdout

if TYPE_CHECKING:
    from training.boxes import Project
    from training.boxes.finder import BoxFinder
    from training.boxes.formats.found import Found
    from training.boxes.saved import Saved
    from training.boxes.thresholds import Thresholds

ProjectFolder = Annotated[Path, Parameter(name="project", help="Folder of the labelling project.")]
FormatOption = Annotated[
    Literal["coco", "voc", "table"] | None,
    Parameter(name="--format", help="Format of the boxes. Default: a folder is voc, .json is coco, .csv is a table."),
]
_NAMED = 10  # skipped boxes to print
_PORT = 9570


def init(
    project: ProjectFolder,
    /,
    *,
    photos: Annotated[Path, Parameter(help="Folder of the photos, subfolders included.")],
    boxes: Annotated[
        Path | None, Parameter(help="Boxes to begin with: COCO JSON, a folder of VOC XML, or a CSV.")
    ] = None,
    format: FormatOption = None,
    classes: Annotated[list[str] | None, Parameter(help="Classes of boxes, in the order of their keys.")] = None,
    validation: Annotated[
        float, Parameter(help="Share of the first photos with boxes that is set aside for the thresholds.")
    ] = 0.25,
    first: Annotated[int, Parameter(help="Photos to draw on first, where there are no boxes yet.")] = 100,
    json: JsonOption = False,
) -> Exit:
    """Begin a labelling project: the photos of a folder, with a few boxes to start from or without any.

    A project is labelled in rounds. `groknet boxes label` lets a detector look at every photo, keeps the boxes that it
    is sure of, and queues the photos that it doubts. `groknet boxes review` shows these in a page, where a person
    corrects them. `groknet boxes train` trains the next detector on both. Repeat until the queue is short.

    Without --boxes, --first photos are queued to draw on. They are chosen by their names, not by their looks.

    A part of the first photos with boxes is set aside for good. No detector of the project learns from them, and they
    decide from which score on a box is sure.

    --json writes {"photos", "with_boxes", "boxes", "queued", "set_aside", "skipped": {place: reason}}.
    """
    from training.boxes import Project
    from training.boxes.asking import ask_first
    from training.boxes.rounds import refresh_table
    from training.boxes.table import by_people
    from training.boxes.validation import set_aside

    first_boxes = _read(boxes, photos, format) if boxes is not None and photos.is_dir() else None
    made = Project.create(project, photos, classes=classes or (), validation=validation)
    skipped = _add(made, boxes, first_boxes) if boxes is not None and first_boxes is not None else {}
    given = made.given()
    with made.queue() as queue:
        validation_photos = set_aside(made, by_people(made, queue))
        queued = 0 if given else ask_first(made, queue, first)
        refresh_table(made, queue)
    counts = {
        "photos": len(made.paths),
        "with_boxes": len(given),
        "boxes": sum(len(one.boxes) for one in given.values()),
        "queued": queued,
        "set_aside": len(validation_photos),
    }
    if json:
        json_line({**counts, "skipped": skipped})
        return Exit.OK
    _print_counts("project", counts)
    _print_skipped(skipped)
    note(f"next: {own_command('boxes', 'label' if given else 'review', project)}")
    return Exit.OK


def import_boxes(
    project: ProjectFolder,
    /,
    *,
    boxes: Annotated[Path, Parameter(help="COCO JSON, a folder of VOC XML, or a CSV with one row for each box.")],
    format: FormatOption = None,
    check: Annotated[
        bool, Parameter(negative=(), help="Queue all imported photos, so that a person checks them.")
    ] = False,
    json: JsonOption = False,
) -> Exit:
    """Add boxes from a file. Photos that have imported boxes already get the new ones.

    Boxes that a person drew or corrected on the review page stay as they are.

    --json writes {"with_boxes", "boxes", "queued", "skipped": {place: reason}}.
    """
    from training.boxes.asking import ask_again
    from training.boxes.rounds import refresh_table
    from training.boxes.table import by_people
    from training.boxes.validation import set_aside

    opened = _open(project)
    skipped = _add(opened, boxes, _read(boxes, opened.photos, format))
    given = opened.given()
    with opened.queue() as queue:
        set_aside(opened, by_people(opened, queue))
        queued = ask_again(queue, given.values()) if check else 0
        refresh_table(opened, queue)
    counts = {"with_boxes": len(given), "boxes": sum(len(one.boxes) for one in given.values()), "queued": queued}
    if json:
        json_line({**counts, "skipped": skipped})
        return Exit.OK
    _print_counts("project", counts)
    _print_skipped(skipped)
    return Exit.OK


def export(
    project: ProjectFolder,
    /,
    *,
    out: Annotated[Path, Parameter(help="File to write (COCO), or folder to make (VOC).")],
    format: Annotated[Literal["coco", "voc"], Parameter(help="Format to write.")] = "coco",
    people_only: Annotated[bool, Parameter(negative=(), help="Leave out boxes that no person has seen.")] = False,
    json: JsonOption = False,
) -> Exit:
    """Write all boxes that are known for sure, as COCO JSON or Pascal VOC XML.

    Photos with doubtful boxes, and photos that nobody has looked at, are left out. In COCO, each annotation has
    `source` (hand, corrected, confirmed, import, detector), and `score`, `detector`, `was` and `origin` where there are
    any. The table PROJECT/boxes.csv has the same.

    --json writes {"out", "photos", "boxes"}.
    """
    from training.boxes.exporting import known_boxes
    from training.boxes.formats.any_format import write_boxes
    from training.boxes.rounds import standing

    opened = _open(project)
    if out.exists() and format == "voc":
        raise CommandError(f"--out {out}: is there already; name a new folder", Exit.USAGE)
    photos, facts = known_boxes(opened, standing(opened, opened.queue(read_only=True)), people_only=people_only)
    write_boxes(out, photos, opened.photos, format, facts)
    counts = {"photos": len(photos), "boxes": sum(len(photo.boxes) for photo in photos)}
    if json:
        json_line({"out": str(out), **counts})
    else:
        note(f"{out}: {counts['photos']:,} photos with {counts['boxes']:,} boxes")
    return Exit.OK


def label(
    project: ProjectFolder,
    /,
    *,
    detector: Annotated[
        Path | None,
        Parameter(help="Folder of a detector. Default: the newest that was trained here, else the packaged one."),
    ] = None,
    precision: Annotated[
        float,
        Parameter(help="Share of right boxes among those that are kept.", validator=validators.Number(gt=0, lte=1)),
    ] = 0.95,
    lost: Annotated[
        float,
        Parameter(help="Share of found products that may be forgotten.", validator=validators.Number(gte=0, lt=1)),
    ] = 0.02,
    most: Annotated[int, Parameter(help="Photos to queue.", validator=validators.Number(gte=0))] = 200,
    workers: Annotated[
        int | None,
        Parameter(
            help="Processes that run the detector, one core each. Default: this process with all cores; on Ray one a "
            "core.",
            validator=validators.Number(gte=1),
        ),
    ] = None,
    engine: EngineOption = "pool",
    json: JsonOption = False,
) -> Exit:
    """Let a detector look at all photos that nobody has labelled. Keep its sure boxes and queue the doubtful photos.

    Two scores divide the boxes. From the higher one on, --precision of the boxes are right; these are kept. Below the
    lower one are at most --lost of the right boxes; these are forgotten. Boxes between them are doubtful. Both are
    chosen on the photos that are set aside. The photos whose boxes lie most in the middle are asked first.

    A run that is stopped goes on where it was, also with other workers or another engine. The boxes are the same with
    any number of workers and with either engine, and a worker that dies costs the photos that it had in hand again.

    With --engine ray, all machines of the cluster that RAY_ADDRESS names must see the photos and the detector under the
    same paths. Without RAY_ADDRESS, Ray runs on this machine.

    --json writes {"detector", "keep", "drop", "validation": {…}, "photos": {state: n}, "queued"}.
    """
    from training.boxes.rounds import run_round, standing
    from training.boxes.table import counted_states
    from training.boxes.thresholds import Targets

    opened = _open(project)
    folder = detector or _newest(opened)
    with opened.queue() as queue, progress(time_left=True) as bar, _finder(folder, workers, engine) as finder:
        task = bar.add_task("photos", total=None)
        newest, queued = run_round(
            opened,
            queue,
            finder,
            Targets(precision=precision, lost=lost),
            most=most,
            progress=lambda done, total: bar.update(task, completed=done, total=total),
        )
        states = counted_states(standing(opened, queue).photos)
    limits = newest.thresholds
    if json:
        judged = {"photos": limits.photos, "boxes": limits.boxes, "kept": limits.kept, "right": limits.right}
        judged["found"] = limits.found
        head = {"detector": newest.detector_id, "keep": limits.keep, "drop": limits.drop}
        json_line({**head, "validation": judged, "photos": states, "queued": queued})
        return Exit.OK
    _print_thresholds(limits)
    _print_counts("photos", {**states, "queued": queued})
    note(f"next: {own_command('boxes', 'review', project)}")
    return Exit.OK


def review(
    project: ProjectFolder,
    /,
    *,
    host: Annotated[
        str, Parameter(help="Address to listen on. Another machine can reach any but a loopback address.")
    ] = ("127.0.0.1"),
    port: Annotated[int, Parameter(help="Port to listen on; 0 takes any free one.")] = _PORT,
) -> Exit:
    """Open the queue as a page in the browser, for one person. Ctrl-C stops it.

    Boxes are drawn, moved, resized, deleted and classed with a mouse or with keys alone; the page lists the keys. Every
    change is saved at once, and Z undoes it, also after a restart. Enter says that all boxes of a photo are right.

    The page has no password, so it listens on this machine alone. To work from another machine, use a tunnel: ssh -L
    9570:127.0.0.1:9570 HOST.
    """
    from training.boxes.rounds import refresh_table
    from training.review.app import build_review
    from training.review.photos import ReviewPhotos
    from workers.http.serving import serve

    opened = _open(project)
    with opened.queue() as queue:
        if not queue.items:
            raise CommandError(
                f"project: the queue of {project} is empty; run {own_command('boxes', 'label', project)}"
            )
        app = build_review(
            queue, ReviewPhotos(opened.photos), title=f"Boxes of {opened.photos.name}", classes=opened.classes()
        )
        server = serve(app, host, port)
        try:
            note(f"review of {len(queue.items):,} photos on {server.url}; Ctrl-C stops it")
            wait_for_stop()
        finally:
            server.stop()
        refresh_table(opened, queue)
        counts = queue.counts()
    undecided = counts.get("open", 0) + counts.get("draft", 0)
    note(f"{sum(counts.values()) - undecided:,} decided, {undecided:,} left")
    note(f"next: {own_command('boxes', 'train', project)}")
    return Exit.OK


def train(
    project: ProjectFolder,
    /,
    *,
    recipe: Annotated[Path | None, Parameter(help="Recipe of a detector. Default: the packaged small one.")] = None,
    steps: Annotated[int, Parameter(help="Steps of the run.", validator=validators.Number(gte=1))] = 600,
    fresh: Annotated[
        bool, Parameter(negative=(), help="Begin a new run, without the weights of the last one.")
    ] = False,
    start: Annotated[
        Path | None, Parameter(help="Begin with this network: a small detector's bundle, or a run's checkpoint.pt.")
    ] = None,
) -> Exit:
    """Train the project's next detector on the boxes that people gave and those that the last detector was sure of.

    At least half of every batch are photos whose boxes people gave. The photos that are set aside are chosen before the
    first training, if `init` and `import` had too few. A run that was stopped goes on when the command is called again.
    It does not with --fresh, another recipe, other --steps or other classes: these begin a new run.

    The first run begins with the packaged detector, unless --fresh or --recipe is given. Its network has seen
    groceries, clothes and street scenes, so few boxes teach it more than they teach a new one.

    The detector is a bundle in PROJECT/detectors, which every worker can run. Label again with it afterwards: it is
    sure of more photos than the last one.
    """
    import training
    from training.boxes.learning import learn, with_steps
    from training.boxes.rounds import refresh_table, standing
    from training.boxes.validation import enough_set_aside
    from training.detection.recipe import load_detector_recipe

    if start is not None and not start.exists():
        raise CommandError(f"--start {start}: no such file or folder", Exit.NOT_FOUND)
    opened = _open(project)
    plan = load_detector_recipe(recipe or Path(training.__file__).parent / "recipes" / "detect_small.toml")
    with opened.queue() as queue:
        now = standing(opened, queue)
        enough_set_aside(opened, now.photos)
        refresh_table(opened, queue)
    first = None if recipe else _packaged()
    bundle = learn(opened, now, with_steps(plan, steps), fresh=fresh, start=start, first=first)
    note(f"detector {bundle}")
    note(f"next: {own_command('boxes', 'label', project)}")
    return Exit.OK


def status(project: ProjectFolder, /, *, json: JsonOption = False) -> Exit:
    """Show where a project stands: photos by state, boxes by source, the thresholds, and the hours of drawing saved.

    Hours saved are all boxes that were drawn, corrected, confirmed or kept, times the seconds that drawing a box takes,
    without the time that was spent on the review page. The seconds are those that people took on this page, if they
    drew at least 20 boxes on empty photos; otherwise the 7.0 seconds of a published study (Papadopoulos et al. 2017).

    --json writes {"photos": {state: n}, "boxes": {source: n}, "queue": {choice: n}, "keep", "drop", "seconds_a_box",
    "measured", "spent_s", "saved_s"}.
    """
    from training.boxes.project import counted
    from training.boxes.rounds import standing
    from training.boxes.saved import saved
    from training.boxes.table import counted_states, sources

    opened = _open(project)
    queue = opened.queue(read_only=True)
    now = standing(opened, queue)
    limits = now.newest.thresholds if now.newest else None
    states, boxes = counted_states(now.photos), counted(sources(now.photos))
    work = saved(now.photos, queue)
    if json:
        scores = {"keep": limits and limits.keep, "drop": limits and limits.drop}
        pace = {"seconds_a_box": work.seconds_a_box, "measured": work.measured}
        spent = {"spent_s": round(work.spent_s, 1), "saved_s": round(work.saved_s, 1)}
        json_line({"photos": states, "boxes": boxes, "queue": queue.counts(), **scores, **pace, **spent})
        return Exit.OK
    _print_counts("photos", {**states, "set aside": len(opened.validation())})
    _print_counts("boxes", boxes)
    _print_counts("queue", queue.counts())
    if limits:
        _print_thresholds(limits)
    note(_saved_text(work))
    return Exit.OK


def _open(folder: Path) -> Project:
    from training.boxes import Project

    if not folder.is_dir():
        raise CommandError(f"project {folder}: no such folder; begin with `groknet boxes init`", Exit.NOT_FOUND)
    return Project.open(folder)


def _read(boxes: Path, photos: Path, form: Literal["coco", "voc", "table"] | None) -> Found:
    """The boxes of a file or folder that belong to photos of a folder."""
    from training.boxes.formats.any_format import read_boxes

    if not boxes.exists():
        raise CommandError(f"--boxes {boxes}: no such file or folder", Exit.NOT_FOUND)
    found = read_boxes(boxes, photos.resolve(), form)
    if not found.photos:
        place, reason = next(iter(found.skipped.items()), (str(boxes), "it is empty"))
        raise CommandError(f"--boxes {boxes}: no photo of it is in {photos}; {place}: {reason}", Exit.USAGE)
    return found


def _add(project: Project, boxes: Path, found: Found) -> dict[str, str]:
    """Add boxes to a project, and return what was skipped."""
    project.give(found.photos, boxes.name)
    return found.skipped


def _packaged() -> Path | None:
    import training

    folder = Path(training.__file__).parent / "bundles" / "detector"
    return folder if folder.is_dir() else None


def _newest(project: Project) -> Path:
    packaged = _packaged()
    found = project.detectors() or ([packaged] if packaged else [])
    if not found:
        remedy = own_command("boxes", "train", project.folder)
        raise CommandError(f"--detector: the project has no detector yet; name one, or train one: {remedy}")
    return found[-1]


@contextmanager
def _finder(folder: Path, workers: int | None, engine: EngineOption) -> Iterator[BoxFinder]:
    """The detector in this process with as many threads as there are cores, or on workers with one thread each."""
    from training.boxes.finder import by_workers, in_this_process

    if workers is not None or engine == "ray":
        yield by_workers(folder, workers or os.cpu_count() or 1, engine)
        return
    from engines.detection import open_detector

    detector = open_detector(folder)
    try:
        yield in_this_process(detector)
    finally:
        detector.close()


def _print_counts(title: str, counts: Mapping[str, int]) -> None:
    table = Table(title, "", box=None)
    for name, value in counts.items():
        table.add_row(shown(name.replace("_", " ")), f"{value:,}")
    if counts:
        stdout().print(table)


def _print_thresholds(limits: Thresholds) -> None:
    if limits.kept:
        kept = f"{limits.right} of {limits.kept} are right on {limits.photos} validation photos"
        note(f"kept from score {limits.keep:.2f} on: {kept}")
    else:
        note("kept: nothing, because no score reaches --precision on the validation photos; correct more photos first")
    note(f"shown to a person from score {limits.show:.2f} on")
    note(f"forgotten below score {limits.drop:.2f}: from there on {limits.found} of {limits.boxes} boxes are found")


def _saved_text(work: Saved) -> str:
    boxes = work.detector + work.confirmed + work.drawn
    source = "measured on this page" if work.measured else "Papadopoulos et al. 2017"
    drawing, spent = work.seconds_a_box * boxes / 3600, work.spent_s / 3600
    text = f"{boxes:,} boxes x {work.seconds_a_box:.1f} s ({source}) = {drawing:.2f} h of drawing"
    return f"{text}; spent {spent:.2f} h; saved {work.saved_s / 3600:.2f} h"


def _print_skipped(skipped: Mapping[str, str]) -> None:
    items: Iterable[tuple[str, str]] = list(skipped.items())[:_NAMED]
    for place, reason in items:
        note(shown(f"skipped {place}: {reason}"))
    if len(skipped) > _NAMED:
        note(f"skipped {len(skipped) - _NAMED} more; --json lists all of them")
