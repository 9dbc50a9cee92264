"""Engine and worker on a GPU: `python -m benchmarks.gpu_engine --out docs/benchmarks/gpu.md`.

Builds the bundle (default: ResNeXt-101 32x4d at 224 pixels, random weights) for the GPU here in every precision,
runs its parity photos, then measures: the bare engine at several batch sizes with one caller and with two, and, with
the fastest precision, how much of it is left at the end of a whole tagger fed 800 x 600 JPEGs (see `worker_ratio`),
decoded on the processor and on the GPU's own decoder, and how many cores each stage would take at the engine's speed.
The result is Markdown with date, device and command. Without a GPU nothing is written and the exit code is 3.
"""

from __future__ import annotations

import argparse
import os
import shlex
import statistics
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import get_args

import numpy as np

from benchmarks.report import parser, table, write_page
from benchmarks.worker_ratio import bare, photos, stages, worker
from engines.pixels import decode_photo, open_jpeg_decoder
from engines.pixels.nvimgcodec import JPEG_DECODERS
from engines.recognition import RecognitionEngine, build_engine
from engines.recognition.precision import Precision
from engines.recognition.speed import Speed, measure
from engines.recognition.tensorrt.cuda import open_driver
from engines.recognition.tensorrt.library import LIBRARIES, load_library
from engines.recognition.tensorrt.manifest import EngineManifest
from engines.recognition.tensorrt.profiles import Profiles
from groknet.engines import build_folder, run_parity
from schemas.errors import BundleRefused, ConfigError
from workers.tagger import TaggerSettings

NO_GPU = 3
_PARTS = 4  # batches beyond the largest profile go in so many parts, two at a time on the GPU


def main() -> int:
    """Parse, measure, write; the exit code."""
    options = parser(__doc__, tells="page")
    options.add_argument("--bundle", type=Path, help="FP32 bundle; else ResNeXt-101 32x4d, made now (needs [train])")
    options.add_argument("--backend", choices=LIBRARIES, default="tensorrt")
    options.add_argument("--batch", default="1,8,32,64,128", help="batch sizes, a profile each")
    options.add_argument("--photos", type=Path, help="folder to calibrate INT8 on; INT8 is left out without it")
    options.add_argument("--seconds", type=float, default=5.0, help="for each measurement")
    options.add_argument("--images", type=int, default=20_000, help="photos of one worker run")
    arguments = options.parse_args()
    try:
        driver = open_driver()
        library = load_library(arguments.backend)
    except ConfigError as error:
        sys.stderr.write(f"not run: {error}\n")
        return NO_GPU
    device = driver.device()
    driver.close()
    with tempfile.TemporaryDirectory() as scratch:
        bundle = arguments.bundle or _reference(Path(scratch) / "reference")
        text = [
            "# Engine and worker on a GPU",
            "",
            f"{datetime.now(UTC):%Y-%m-%d} · {device.name} ({device.capability}, driver {_driver_version()}) · "
            f"{library.name} {library.version} · {os.cpu_count()} cores",
            "",
            f"    python -m benchmarks.gpu_engine {shlex.join(sys.argv[1:])}",
            "",
            *_measured(bundle, Path(scratch), arguments),
        ]
    write_page("\n".join(text) + "\n", arguments.out)
    return 0


def _measured(bundle: Path, scratch: Path, arguments: argparse.Namespace) -> list[str]:
    profiles = Profiles.parse(arguments.batch)
    lines = ["| precision | plan MB | build s | parity | batch | callers | images/s | p50 ms | p99 ms |"]
    lines.append("|---|---|---|---|---|---|---|---|---|")
    best: tuple[float, Path] = (0.0, bundle)
    for precision in get_args(Precision):
        if precision == "int8" and arguments.photos is None:
            lines.append("| int8 | not run: no --photos to calibrate on | | | | | | | |")
            continue
        folder = scratch / precision
        try:
            plan = build_folder(
                bundle,
                folder,
                backend=arguments.backend,
                precision=precision,
                profiles=profiles,
                photos=arguments.photos,
                target=None,
                progress=lambda _: None,
            )
            run_parity(folder, arguments.backend)
        except BundleRefused as error:
            lines.append(f"| {precision} | refused: {error} | | | | | | | |")
            continue
        speeds = _speeds(folder, arguments.backend, profiles, arguments.seconds)
        lines.extend(_row(precision, plan, speed) for speed in speeds)
        best = max(best, (max(speed.images_per_s for speed in speeds), folder))
    engine = build_engine(best[1], arguments.backend, max_batch=profiles.largest)
    try:
        return [*lines, "", *worker_page(engine, best[1].name, arguments.images, photos(max(64, profiles.largest)))]
    finally:
        engine.close()


