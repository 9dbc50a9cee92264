"""Whether the detector's class helps the vote for a category:
`python -m benchmarks.detectors.detect_vote --detector FOLDER --data FOLDER`.

Listings are the training photos of freiburg's 25 kinds of groceries, each with its kind as category. Queries are test
photos. The category is the best one of the 20 nearest listings' vote alone, of the class alone, and of both. The weight
of the class is chosen with every fifth training photo, which is then no listing.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.report import page, parser, table, versions, write_page
from engines.detection import open_detector
from engines.pixels import decode_canvas
from engines.recognition import RecognitionEngine, build_engine
from schemas.boxes import PADDING, THRESHOLD, DetectPlan
from training.readers import read, read_photo
from training.readers.label_table import Row
from workers.search.find.labels.category_vote import vote_with_class
from workers.search.find.labels.vote import VOTERS, Ballot
from workers.stages.detect import Looking

WEIGHTS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
EVERY = 5


@dataclass(frozen=True)
class Photo:
    """What is known of a photo: its category, its hash, uint8 [32], and the class and confidence of its subject."""

    category: str
    code: NDArray[np.uint8]
    kind: str | None
    score: float


def looked(
    engine: RecognitionEngine, looking: Looking, folder: Path, rows: Sequence[Row], *, boxes: bool
) -> list[Photo]:
    """Every photo by its subject, or with `boxes` False as a whole."""
    photos = []
    for row in rows:
        canvas, _ = decode_canvas(read_photo(folder, row["path"]), looking.side)
        (found,) = looking.found(looking.shrunk(canvas)[None])
        first = found[0] if found else None
        pixels = canvas.cut(first.box if first and boxes else None, looking.preprocess)
        code = engine.infer(pixels[None]).hash[0]
        photos.append(Photo(row["label"], code, first.kind if first else None, first.score if first else 0.0))
    return photos


def right(queries: Sequence[Photo], listings: Sequence[Photo], weights: Sequence[float]) -> list[float]:
    """For each weight the share of queries whose best category is right."""
    codes = np.stack([one.code for one in listings])
    hits = np.zeros(len(weights))
    for query in queries:
        apart = np.bitwise_count(codes ^ query.code).sum(axis=1)
        near = np.argsort(apart, kind="stable")[:VOTERS]
        ballots = [Ballot(f"{i:06}", listings[i].category, int(apart[i])) for i in near]
        for place, weight in enumerate(weights):
            found = vote_with_class(query.kind, query.score, ballots, weight)
            hits[place] += bool(found) and found[0].category.casefold() == query.category.casefold()
    return [float(one) / len(queries) for one in hits]


def main() -> int:
    """Choose the weight, measure, and write the page. Returns the exit code."""
    options = parser(__doc__, tells="page", bundle=True)
    options.add_argument("--detector", type=Path, required=True, help="folder of the detector's bundle")
    options.add_argument("--data", type=Path, required=True, help="folder with freiburg")
    options.add_argument("--photos", type=int, default=2000, help="most photos of a split (default 2000)")
    given = options.parse_args()
    folder = given.data / "freiburg"
    engine, detector = build_engine(given.bundle), open_detector(given.detector)
    plan = DetectPlan(
        mode="subject",
        detector_id=detector.detector_id,
        padding=PADDING,
        threshold=THRESHOLD,
        most_boxes=1,
    )
    looking = Looking(detector, plan, engine.manifest.preprocess)
    rows = read("csv", folder).rows
    split = {name: [r for r in rows if r["split"] == name][: given.photos] for name in ("train", "test")}
    lines = []
    for name, boxes in (("whole photos", False), ("subjects", True)):
        train = looked(engine, looking, folder, split["train"], boxes=boxes)
        held = train[::EVERY]
        kept = [one for i, one in enumerate(train) if i % EVERY]
        scores = right(held, kept, WEIGHTS)
        best = WEIGHTS[int(np.argmax(scores))]
        test = looked(engine, looking, folder, split["test"], boxes=boxes)
        alone, only, both = right(test, train, [0.0, 1.0, best])
        lines.append([name, len(test), f"{alone:.3f}", f"{only:.3f}", f"{best:g}", f"{both:.3f}"])
    body = f"Detector `{detector.detector_id}`. Share of test photos whose best category is right.\n\n" + table(
        ["listings and queries", "photos", "neighbours alone", "class alone", "weight of the class", "both"], lines
    )
    command = "python -m benchmarks.detectors.detect_vote --detector FOLDER --data FOLDER"
    write_page(page("Category by detector and neighbours", command, versions("onnxruntime"), body), given.out)
    engine.close()
    detector.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
