"""Detectors side by side: `python -m benchmarks.detectors.detection --data FOLDER --work FOLDER`.

One table over the test photos of the small detector's recipe: COCO's average precision (by faster-coco-eval, all kinds
as one), the share of photos whose most confident box is right, photos a second and megabytes. `--detector` is a bundle
of the small detector. It is measured in FP32 by ONNX Runtime and OpenVINO, and in INT8 by OpenVINO. The large networks
begin at random weights here, train `--steps` steps, and are measured by torch on `--photos` photos of each set: that
shows that they work and what they cost, and says nothing about how well they can do. They follow one another, and each
is told on stderr once it is measured.
"""

from __future__ import annotations

import argparse
import re
import shutil
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from benchmarks.report import page, parser, table, versions, write_page
from engines.detection import open_detector
from engines.detection.bundle import load_detector_bundle
from engines.detection.engine import open_detector_backend
from engines.detection.precision import write_int8_detector
from engines.detection.speed import measure_detector
from engines.recognition.parts import usable_cores
from schemas.manifest import MODEL_FILE
from training.detection.data.boxed_set import BoxedSet, Boxes, boxes_of, load_boxed_sets
from training.detection.evaluation.evaluate import parts_of, run_over
from training.detection.evaluation.of_run import network_finder
from training.detection.evaluation.scoring import Found, best_is_right
from training.detection.loop.train import train_on
from training.detection.recipe import DetectorRecipe, load_detector_recipe

RECIPES = Path(__file__).parents[2] / "training" / "recipes"
SHIPPED = RECIPES.parent / "bundles" / "detector"
LARGE = ("detect-retinanet-r50", "detect-faster-rcnn-r50", "detect-fcos-r50", "detect-single-stage")
SIZE = 1000  # pixels a side of the squares in which faster-coco-eval is told of boxes
BATCH = 8
Finder = Callable[[BoxedSet, NDArray[np.int64]], list[Found]]


@dataclass(frozen=True)
class Row:
    """One detector: figures by set (AP@.5, AP@.5:.95, share of right best boxes), photos a second of processor time,
    megabytes, and seconds of processor time that a photo of a training step takes (0: it was not trained here)."""

    name: str
    sets: Mapping[str, tuple[float, float, float]]
    photos_per_s: float
    megabytes: float
    training_s: float = 0.0