def _speeds(folder: Path, backend: str, profiles: Profiles, seconds: float) -> list[Speed]:
    largest = _PARTS * profiles.largest
    engine = build_engine(folder, backend, max_batch=largest)
    try:
        return [
            measure(engine, batch, seconds=seconds, callers=callers)
            for batch in (*profiles.batches, largest)
            for callers in (1, 2)
        ]
    finally:
        engine.close()


def worker_page(engine: RecognitionEngine, name: str, images: int, data: list[bytes], rounds: int = 3) -> list[str]:
    """The worker's tables for each JPEG decoder: bare engine and worker in turn, medians; then what limits it.

    `data`: JPEGs, as many as a batch at least. A decoder that cannot be had here takes a line that says why.
    """
    size, cores = min(len(data), engine.max_batch, 256), os.cpu_count() or 1
    batch = np.stack([decode_photo(one, engine.manifest.preprocess).pixels for one in data[:size]])
    rates, costs = [], []
    for decoder in JPEG_DECODERS:
        settings = TaggerSettings(
            batch_size=size,
            jpeg_decoder=decoder,
            prepare_threads=cores if decoder == "pillow" else max(32, cores),  # those that wait for the GPU cost none
            max_in_flight_events=8 * size,  # so that batches fill; an event here is a photo
        )
        try:
            jpeg = open_jpeg_decoder(decoder)
        except ConfigError as error:
            rates.append([decoder, f"not run: {error}", "", ""])
            continue
        pairs = [(bare(engine, batch, images), worker(engine, data, images, settings)) for _ in range(rounds)]
        alone, whole = (statistics.median(pair[i] for pair in pairs) for i in (0, 1))
        ratio = statistics.median(w / b for b, w in pairs)
        rates.append([decoder, f"{alone:,.0f}", f"{whole:,.0f}", f"{ratio:.2f}"])
        costs += [
            [decoder, stage, f"{ms:.2f}", f"{ms * alone / 1000:.1f}"]
            for stage, ms in stages(engine, data, size, jpeg).items()
        ]
    return [
        f"## Worker ÷ bare engine ({name}, batches of {size}, 800 × 600 JPEGs, {cores} cores, one process)",
        "",
        table(["JPEGs by", "bare, images/s", "worker, images/s", "ratio"], rates),
        "",
        "What limits it: processor time of each stage alone, and the cores that it would keep busy at the bare "
        "engine's speed. What is beyond the cores of this machine is the limit, and more machines the remedy; what "
        "holds the interpreter lock (rows, log, store) is helped by more processes on the same stream.",
        "",
        table(["JPEGs by", "stage", "ms an image", "cores at engine speed"], costs),
    ]


def _row(precision: str, plan: EngineManifest | None, speed: Speed) -> str:
    made = "– | –" if plan is None else f"{plan.plan_bytes / 1e6:.0f} | {plan.build_seconds:.0f}"
    figures = f"{speed.images_per_s:,.0f} | {speed.latency_ms_p50:.2f} | {speed.latency_ms_p99:.2f}"
    return f"| {precision} | {made} | passed | {speed.batch} | {speed.callers} | {figures} |"


def _reference(folder: Path) -> Path:
    from training.reference import write_reference

    write_reference(folder)
    return folder


def _driver_version() -> str:
    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()[0]
    except (OSError, subprocess.CalledProcessError, IndexError):
        return "unknown"


if __name__ == "__main__":
    sys.exit(main())
