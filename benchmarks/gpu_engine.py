"""Engine and worker on a GPU: `python -m benchmarks.gpu_engine --out docs/benchmarks/gpu.md`.

Builds the bundle (default: ResNeXt-101 32x4d at 224 pixels, random weights) for the GPU here in every precision,
runs its parity photos, then measures: the bare engine at several batch sizes with one caller and with two, and, with
the fastest precision, how much of it is left at the end of a whole tagger fed 800 x 600 JPEGs (see `worker_ratio`).
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

from benchmarks.worker_ratio import bare, photos, worker
from engines.pixels import decode_photo
from engines.recognition import build_engine
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
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", type=Path, help="FP32 bundle; else ResNeXt-101 32x4d, made now (needs [train])")
    parser.add_argument("--backend", choices=LIBRARIES, default="tensorrt")
    parser.add_argument("--batch", default="1,8,32,64,128", help="batch sizes, a profile each")
    parser.add_argument("--photos", type=Path, help="folder to calibrate INT8 on; INT8 is left out without it")
    parser.add_argument("--seconds", type=float, default=5.0, help="for each measurement")
    parser.add_argument("--images", type=int, default=20_000, help="photos of one worker run")
    parser.add_argument("--out", type=Path, help="Markdown file to write; else stdout")
    arguments = parser.parse_args()
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
    document = "\n".join(text) + "\n"
    if arguments.out:
        arguments.out.write_text(document, encoding="utf-8")
    else:
        sys.stdout.write(document)
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
    return [*lines, "", *_worker(best[1], arguments.backend, profiles, arguments.images)]


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


def _worker(folder: Path, backend: str, profiles: Profiles, images: int) -> list[str]:
    """Bare and worker in turn, three times, at the batch size of the largest profile."""
    engine = build_engine(folder, backend, max_batch=profiles.largest)
    try:
        settings = TaggerSettings(batch_size=min(profiles.largest, 256))
        data = photos(max(64, settings.batch_size))
        batch = np.stack([decode_photo(one, engine.manifest.preprocess).pixels for one in data[: settings.batch_size]])
        pairs = [(bare(engine, batch, images), worker(engine, data, images, settings)) for _ in range(3)]
    finally:
        engine.close()
    alone, whole = (statistics.median(pair[i] for pair in pairs) for i in (0, 1))
    ratio = statistics.median(w / b for b, w in pairs)
    return [
        f"Worker ÷ bare engine ({folder.name}, batches of {settings.batch_size}, 800 × 600 JPEGs decoded on the "
        f"processor): {whole:,.0f} ÷ {alone:,.0f} images/s = {ratio:.2f}"
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
