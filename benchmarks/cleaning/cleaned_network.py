"""Does cleaning help a whole network? The same small recipe learns from dirty, from cleaned and from clean photos.

A fourth kind, `right`, learns from the clean photos whose planted label is right: what a faultless cleaning would leave
if it put no wrong photo where it belongs.

    python -m benchmarks.cleaning.cleaned_network --set studio --work WORK --steps 60 --size 96

WORK is the folder of benchmarks.cleaning.cleaning_truth, which must have run with the same --set (and --measure, unless
--chosen is given). For each seed 30 % of the originals with all their copies are held out, and their true products are
asked for. The second label of a product that was split counts as right. A run that is finished is not repeated, so a
stopped benchmark goes on.
"""

from __future__ import annotations

import csv
import random
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from benchmarks.cleaning.cleaning_truth import SECOND, cleaned_labels
from benchmarks.cleaning.near_duplicates import planted
from benchmarks.report import parser, write_result
from benchmarks.trials import look, numbers_of, trained
from training.cleaning.marks import Marks
from training.readers.label_table import Row
from training.recipe import Recipe

KINDS = ("dirty", "cleaned", "right", "clean")
DATA = "photos"
HEAD = "product"


def tables(rows: Sequence[Row], marks: Marks, seed: int) -> dict[str, list[Row]]:
    """Kind → rows to learn from, and the test photos, with `path`, `split` and `product`."""
    held = set(random.Random(seed).sample(sorted({row["origin"] for row in rows}), round(0.3 * _originals(rows))))
    gone, label_of = marks.left_out(), cleaned_labels(rows, marks)
    learnt = [row for row in rows if row["origin"] not in held]
    sets = {
        "dirty": [(row, row["product"]) for row in learnt],
        "cleaned": [(row, label_of[row["path"]]) for row in learnt if row["path"] not in gone],
        "right": [(row, row["truth"]) for row in learnt if not row["change"] and not row["wrong"]],
        "clean": [(row, row["truth"]) for row in learnt if not row["change"]],
    }
    asked = [row for row in rows if row["origin"] in held and not row["change"]]
    made = {}
    for kind, some in sets.items():
        labels = {label for _, label in some}
        train = [{"path": row["path"], "split": "train", HEAD: label} for row, label in some]
        test = []
        for row in asked:
            label = row["truth"] if row["truth"] in labels else row["truth"] + SECOND  # a merge may keep either name
            test.append({"path": row["path"], "split": "test", HEAD: label})
        made[kind] = [*train, *test]
    return made


def _originals(rows: Sequence[Row]) -> int:
    return len({row["origin"] for row in rows})


def recipe_of(name: str, seed: int, steps: int, size: int) -> Recipe:
    """A small network: one head, the packaged trunk, and nothing but the softmax."""
    words: dict[str, Any] = {
        "name": name,
        "trunk": "efficientnet_lite0",
        "size": size,
        "cache_size": size + 16,
        "seed": seed,
        "threads": 1,
        "schedule": {
            "steps": steps,
            "views": 1,
            "warmup": max(1, steps // 10),
            "trunk_rate": 4e-4,
            "head_rate": 4e-3,
            "small_size": size,
        },
        "metric": {"arcface": 0.0, "contrastive": 0.0, "relational": 0.0, "hash": 0.0},
        "datasets": [{"name": DATA, "folder": DATA, "product": HEAD, "share": 32}],
        "heads": [{"id": HEAD, "column": HEAD, "datasets": [DATA], "min_photos": 1}],
    }
    return msgspec.convert(words, Recipe)


def accuracy(rows: Sequence[Row], photos: Path, work: Path, recipe: Recipe) -> float:
    """Train in `work`, and ask about the test photos: the share whose first label is right."""
    folder = work / "data" / DATA
    folder.mkdir(parents=True, exist_ok=True)
    for row in rows:
        link = folder / row["path"]
        if not link.is_symlink():
            link.symlink_to((photos / row["path"]).resolve())
    with (folder / "labels.csv").open("w", newline="", encoding="utf-8") as text:
        writer = csv.DictWriter(text, ("path", "split", HEAD))
        writer.writeheader()
        writer.writerows(rows)
    network, corpus = trained(recipe, work / "data", work, "run", "cpu")
    numbers = numbers_of(corpus, DATA, "test")
    (head,) = corpus.heads
    said = look(network, corpus, numbers, recipe.size).best[HEAD]
    truth = head.targets[numbers]
    plain = [value.removesuffix(SECOND) for value in head.values]
    right = [place >= 0 and plain[place] == plain[best] for place, best in zip(truth, said, strict=True)]
    return float(sum(right) / len(right))


def main() -> None:
    """Train twelve networks or what is missing of them, and print their accuracy."""
    made = parser(__doc__, tells="result")
    made.add_argument("--set", choices=sorted(planted()["sets"]), required=True, help="its entry in the file")
    made.add_argument("--work", type=Path, required=True, help="folder of benchmarks.cleaning.cleaning_truth")
    made.add_argument("--chosen", action="store_true", help="the first half of the products instead of the second")
    made.add_argument("--steps", type=int, default=60, help="of 32 photos, of each run (default 60)")
    made.add_argument("--size", type=int, default=96, help="pixels a side (default 96)")
    made.add_argument("--seeds", type=int, default=3, help="runs of each kind (default 3)")
    made.add_argument("--kinds", nargs="+", choices=KINDS, default=KINDS, help="what to learn from (default all)")
    options = made.parse_args()
    half = options.work / f"{options.set}-{'chosen' if options.chosen else 'measured'}"
    with (half / "photos" / "labels.csv").open(newline="", encoding="utf-8") as text:
        rows = list(csv.DictReader(text))
    marks = Marks(half)
    found: dict[str, list[float]] = {kind: [] for kind in options.kinds}
    for seed in range(1, options.seeds + 1):
        of_kind = tables(rows, marks, seed)
        for kind in options.kinds:
            some = of_kind[kind]
            name = f"{kind}-{seed}-{options.size}-{options.steps}"
            recipe = recipe_of(name, seed, options.steps, options.size)
            found[kind].append(round(accuracy(some, half / "photos", half / "networks" / name, recipe), 4))
    means = {kind: round(statistics.fmean(values), 4) for kind, values in found.items()}
    write_result({"accuracy": found, "mean": means, "steps": options.steps, "size": options.size}, options.json)


if __name__ == "__main__":
    main()
