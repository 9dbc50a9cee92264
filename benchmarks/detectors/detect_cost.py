"""What each stage of a photo costs with a detector, on one thread: `python -m benchmarks.detectors.detect_cost
--detector FOLDER`.

Photos are noise with shapes, 800 × 600 JPEG of quality 85. `off` is what a tagger does without a detector, `subject`
what it does with one. Medians over `--repeats` rounds of `--photos` photos, in milliseconds of processor time of a
photo, so that other work on the machine hardly counts.
"""

from __future__ import annotations

import io
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.report import parser, write_result
from engines.detection import open_detector
from engines.pixels import Box, decode_canvas, decode_photo
from engines.recognition import build_engine
from schemas.boxes import PADDING, THRESHOLD, DetectPlan
from workers.stages.detect import Looking

_BATCH = 8


def photos(count: int) -> list[bytes]:
    """So many photos, each of its own."""
    made = []
    for seed in range(count):
        rng = np.random.default_rng(seed)
        small = Image.fromarray(rng.integers(0, 256, (30, 40, 3), dtype=np.uint8))
        file = io.BytesIO()
        small.resize((800, 600), Image.Resampling.BICUBIC).save(file, "JPEG", quality=85)
        made.append(file.getvalue())
    return made


def milliseconds(works: Mapping[str, Callable[[], object]], photos_: int, repeats: int) -> dict[str, float]:
    """The median processor time of one photo, for each piece of work. They take turns, so all see the same load."""
    times: dict[str, list[float]] = {name: [] for name in works}
    for round_ in range(repeats + 1):
        for name, work in works.items():
            began = time.process_time()
            work()
            if round_:  # the first one warms up
                times[name].append(1000 * (time.process_time() - began) / photos_)
    return {name: round(statistics.median(found), 3) for name, found in times.items()}


def main() -> int:
    """Measure and tell. Returns the exit code."""
    options = parser(__doc__, tells="result", bundle=True, repeats=5)
    options.add_argument("--detector", type=Path, required=True, help="folder of the detector's bundle")
    options.add_argument("--backend", default="onnxruntime", help="of detector and engine (default onnxruntime)")
    options.add_argument("--photos", type=int, default=32, help="photos of a round (default 32)")
    given = options.parse_args()
    engine = build_engine(given.bundle, given.backend, threads=1)
    detector = open_detector(given.detector, given.backend, threads=1)
    plan = DetectPlan(
        mode="subject",
        detector_id=detector.detector_id,
        padding=PADDING,
        threshold=THRESHOLD,
        most_boxes=1,
    )
    preprocess = engine.manifest.preprocess
    looking = Looking(detector, plan, preprocess)
    data = photos(given.photos)
    canvases = [decode_canvas(one, looking.side)[0] for one in data]
    inputs = np.stack([looking.shrunk(one) for one in canvases])
    pixels = np.stack([one.cut(None, preprocess) for one in canvases])
    box = Box(0.2, 0.2, 0.8, 0.9)
    batches = [slice(i, i + _BATCH) for i in range(0, len(data), _BATCH)]

    works: dict[str, Callable[[], object]] = {
        "off: decode, resize, thumbnail": lambda: [decode_photo(one, preprocess) for one in data],
        "subject: decode, thumbnail": lambda: [decode_canvas(one, looking.side, 320) for one in data],
        "subject: resize for the detector": lambda: [looking.shrunk(one) for one in canvases],
        "subject: detector": lambda: [detector.detect(inputs[some]) for some in batches],
        "subject: cut and resize the box": lambda: [one.cut(box, preprocess) for one in canvases],
        "engine": lambda: [engine.infer(pixels[some]) for some in batches],
    }
    cost = milliseconds(works, len(data), given.repeats)
    off = cost["off: decode, resize, thumbnail"] + cost["engine"]
    subject = sum(value for name, value in cost.items() if name.startswith("subject")) + cost["engine"]
    grown = (subject - off) / cost["subject: detector"]
    result = {
        "backend": given.backend,
        "milliseconds": cost,
        "off, in all": round(off, 2),
        "subject, in all": round(subject, 2),
        "growth, times the detector alone": round(grown, 3),
    }
    write_result(result, given.json)
    engine.close()
    detector.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
