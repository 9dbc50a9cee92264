"""Anybody's own labels, from a folder of photos to a running search: `python -m benchmarks.search.own_labels --data
FOLDER`.

For each seed, five of the ten kinds of `clothing` are drawn, and 30 photos of each, from all splits: somebody's shop.
The commands of the tutorial then run one after another, as a user types them: `groknet train --init`, `train`,
`export`, `run all`, `submit --wait`, `search`. The time is that from the first command to the first answer. Then the
bundle is asked about all other photos of the five kinds. A photo counts if its first label is right and offered.
"""

from __future__ import annotations

import csv
import json
import random
import resource
import shutil
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from benchmarks.report import page, parser, table, versions, write_page
from benchmarks.stream.watched_home import running
from engines.recognition import build_engine
from training.evaluation import predict
from training.evaluation.scoring import figures, score
from training.readers.label_table import Row

LABELS, PHOTOS = 5, 30
STEPS = ("init", "train", "export", "start", "submit", "search")


@dataclass(frozen=True)
class Result:
    """One seed.

    Attributes:
        labels: what was drawn.
        seconds: of each of `STEPS`.
        processor: seconds that all these processes used of the processor, the workers until they end included.
        photos: that were asked about.
        figures: of the head on these photos, and `useful`, the share that is right and offered.
    """

    labels: list[str]
    seconds: dict[str, float]
    processor: float
    photos: int
    figures: dict[str, float]


def drawn(source: Path, seed: int) -> tuple[dict[str, list[str]], list[Row]]:
    """Label → paths of its 30 photos, and rows of all other photos of these labels."""
    by_label: dict[str, list[str]] = defaultdict(list)
    with (source / "labels.csv").open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            by_label[row["label"]].append(row["path"])
    rng = random.Random(seed)
    labels = rng.sample(sorted(by_label), LABELS)
    mine = {label: rng.sample(sorted(by_label[label]), PHOTOS) for label in labels}
    others = [
        {"path": path, "label": label, "split": "test"}
        for label in labels
        for path in sorted(set(by_label[label]) - set(mine[label]))
    ]
    return mine, others


def one_seed(source: Path, seed: int, work: Path, most: int = 0) -> Result:
    """Do everything for one seed in the empty folder `work`. Of the other photos, `most` are the test; 0 takes all."""
    mine, others = drawn(source, seed)
    if most:
        others = random.Random(seed).sample(others, min(most, len(others)))
    for label, paths in mine.items():
        (work / "data" / "shop" / label).mkdir(parents=True)
        for path in paths:
            shutil.copyfile(source / path, work / "data" / "shop" / label / Path(path).name)
    recipe, run, bundle, home = (work / name for name in ("shop.toml", "run", "bundle", "home"))
    used = _used()
    seconds = {
        "init": _groknet("train", recipe, "--init", work / "data" / "shop"),
        "train": _groknet("train", recipe, "--data", work / "data", "--out", run),
        "export": _groknet("export", run, "--out", bundle),
    }
    begun = time.monotonic()
    settings = f"[engine]\nbundle = {json.dumps(str(bundle))}\n"
    with running(home, settings, {}):
        seconds["start"] = time.monotonic() - begun
        seconds["submit"] = _groknet("submit", "--home", home, "--wait", work / "data" / "shop")
        seconds["search"] = _groknet("search", "--home", home, "-k", "5", source / others[0]["path"])
    used = _used() - used
    return Result(sorted(mine), seconds, used, len(others), asked(bundle, source, others))


def asked(bundle: Path, source: Path, rows: list[Row]) -> dict[str, float]:
    """What the bundle's only head says of these photos: `top1`, `offered`, `precision`, and `useful`."""
    engine = build_engine(bundle)
    try:
        predicted = predict(engine, source, rows)
    finally:
        engine.close()
    (head,) = predicted.manifest.heads
    found = score(predicted, "label", head)
    measured = figures(found)
    useful = found.correct[:, 0] & found.predictions.offered[:, 0].astype(np.bool_)
    names = ("top1", "offered", "precision")
    return {name: float(measured[name] or 0.0) for name in names} | {"useful": float(useful.mean())}


def _used() -> float:
    """Seconds of the processor that all ended processes which this one started have used."""
    found = resource.getrusage(resource.RUSAGE_CHILDREN)
    return found.ru_utime + found.ru_stime


def _groknet(*arguments: str | Path) -> float:
    """Run a command to its end, and return its seconds."""
    begun = time.monotonic()
    command = [sys.executable, "-m", "groknet", *map(str, arguments)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr[-2000:]}")
    return time.monotonic() - begun


def main() -> int:
    """Run all seeds, and write the page. Returns the exit code."""
    options = parser(__doc__, tells="page")
    options.add_argument("--data", type=Path, required=True, help="folder with the data set `clothing`")
    options.add_argument("--seeds", type=int, default=5, help="shops that are drawn (default 5)")
    options.add_argument("--most", type=int, default=0, help="test photos of a seed, drawn at random (default: all)")
    arguments = options.parse_args()
    results = []
    for seed in range(1, arguments.seeds + 1):
        with TemporaryDirectory() as work:
            results.append(one_seed(arguments.data / "clothing", seed, Path(work), arguments.most))
        done = results[-1]
        sys.stderr.write(f"seed {seed}: {sum(done.seconds.values()):.0f} s, {done.figures}\n")
    command = f"python -m benchmarks.search.own_labels --data DATA --seeds {arguments.seeds}"
    command += f" --most {arguments.most}" if arguments.most else ""
    write_page(page("Own labels", command, versions("torch", "onnxruntime"), body(results)), arguments.out)
    return 0


def body(results: list[Result]) -> str:
    """The two tables of the page."""
    names = ("top1", "offered", "precision", "useful")
    lines: list[list[object]] = [
        [seed, ", ".join(one.labels), one.photos, *(f"{one.figures[name]:.3f}" for name in names)]
        for seed, one in enumerate(results, 1)
    ]
    means = [f"{statistics.fmean(one.figures[name] for one in results):.3f}" for name in names]
    lines.append(["mean", "", "", *means])
    times: list[list[object]] = [
        [
            seed,
            *(f"{one.seconds[step]:.0f}" for step in STEPS),
            f"{sum(one.seconds.values()):.0f}",
            f"{one.processor:.0f}",
        ]
        for seed, one in enumerate(results, 1)
    ]
    totals = [sum(one.seconds.values()) for one in results]
    used = statistics.median(one.processor for one in results)
    times.append(["median", *[""] * len(STEPS), f"{statistics.median(totals):.0f}", f"{used:.0f}"])
    return (
        f"{LABELS} kinds of clothes, {PHOTOS} photos of each, drawn anew for each seed. Other photos of these "
        "kinds are the test.\n\n"
        + table(("seed", "labels", "test photos", "right", "offered", "right if offered", "right and offered"), lines)
        + "\n\nSeconds of each command, and from the first one to the first answer of the running search. The last "
        "column has the seconds that all processes used of the processor, which is what counts on a busy machine:\n\n"
        + table(("seed", *STEPS, "in all", "processor"), times)
    )


if __name__ == "__main__":
    sys.exit(main())
