"""The labelling loop without a person: `python -m benchmarks.detectors.boxes_loop --data FOLDER --work FOLDER`.

Freiburg's training photos are a project, of which a tenth has its boxes. A detector is trained on them, labels the
rest, and queues what it doubts. The hidden boxes then play the person: a proposed box that overlaps a hidden one by IoU
.75 or more is left as it is, one that overlaps by .5 or more is moved, any other one is deleted, and what is missing is
drawn. Each moved, deleted or drawn box counts as touched, and so does each box of the first tenth. The loop ends when
the next photo would cost more than the allowed share.

Every detector is trained anew with the same recipe and the same number of steps, by the product's own commands' code.
Kinds are not told apart. The test photos measure once, at the end.
"""

from __future__ import annotations

import argparse
import logging
import shutil
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np

from benchmarks.report import page, parser, table, versions, write_page
from engines.detection import open_detector
from engines.pixels import Box
from training.boxes.finder import in_this_process
from training.boxes.labels import Label, label
from training.boxes.learning import learn, with_steps
from training.boxes.project import Project
from training.boxes.rounds import run_round, standing
from training.boxes.thresholds import Targets, overlap
from training.detection.data.box_table import read_box_table
from training.detection.data.boxed_set import Boxes
from training.detection.evaluation.scoring import Found, average_precision
from training.detection.recipe import BoxSet, DetectorRecipe, load_detector_recipe
from training.detection.records import PRODUCT, BoxedPhoto
from training.readers.splits import chance
from training.review import Item, Queue

RECIPE = Path(__file__).parents[2] / "training" / "recipes" / "detect_small.toml"
FIRST, ALLOWED = 0.10, 0.15
LEFT, MOVED = 0.75, 0.5  # IoU from which on a person leaves a proposed box, or moves it
Edges = tuple[float, float, float, float]


class Step(NamedTuple):
    """A detector of the loop. `touched` counts boxes, `kept` those that it learned from and nobody saw; `precision` is
    the share of right ones among these."""

    name: str
    bundle: Path
    touched: int
    kept: int
    precision: float


class Plan(NamedTuple):
    """How the loop goes: the recipe of every detector, what its thresholds must reach, rounds of corrections, and the
    checkpoint that every detector begins with, if there is one."""

    recipe: DetectorRecipe
    targets: Targets
    rounds: int
    start: Path | None


class Answer(NamedTuple):
    """What the person did with one photo: the value of the decision, and how many boxes were touched and left."""

    value: dict[str, list[dict[str, object]]]
    touched: int
    left: int


def answer(item: Item, hidden: Sequence[Edges]) -> Answer:
    """Correct a photo by its hidden boxes, as the module says."""
    free, boxes, touched, left = list(hidden), [], 0, 0
    for was in sorted(item.proposal.get("boxes", []), key=lambda one: -one["score"]):
        best = max(free, key=lambda box: overlap(box, was["box"]), default=None)
        share = 0.0 if best is None else overlap(best, was["box"])
        if best is None or share < MOVED:
            touched += 1  # deleted
            continue
        free.remove(best)
        left += share >= LEFT
        touched += share < LEFT
        boxes.append({"box": list(was["box"] if share >= LEFT else best), "kind": PRODUCT, "was": was})
    boxes += [{"box": list(box), "kind": PRODUCT, "was": None} for box in free]
    return Answer({"boxes": boxes}, touched + len(free), left)


def correct(queue: Queue, hidden: Mapping[str, Sequence[Edges]], allowed: int) -> tuple[int, int, int]:
    """Answer the queue in order while `allowed` touched boxes last. Returns photos, touched boxes, and boxes left."""
    photos = touched = left = 0
    for item in queue.items:
        if queue.decision(item.id) is not None:
            continue
        said = answer(item, hidden[item.id])
        if touched + said.touched > allowed:
            break
        queue.decide(item.id, "right", said.value)
        photos, touched, left = photos + 1, touched + said.touched, left + said.left
    return photos, touched, left


def fresh_project(folder: Path, root: Path, photos: Sequence[BoxedPhoto], validation: float = 0.25) -> Project:
    """A project over a folder of photos, with the boxes of `photos`."""
    shutil.rmtree(folder, ignore_errors=True)
    project = Project.create(folder, root, validation=validation)
    project.give(photos, "freiburg")
    project.validation({path: len(known.boxes) for path, known in project.given().items()})
    return project


