"""What a worker costs before and after, all in one run: `python -m benchmarks.stream.worker_pairs --checkout before=DIR
...`.

Each round goes through the checkouts in turn. From each it starts all workers and measures memory and start
(`benchmarks.stream.worker_start`), then runs the checkout's own `benchmarks.stream.worker_ratio` on `--images` photos.
At the end of the round it measures photos a second of two engines of this checkout side by side: ONNX Runtime, and what
`engine.backend = "auto"` takes here. Every figure comes with the values of all rounds. A figure that an old checkout
does not measure is left out for it. Linux only.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.report import DEMO, parser, write_result
from benchmarks.stream.worker_ratio import bare, photos
from benchmarks.stream.worker_start import start
from engines.pixels import decode
from engines.recognition import RecognitionEngine, build_engine
from groknet.home.config import load_config
from groknet.home.paths import Home
from groknet.run.fastest import choose

RATIO = ("ratio", "of_ideal", "of_ideal_with_thumbnail", "worker_cpu_ms_per_image", "worker_images_per_s")
BATCH = 8


def ratio_of(checkout: Path, images: int) -> dict[str, float]:
    """What `benchmarks.stream.worker_ratio` of a checkout says after one repetition, as far as it says it."""
    is_old = not (checkout / "benchmarks" / "stream").is_dir()  # its benchmarks lay in one folder
    module = "benchmarks.worker_ratio" if is_old else "benchmarks.stream.worker_ratio"
    command = [str(checkout / ".venv/bin/python"), "-m", module, "--json", "--repeats", "1"]
    done = subprocess.run([*command, "--images", str(images)], cwd=checkout, check=True, capture_output=True, text=True)
    said = json.loads(done.stdout)
    return {name: said[name] for name in RATIO if name in said}


def engines(home: Path, calibration: Path | None) -> tuple[str, dict[str, RecognitionEngine]]:
    """Why `auto` takes what it takes for the demo bundle, and both engines by name. `calibration`: photos for INT8."""
    photos_for_int8 = {} if calibration is None else {"GROKNET__ENGINE__CALIBRATION_PHOTOS": str(calibration)}
    loaded = load_config(Home(home).make(), {"GROKNET__ENGINE__BACKEND": "auto", **photos_for_int8})
    choice = choose(loaded, DEMO)
    return choice.reason, {
        "onnxruntime": build_engine(DEMO, "onnxruntime"),
        "auto": build_engine(choice.folder, choice.backend),
    }


def measure(checkouts: dict[str, Path], repeats: int, images: int, calibration: Path | None) -> dict[str, Any]:
    """All figures by checkout or engine: the median, then the value of each round."""
    values: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    with tempfile.TemporaryDirectory() as folder:
        reason, pair = engines(Path(folder), calibration)
        preprocess = pair["auto"].manifest.preprocess
        batch = np.stack([decode(one, preprocess) for one in photos(BATCH)])
        for engine in pair.values():
            bare(engine, batch, 4 * BATCH)  # warm
        for _ in range(repeats):
            for name, checkout in checkouts.items():
                found = start(checkout / ".venv/bin/python", checkout) | ratio_of(checkout, images)
                _print(name, found)
                for figure, value in found.items():
                    values[name][figure].append(value)
            for name, engine in pair.items():
                rate = bare(engine, batch, images)
                _print(f"engine {name}", {"photos/s": rate})
                values[f"engine {name}"]["photos/s"].append(rate)
    result: dict[str, Any] = {"auto": reason}
    for name, figures in values.items():
        result[name] = {
            figure: f"{statistics.median(found):.3g} ({', '.join(f'{one:.3g}' for one in found)})"
            for figure, found in figures.items()
        }
    return result


def _print(name: str, found: dict[str, float]) -> None:
    """One line on stderr for each measurement, because a round takes minutes."""
    sys.stderr.write(f"{name}: {', '.join(f'{figure} {value:.3g}' for figure, value in found.items())}\n")


def main() -> None:
    """Read the options, measure and print."""
    options = parser(__doc__, tells="result", repeats=3)
    options.add_argument(
        "--checkout", action="append", required=True, metavar="NAME=DIR", help="a checkout with its .venv; repeat it"
    )
    options.add_argument("--images", type=int, default=400, help="photos a round (default 400)")
    options.add_argument("--calibration", type=Path, help="folder of about 64 photos, for INT8; without: no INT8")
    arguments = options.parse_args()
    checkouts = {name: Path(folder).resolve() for name, _, folder in (one.partition("=") for one in arguments.checkout)}
    write_result(measure(checkouts, arguments.repeats, arguments.images, arguments.calibration), arguments.json)


if __name__ == "__main__":
    main()