def coco_figures(found: Sequence[Found], known: Sequence[Boxes]) -> tuple[float, float]:
    """AP@.5 and AP@.5:.95 of all kinds as one, computed by faster-coco-eval."""
    from faster_coco_eval import COCO, COCOeval_faster

    images = [{"id": i + 1, "width": SIZE, "height": SIZE} for i in range(len(known))]
    annotations: list[dict[str, Any]] = []
    for i, boxes in enumerate(known):
        for crowd, edges in ((0, boxes.edges), (1, boxes.ignored)):
            for left, top, right, bottom in edges.astype(float) * SIZE:
                box = [left, top, right - left, bottom - top]
                one = {"id": len(annotations) + 1, "image_id": i + 1, "category_id": 1, "bbox": box}
                annotations.append(one | {"area": box[2] * box[3], "iscrowd": crowd})
    truth = COCO({"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "product"}]})
    rows = [
        {"image_id": i + 1, "category_id": 1, "bbox": [a, b, c - a, d - b], "score": float(score)}
        for i, one in enumerate(found)
        for (a, b, c, d), score in zip((one.edges * SIZE).tolist(), one.scores, strict=True)
    ]
    if not rows:
        return 0.0, 0.0
    judge = COCOeval_faster(truth, truth.loadRes(rows), "bbox")
    judge.evaluate()
    judge.accumulate()
    judge.summarize()
    return float(judge.stats[1]), float(judge.stats[0])


def measured(finder: Finder, sets: Sequence[BoxedSet], most: int) -> dict[str, tuple[float, float, float]]:
    """The figures of a detector on the test photos, by set; `most` of each, or all with 0."""
    figures = {}
    for one in sets:
        for name, numbers in parts_of(one, "test").items():
            chosen = numbers[:: max(1, len(numbers) // most)] if most else numbers
            known = [boxes_of(one.rows[number], ["product"]) for number in chosen]
            found = finder(one, chosen)
            shown = [place for place, boxes in enumerate(known) if len(boxes.edges)]
            right = float(np.mean([best_is_right(found[place], known[place]) for place in shown]))
            figures[name] = (*coco_figures(found, known), right)
    return figures


def of_bundle(name: str, folder: Path, backend: str, sets: Sequence[BoxedSet], given: argparse.Namespace) -> Row:
    """Measure a bundle by one of the engine's back ends."""
    bundle = load_detector_bundle(folder)
    opened = open_detector_backend(bundle, backend, given.threads)
    figures = measured(lambda one, numbers: run_over(opened.run, one, numbers), sets, 0)
    opened.close()
    detector = open_detector(folder, backend, threads=given.threads)
    speed = measure_detector(detector, BATCH, seconds=given.seconds, photos=bundle.photos)
    detector.close()
    megabytes = (folder / MODEL_FILE).stat().st_size / 1e6
    return Row(name, figures, speed.photos_per_processor_s, megabytes)


def of_network(recipe: DetectorRecipe, run: Path, sets: Sequence[BoxedSet], most: int) -> Row:
    """Train a network in the folder `run`, and measure it by torch."""
    began = time.process_time()
    train_on(recipe, sets, run)
    training_s = (time.process_time() - began) / (recipe.schedule.steps * sum(one.share for one in sets))
    finder, size = network_finder(recipe, run)
    shown, spent = 0, 0.0

    def counted(one: BoxedSet, numbers: NDArray[np.int64]) -> list[Found]:
        nonlocal shown, spent
        start = time.process_time()
        found = finder(one, numbers)
        shown, spent = shown + len(numbers), spent + time.process_time() - start
        return found

    figures = measured(counted, sets, most)
    return Row(recipe.name, figures, shown / max(spent, 1e-9), size / 1e6, training_s)


def main() -> int:
    """Measure and write the page."""
    options = parser(__doc__, tells="page")
    options.add_argument("--data", type=Path, required=True, help="folder with the data sets' folders")
    options.add_argument("--work", type=Path, required=True, help="folder for bundles and runs; kept")
    options.add_argument("--detector", type=Path, default=SHIPPED, help="bundle of detect_small.toml (default: ours)")
    options.add_argument("--cache", type=Path, help="decoded photos (default: WORK/cache)")
    options.add_argument("--steps", type=int, default=4, help="of every large network (default 4); 0 leaves them out")
    options.add_argument("--photos", type=int, default=12, help="of each set for the large networks (default 12)")
    options.add_argument("--threads", type=int, default=usable_cores(), help="of a network (default: all cores)")
    options.add_argument("--rows", help="measure only rows whose name matches this regular expression")
    options.add_argument("--seconds", type=float, default=10.0, help="of each measurement of speed (default 10)")
    given = options.parse_args()
    small = load_detector_recipe(RECIPES / "detect_small.toml")
    sets = load_boxed_sets(small, given.data, given.cache or given.work / "cache")
    given.work.mkdir(parents=True, exist_ok=True)
    made = []
    for name, measure in rows_of(sets, given).items():
        if not given.rows or re.search(given.rows, name):
            made.append(measure())
            sys.stderr.write(f"{made[-1]}\n")
    write_page(report(made, given), given.out)
    return 0


def rows_of(sets: Sequence[BoxedSet], given: argparse.Namespace) -> dict[str, Callable[[], Row]]:
    """Name of a row → what measures it."""

    def int8(name: str) -> Row:
        folder = given.work / "small-int8"
        shutil.rmtree(folder, ignore_errors=True)
        write_int8_detector(given.detector, folder, calibration(sets))
        return of_bundle(name, folder, "openvino", sets, given)

    def large(name: str) -> Row:
        recipe = load_detector_recipe(RECIPES / f"{name.replace('-', '_')}.toml")
        plan = msgspec.structs.replace(recipe.schedule, steps=given.steps, warmup=1, small_share=0.0, average=0.0)
        recipe = msgspec.structs.replace(recipe, schedule=plan, threads=given.threads)
        return of_network(recipe, given.work / name, sets, given.photos)

    small = {
        f"detect-small, FP32, {title}": partial(
            of_bundle, backend=backend, folder=given.detector, sets=sets, given=given
        )
        for title, backend in (("ONNX Runtime", "onnxruntime"), ("OpenVINO", "openvino"))
    }
    works: dict[str, Callable[[str], Row]] = {**small, "detect-small, INT8, OpenVINO": int8}
    works |= dict.fromkeys(LARGE if given.steps else (), large)
    return {name: partial(work, name) for name, work in works.items()}


def calibration(sets: Sequence[BoxedSet], count: int = 64) -> NDArray[np.uint8]:
    """Training photos to choose INT8 scales with, from all sets: uint8 [n, side, side, 3]."""
    each = -(-count // len(sets))
    chosen = []
    for one in sets:
        numbers = one.index("train")
        chosen.append(one.pixels[numbers[:: max(1, len(numbers) // each)][:each]])
    return np.concatenate(chosen)


def report(rows: Sequence[Row], given: argparse.Namespace) -> str:
    """The page."""
    names = list(rows[0].sets)
    head = ["detector", "MB", "photos/s", "training, s a photo", *names]
    cells = [
        [
            row.name,
            f"{row.megabytes:.1f}",
            f"{row.photos_per_s:.2g}",
            f"{row.training_s:.2g}" if row.training_s else "–",
        ]
        + [" / ".join(f"{value:.3f}" for value in row.sets[name]) for name in names]
        for row in rows
    ]
    text = [
        "Each cell of a set has AP@.5 / AP@.5:.95 / share of photos whose most confident box is right (IoU ≥ .5).",
        "Photos a second and seconds of training are of processor time on one core: other work may share the machine.",
        "Megabytes are those of the graph's file, or of the weights in FP32.",
        "",
        table(head, cells),
    ]
    if given.steps:
        steps = f"{given.steps} step{'s' if given.steps > 1 else ''}"
        text += [
            "",
            f"The other networks began at random weights, were trained for {steps} of the same batches, "
            f"and were measured by torch on {given.photos} photos of each set. Their figures say that they run and "
            "what they cost, not how good they can be.",
        ]
    packages = versions("torch", "torchvision", "onnxruntime", "openvino", "faster-coco-eval")
    command = "python -m benchmarks.detectors.detection --data DATA --work WORK"
    shown = f"{command} --steps {given.steps} --photos {given.photos} --threads {given.threads}"
    return page("Detectors", shown, packages, "\n".join(text))


if __name__ == "__main__":
    sys.exit(main())