def loop(project: Project, photos: Sequence[BoxedPhoto], plan: Plan) -> Iterator[Step]:
    """The detectors of the loop, from the first tenth on. Corrections are spread evenly over the rounds."""
    hidden = {one.path.name: [edges_of(box) for box in one.boxes] for one in photos}
    total = sum(len(boxes) for boxes in hidden.values())
    used = sum(len(one.boxes) for one in project.given().values())
    kept, precision, rounds = 0, float("nan"), plan.rounds
    for number in range(rounds + 1):
        with project.queue() as queue:
            now = standing(project, queue)
        bundle = learn(project, now, plan.recipe, fresh=True, start=plan.start)
        yield Step(f"round {number}", bundle, used, kept, precision)
        if number == rounds:
            return
        detector = open_detector(bundle)
        with project.queue() as queue:
            newest, queued = run_round(project, queue, in_this_process(detector), plan.targets, most=len(photos))
            looked, touched, left = correct(queue, hidden, (round(ALLOWED * total) - used) // (rounds - number))
            now = standing(project, queue)
        detector.close()
        used += touched
        sure = [(path, one) for path, photo in now.photos.items() for one in photo.entries if one.source == "detector"]
        kept = len(sure)
        right = sum(max((overlap(one.box, box) for box in hidden[path]), default=0.0) >= 0.5 for path, one in sure)
        precision = right / max(1, kept)
        logging.info("%s", newest.thresholds)
        logging.info("%d queued, %d looked at, %d boxes touched, %d left as they were", queued, looked, touched, left)
        logging.info("%d boxes kept, %.3f of them right", kept, precision)


def first_tenth(photos: Sequence[BoxedPhoto]) -> list[BoxedPhoto]:
    """Photos with a tenth of all boxes, chosen by their names."""
    total = sum(len(one.boxes) for one in photos)
    first: list[BoxedPhoto] = []
    for one in sorted(photos, key=lambda one: chance(one.path.name)):
        if sum(len(other.boxes) for other in first) >= FIRST * total:
            break
        first.append(one)
    return first


def edges_of(box: Box) -> Edges:
    """A `Box` as left, top, right, bottom."""
    return box.left, box.top, box.right, box.bottom


def measured(bundle: Path, photos: Sequence[BoxedPhoto], work: Path) -> tuple[float, float]:
    """Average precision at IoU .5 and its mean from .5 to .95, of a detector on photos."""
    detector, root = open_detector(bundle), photos[0].path.parent
    paths = [one.path.name for one in photos]
    finder = in_this_process(detector)
    labels = label(finder.find, root, paths, work / f"{finder.detector_id}.ndjson")
    detector.close()
    found = [_found(labels[path]) for path in paths]
    known = [
        Boxes(
            np.array([edges_of(box) for box in one.boxes], np.float32).reshape(-1, 4),
            np.zeros(len(one.boxes), np.int64),
            np.zeros((0, 4), np.float32),
        )
        for one in photos
    ]
    curve = [average_precision(found, known, 0.5 + 0.05 * step) for step in range(10)]
    logging.info("%s: AP@.5 %.3f, AP@.5:.95 %.3f on %d test photos", bundle, curve[0], np.mean(curve), len(photos))
    return curve[0], float(np.mean(curve))


def _found(one: Label) -> Found:
    order = sorted(one.guesses, key=lambda guess: -guess.score)
    edges = np.array([guess.box for guess in order], np.float64).reshape(-1, 4)
    return Found(edges, np.array([guess.score for guess in order]), np.zeros(len(order), np.int64))


def plot(steps: Sequence[tuple[float, float]], whole: float) -> str:
    """An SVG: the share of touched boxes against the average precision at IoU .5. The line is that of all boxes."""
    wide, high, left, top = 560, 320, 60, 20

    def x(share: float) -> float:
        return round(left + share / 0.2 * (wide - left - 20), 1)

    def y(value: float) -> float:
        return round(top + (1 - value) * (high - top - 45), 1)

    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {wide} {high}" font-family="sans-serif" font-size="12">',
        f'<rect width="{wide}" height="{high}" fill="#fff"/>',
        f'<path d="M{left} {y(1)}V{y(0)}H{wide - 20}" fill="none" stroke="#999"/>',
    ]
    lines += [
        f'<text x="{x(s)}" y="{y(0) + 16}" text-anchor="middle">{s:.0%}</text>' for s in (0, 0.05, 0.1, 0.15, 0.2)
    ]
    lines += [f'<text x="{left - 6}" y="{y(v) + 4}" text-anchor="end">{v:g}</text>' for v in (0, 0.25, 0.5, 0.75, 1)]
    for value, name, dash in ((whole, "all boxes", ""), (0.95 * whole, "95 % of it", "4 3")):
        lines.append(
            f'<path d="M{left} {y(value)}H{wide - 20}" stroke="#b3541e" stroke-dasharray="{dash}" fill="none"/>'
        )
        below = 14 if dash else -5
        lines.append(f'<text x="{wide - 24}" y="{y(value) + below}" text-anchor="end" fill="#b3541e">{name}</text>')
    points = " ".join(f"{x(share)},{y(value)}" for share, value in steps)
    lines.append(f'<polyline points="{points}" fill="none" stroke="#0b6f6a" stroke-width="2"/>')
    lines += [f'<circle cx="{x(s)}" cy="{y(v)}" r="4" fill="#0b6f6a"/>' for s, v in steps]
    lines.append(
        f'<text x="{(left + wide) / 2}" y="{high - 8}" text-anchor="middle">share of boxes that a person touched</text>'
    )
    lines.append(
        f'<text x="16" y="{high / 2}" transform="rotate(-90 16 {high / 2})" text-anchor="middle">AP at IoU .5</text>'
    )
    return "\n".join([*lines, "</svg>\n"])


