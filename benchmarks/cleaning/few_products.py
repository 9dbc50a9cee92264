"""De-noising of small folders: the wrong photos that are found if a folder has few products.

    python -m benchmarks.cleaning.few_products --set studio --work WORK             # first half of the products
    python -m benchmarks.cleaning.few_products --set studio --work WORK --measure   # second half

WORK is the folder of benchmarks.cleaning.cleaning_truth, which must have run with the same --set and half. A folder has
the labels of so many products, drawn by a seed, without the duplicates that were marked. Wrong photos may show products
that are not in it. Of 20 folders of each size, all photos are counted together.
"""

from __future__ import annotations

import csv
import random
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.cleaning.cleaning_truth import SECOND, embeddings
from benchmarks.cleaning.near_duplicates import planted
from benchmarks.report import parser, write_result
from training.cleaning.marks import Marks
from training.cleaning.products.noise import NoiseSettings, noise_marks
from training.readers.label_table import Row

SIZES = (4, 8, 14, 30)
FOLDERS = 20


def judge(rows: Sequence[Row], vectors: NDArray[np.float32], places: Mapping[str, int]) -> tuple[int, int, int]:
    """Of one folder: wrong photos that are marked, all marked ones, and all wrong ones."""
    paths, labels = [row["path"] for row in rows], [row["product"] for row in rows]
    _, marks = noise_marks(paths, labels, vectors[[places[path] for path in paths]], NoiseSettings())
    marked = {mark.photo for mark in marks}
    wrong = {row["path"] for row in rows if row["wrong"]}
    return len(marked & wrong), len(marked), len(wrong)


def main() -> None:
    """Draw folders, de-noise each, print."""
    made = parser(__doc__, tells="result", bundle=True)
    made.add_argument("--set", choices=sorted(planted()["sets"]), required=True, help="its entry in the file")
    made.add_argument("--work", type=Path, required=True, help="folder of benchmarks.cleaning.cleaning_truth")
    made.add_argument("--measure", action="store_true", help="the second half of the products, for the figures")
    options = made.parse_args()
    half = options.work / f"{options.set}-{'measured' if options.measure else 'chosen'}"
    with (half / "photos" / "labels.csv").open(newline="", encoding="utf-8") as text:
        rows = list(csv.DictReader(text))
    vectors = embeddings(half, half / "photos", rows, options.bundle, "bundle")
    places = {row["path"]: place for place, row in enumerate(rows)}
    gone = Marks(half).left_out(before="noise")
    rows = [row for row in rows if row["path"] not in gone]
    names = sorted({row["truth"] for row in rows})
    found: dict[str, dict[str, float]] = {}
    for size in [size for size in SIZES if size < len(names)] + [len(names)]:
        counts = []
        for seed in range(FOLDERS if size < len(names) else 1):
            some = set(random.Random(seed).sample(names, size))
            part = [row for row in rows if row["product"].removesuffix(SECOND) in some]
            counts.append(judge(part, vectors, places))
        right, marked, wrong = np.array(counts).sum(axis=0).tolist()
        found[f"{size} products"] = {"precision": right / max(1, marked), "recall": right / wrong}
    write_result(found, options.json)


if __name__ == "__main__":
    main()
