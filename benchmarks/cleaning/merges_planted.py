"""Merges of labels over many plantings: wrong labels and split products are drawn again and again for the same photos.

    python -m benchmarks.cleaning.merges_planted --set studio --data FOLDER --work WORK --plantings 26

One planting of benchmarks.cleaning.cleaning_truth has ten split products or so, of which one is a tenth of the recall.
This has hundreds, without near-duplicates. Each planting is de-noised and merged, by the command's defaults. The radii
of the first planting count for all, which saves most of the time. `--half first` takes the first half of the products,
as cleaning_truth chooses on; the default are all.

`no_two` counts the planted pairs of which one label has fewer than two right photos left: nobody could merge those with
confidence. `by_gap` is the rule without `chance` and without the steady gap, as it was before.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from benchmarks.cleaning.cleaning_truth import SECOND, embeddings, halves, judge_merges, labelled
from benchmarks.cleaning.near_duplicates import planted
from benchmarks.report import parser, write_result
from training.cleaning.products.merging import MergeSettings, merges
from training.cleaning.products.noise import NoiseSettings, noise_marks
from training.readers import read
from training.readers.label_table import Row

Floats = NDArray[np.float32]
NEVER = 1.0  # a gap that is always small enough, and a chance that no labels of three photos have
RULES = {
    "by_gap": MergeSettings(most_steady_gap=NEVER, least_chance=NEVER),
    "now": MergeSettings(),
}
COUNTED = ("merged", "wanted", "right")


def merged(rows: Sequence[Row], vectors: Floats, settings: MergeSettings) -> dict[str, str]:
    """Label → the label that it becomes in the end."""
    into: dict[str, str] = {}
    for merge in merges(vectors, [row["product"] for row in rows], settings):
        into = {label: merge.into if end == merge.product else end for label, end in into.items()}
        into[merge.product] = merge.into
    return into


def no_two(rows: Sequence[Row]) -> int:
    """Of the split products whose labels both have photos: those with fewer than two right photos in one of them."""
    right = Counter(row["product"] for row in rows if row["product"].removesuffix(SECOND) == row["truth"])
    labels = {row["product"] for row in rows}
    pairs = [(label.removesuffix(SECOND), label) for label in labels if label.endswith(SECOND)]
    return sum(first in labels and min(right[first], right[second]) < 2 for first, second in pairs)


def planting(
    rows: Sequence[Row], vectors: Floats, plan: Mapping[str, Any], noise: NoiseSettings
) -> tuple[list[Row], Floats, NoiseSettings]:
    """The photos that de-noising leaves of one planting, their embeddings, and settings that name its radii."""
    place = {row["origin"]: number for number, row in enumerate(rows)}
    dirty = labelled(rows, plan, random.Random(plan["seed"]))
    paths, products = [row["origin"] for row in dirty], [row["product"] for row in dirty]
    radii, marks = noise_marks(paths, products, vectors[[place[path] for path in paths]], noise)
    gone = {mark.photo for mark in marks}
    kept = [row for row in dirty if row["origin"] not in gone]
    fixed = msgspec.structs.replace(noise, strict=radii.strict, loose=radii.loose)
    return kept, vectors[[place[row["origin"]] for row in kept]], fixed


def main() -> None:
    """Plant, de-noise, merge, count."""
    made = parser(__doc__, tells="result", bundle=True)
    made.add_argument("--data", type=Path, required=True, help="folder of the data set")
    made.add_argument("--set", choices=sorted(planted()["sets"]), required=True, help="its entry in the file")
    made.add_argument("--work", type=Path, required=True, help="folder for embeddings; kept")
    made.add_argument("--half", choices=("all", "first", "second"), default="all", help="of the products")
    made.add_argument("--most", type=int, default=24, help="photos of each product, at most (default 24)")
    made.add_argument("--plantings", type=int, default=26, help="with other seeds each (default 26)")
    made.add_argument("--seed", type=int, default=101, help="of the first planting (default 101)")
    options = made.parse_args()
    plan = planted()
    first, second = halves(read("csv", options.data).rows, plan["sets"][options.set], options.most)
    rows = {"all": [*first, *second], "first": first, "second": second}[options.half]
    paths = [row | {"path": row["origin"]} for row in rows]
    vectors = embeddings(options.work, options.data, paths, options.bundle, "bundle")
    noise = NoiseSettings()
    counts: dict[str, Counter[str]] = {rule: Counter() for rule in RULES}
    wrong: dict[str, Counter[str]] = {rule: Counter() for rule in RULES}
    hopeless = 0
    for number in range(options.plantings):
        kept, seen, noise = planting(rows, vectors, plan | {"seed": options.seed + number}, noise)
        hopeless += no_two(kept)
        for rule, settings in RULES.items():
            found = judge_merges(kept, merged(kept, seen, settings))
            counts[rule].update({key: found[key] for key in COUNTED})
            wrong[rule].update(" ".join(label.removesuffix(SECOND) for label in pair) for pair in found["wrong"])
    result: dict[str, Any] = {"plantings": options.plantings, "no_two": hopeless}
    for rule, count in counts.items():
        result[rule] = dict(count) | {
            "precision": round(count["right"] / count["merged"], 4) if count["merged"] else None,
            "recall": round(count["right"] / count["wanted"], 4) if count["wanted"] else None,
            "wrong": dict(wrong[rule].most_common(5)),
        }
    write_result(result, options.json)


if __name__ == "__main__":
    main()