def freiburg(data: Path, work: Path, most: int) -> tuple[Path, list[BoxedPhoto], list[BoxedPhoto]]:
    """A folder with copies of the training photos, their boxes, and the test photos: `most` of each; 0 is all."""
    found = read_box_table(
        BoxSet(name="freiburg", folder="freiburg", splits="labels.csv", kind=PRODUCT, share=1, validation=0.0), data
    )
    root, photos = work / f"photos{most or ''}", []
    root.mkdir(parents=True, exist_ok=True)
    for one in found.photos["train"][: most or None]:
        copied = root / one.path.name
        if not copied.exists():
            shutil.copyfile(one.path, copied)
        photos.append(BoxedPhoto(copied, one.boxes, one.kinds))
    return root, photos, found.photos["test"][: most or None]


def options_of_this() -> argparse.Namespace:
    """Read the command line."""
    options = parser(__doc__, tells="page")
    options.add_argument("--data", type=Path, required=True, help="folder with Freiburg's folder")
    options.add_argument("--work", type=Path, required=True, help="folder for photos, runs and detectors; kept")
    options.add_argument("--steps", type=int, default=300, help="of every run (default 300)")
    options.add_argument("--side", type=int, default=256, help="pixels a side of the network's input (default 256)")
    options.add_argument("--rounds", type=int, default=2, help="of corrections (default 2)")
    options.add_argument("--batch", type=int, default=16, help="photos of a step (default 16)")
    options.add_argument("--threads", type=int, default=2, help="of torch (default 2)")
    options.add_argument("--precision", type=float, default=0.95, help="of the boxes that are kept (default .95)")
    options.add_argument(
        "--start", type=Path, help="checkpoint that every detector begins with; it must not have seen Freiburg's photos"
    )
    options.add_argument("--plot", type=Path, help="write the plot there, as SVG")
    options.add_argument("--photos", type=int, default=0, help="only the first so many training photos, for a try")
    return options.parse_args()


def main() -> int:
    """Run the loop and the detector of all boxes, measure, and write page and plot. Returns the exit code."""
    arguments = options_of_this()
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    begun = time.monotonic()
    work = arguments.work.resolve()
    root, photos, test = freiburg(arguments.data, work, arguments.photos)
    recipe = with_steps(load_detector_recipe(RECIPE), arguments.steps)
    batch = [BoxSet(name="photos", share=arguments.batch)]
    schedule = msgspec.structs.replace(recipe.schedule, small_side=arguments.side * 3 // 4 // 32 * 32)
    recipe = msgspec.structs.replace(
        recipe, side=arguments.side, datasets=batch, threads=arguments.threads, schedule=schedule
    )
    plan = Plan(recipe, Targets(precision=arguments.precision), arguments.rounds, arguments.start)
    everything = fresh_project(work / "all", root, photos, validation=1e-6)  # all are trained on
    with everything.queue() as queue:
        now = standing(everything, queue)
    whole = learn(everything, now, recipe, fresh=True, start=plan.start, set_aside=frozenset())
    figures = measured(whole, test, work)
    project = fresh_project(work / "loop", root, first_tenth(photos))
    total = sum(len(one.boxes) for one in photos)
    rows, points = [], []
    for step in loop(project, photos, plan):
        ap50, ap = measured(step.bundle, test, work)
        share = step.touched / total
        points.append((share, ap50))
        sure = f"{step.kept:,} ({step.precision:.3f} right)" if step.kept else "0"
        part = f"{ap50 / max(figures[0], 1e-9):.1%}"
        rows.append([step.name, f"{step.touched:,} ({share:.1%})", sure, f"{ap50:.3f}", f"{ap:.3f}", part])
    rows.append(["all boxes", f"{total:,} (100 %)", "0", f"{figures[0]:.3f}", f"{figures[1]:.3f}", "100 %"])
    header = ["detector", "boxes a person touched", "boxes kept unseen", "AP@.5", "AP@.5:.95", "of all boxes"]
    body = f"{table(header, rows)}\n\n{len(photos):,} training photos, {len(test):,} test photos. "
    body += f"The whole benchmark took {(time.monotonic() - begun) / 60:.0f} minutes."
    command = f"python -m benchmarks.detectors.boxes_loop --steps {arguments.steps} --side {arguments.side}"
    command += f" --rounds {arguments.rounds} --batch {arguments.batch} --precision {arguments.precision:g}"
    command += " --start CHECKPOINT" if arguments.start else ""
    write_page(page("The labelling loop", command, versions("torch", "onnxruntime"), body), arguments.out)
    if arguments.plot:
        arguments.plot.write_text(plot(points, figures[0]), "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
