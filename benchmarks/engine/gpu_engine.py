"""Engine and worker on a GPU: `python -m benchmarks.engine.gpu_engine --out docs/benchmarks/gpu.md`.

For each bundle (by default ResNeXt-101 32x4d at 224 pixels with random weights, in every precision of the back end) it
builds an engine for this GPU, runs the parity photos, and measures the bare engine at several batch sizes with one and
with two callers. With the fastest bundle it then measures whole taggers on 800 x 600 JPEGs (see `gpu_workers`), decoded
on the CPU and on the GPU's own decoder, and how many cores each stage would need at the engine's speed. The result is
a Markdown page with date, device and command, rewritten after each figure. Without a GPU it writes nothing and exits
with code 3.
"""

from __future__ import annotations

import argparse
import os
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import get_args

from benchmarks.engine import gpu_workers
from benchmarks.report import parser, table, versions, write_page
from benchmarks.stream.worker_ratio import photos, stages
from engines.gpu.open import open_driver
from engines.gpu.profiles import Profiles
from engines.pixels import open_jpeg_decoder
from engines.pixels.nvimgcodec import JPEG_DECODERS
from engines.recognition import RecognitionEngine, build_engine, load_bundle
from engines.recognition.engine_folder import build_folder
from engines.recognition.precision import Precision
from engines.recognition.speed import measure
from engines.recognition.tensorrt.library import LIBRARIES, load_library
from engines.recognition.tensorrt.manifest import EngineManifest
from schemas.errors import BundleRefused, ConfigError, DeviceLost

NO_GPU = 3
_PHOTOS = 64  # different ones


class Page:
    """The result so far."""

    def __init__(self, title: str, out: Path | None) -> None:
        self._out = out
        self._lines = [title]

    def add(self, *lines: str) -> None:
        """Append lines, and write the whole page to the file."""
        self._lines += lines
        if self._out is not None:
            write_page("\n".join(self._lines) + "\n", self._out)
        sys.stderr.write("\n".join(lines) + "\n")

    def close(self) -> None:
        """Print the page if there is no file."""
        if self._out is None:
            write_page("\n".join(self._lines) + "\n", None)


def main() -> int:
    """Read the options, measure, and write the page. Returns the exit code."""
    arguments = _options().parse_args()
    try:
        driver = open_driver()
        library = load_library(arguments.backend) if arguments.backend in LIBRARIES else None
    except ConfigError as error:
        sys.stderr.write(f"not run: {error}\n")
        return NO_GPU
    device = driver.device()
    driver.close()
    engine = f"{library.name} {library.version}" if library else versions("torch")
    page = Page("# Engine and worker on a GPU", arguments.out)
    page.add(
        "",
        f"{datetime.now(UTC):%Y-%m-%d} · {device.name} ({device.capability}, driver {_driver_version()}) · "
        f"{engine} · {os.cpu_count()} cores",
        "",
        f"    python -m benchmarks.engine.gpu_engine {shlex.join(sys.argv[1:])}",
        "",
    )
    with tempfile.TemporaryDirectory() as scratch:
        fastest = _engines(page, Path(scratch), arguments)
        if fastest is not None and arguments.images:
            _workers(page, *fastest, arguments)
    page.close()
    return 0


def _options() -> argparse.ArgumentParser:
    options = parser(__doc__, tells="page")
    options.add_argument(
        "--bundle", type=Path, action="append", help="measured as it is; else ResNeXt-101 32x4d, made now ([train])"
    )
    options.add_argument("--backend", choices=[*LIBRARIES, "torch"], default="tensorrt")
    options.add_argument("--batch", default="1,8,32,128", help="batch sizes, a profile each")
    options.add_argument("--photos", type=Path, help="folder to calibrate INT8 on; INT8 is left out without it")
    options.add_argument("--jpegs", type=Path, help="folder of the workers' JPEGs; else 64 studio photos")
    options.add_argument("--seconds", type=float, default=5.0, help="for each measurement")
    options.add_argument("--images", type=int, default=20_000, help="photos of all workers; 0: no workers")
    options.add_argument("--worker-batch", type=int, default=64, help="photos a batch of a worker")
    options.add_argument("--processes", default="8,1", help="workers on the GPU, a process each")
    return options


def _bundles(scratch: Path, arguments: argparse.Namespace) -> Iterator[tuple[str, Path | str]]:
    """The name and the folder of each bundle to measure, or the reason why it is missing."""
    for folder in arguments.bundle or []:
        yield f"{folder.name}, {load_bundle(folder).manifest.precision}", folder
    if arguments.bundle:
        return
    from training.bundle.reference import write_reference

    write_reference(scratch / "reference")
    for precision in get_args(Precision):
        folder = scratch / f"made-{precision}"
        if precision == "int8" and (arguments.photos is None or arguments.backend == "torch"):
            yield (
                precision,
                "not run: " + ("no --photos to calibrate on" if arguments.photos is None else "not torch's"),
            )
            continue
        _make(scratch / "reference", folder, "onnxruntime", precision, calibration=arguments.photos)
        yield precision, folder


def _engines(page: Page, scratch: Path, arguments: argparse.Namespace) -> tuple[Path, float] | None:
    """Add the table of bare engines. Returns the folder of the fastest one and its images a second."""
    profiles = Profiles.parse(arguments.batch)
    page.add("| bundle | plan MB | start s | parity | batch | callers | images/s | p50 ms | p99 ms |")
    page.add("|---|---|---|---|---|---|---|---|---|")
    best: tuple[float, Path] | None = None
    for name, folder in _bundles(scratch, arguments):
        if isinstance(folder, str):
            page.add(f"| {name} | {folder} | | | | | | | |")
            continue
        started = time.perf_counter()
        try:
            built, size = _built(folder, scratch / f"built-{name.replace(', ', '-')}", arguments.backend, profiles)
            engine = build_engine(built, arguments.backend, max_batch=profiles.largest)
        except (BundleRefused, ConfigError) as error:
            page.add(f"| {name} | refused: {error} | | | | | | | |")
            continue
        began = f"{time.perf_counter() - started:.0f}"
        for batch in profiles.batches:
            for callers in (1, 2):
                speed = measure(engine, batch, seconds=arguments.seconds, callers=callers)
                figures = f"{speed.images_per_s:,.0f} | {speed.latency_ms_p50:.2f} | {speed.latency_ms_p99:.2f}"
                page.add(f"| {name} | {size} | {began} | passed | {batch} | {callers} | {figures} |")
                best = max(best or (0.0, built), (speed.images_per_s, built))
        engine.close()
    return (best[1], best[0]) if best else None


def _built(bundle: Path, folder: Path, backend: str, profiles: Profiles) -> tuple[Path, str]:
    """Build the bundle's plan. Returns the engine's folder and the size of the plan; for torch the bundle itself."""
    if backend not in LIBRARIES:
        return bundle, "–"
    precision = load_bundle(bundle).manifest.precision
    plan = _make(bundle, folder, backend, precision, profiles=profiles)
    return folder, "–" if plan is None else f"{plan.plan_bytes / 1e6:.0f}"


def _make(
    bundle: Path,
    folder: Path,
    backend: str,
    precision: Precision,
    *,
    profiles: Profiles | None = None,
    calibration: Path | None = None,
) -> EngineManifest | None:
    return build_folder(
        bundle,
        folder,
        backend=backend,
        precision=precision,
        profiles=profiles or Profiles(),
        photos=calibration,
        target=None,
        progress=lambda _: None,
    )


def _workers(page: Page, folder: Path, fastest: float, arguments: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        jpegs = arguments.jpegs or Path(scratch)
        if arguments.jpegs is None:
            for i, one in enumerate(photos(_PHOTOS)):
                (jpegs / f"{i:04}.jpg").write_bytes(one)
        page.add(*_rates_header(folder.name, arguments.worker_batch))
        for processes in map(int, arguments.processes.split(",")):
            fleet = gpu_workers.Fleet(
                folder=folder,
                backend=arguments.backend,
                photos=jpegs,
                processes=processes,
                batch=arguments.worker_batch,
                images=arguments.images // processes,
            )
            page.add(*rate_rows(fleet, fastest))
        engine = build_engine(folder, arguments.backend, max_batch=arguments.worker_batch)
        try:
            data = [path.read_bytes() for path in sorted(jpegs.glob("*.jpg"))]
            page.add(*limits(engine, data, arguments.worker_batch, fastest))
        finally:
            engine.close()


def _rates_header(name: str, batch: int) -> list[str]:
    return [
        "",
        f"## Worker ÷ bare engine ({name}, batches of {batch}, 800 × 600 JPEGs, {os.cpu_count()} cores)",
        "",
        "*All bare* is the bare engines of as many processes at once; the ratio is to the better of it and the fastest "
        "bare engine above.",
        "",
        "| JPEGs by | processes | all bare, images/s | all workers, images/s | ratio |",
        "|---|---|---|---|---|",
    ]


def rate_rows(fleet: gpu_workers.Fleet, fastest: float) -> list[str]:
    """The table rows of one fleet, or the reason why there are none. `fastest`: images a second of the best bare
    engine."""
    rates: dict[str, float | str] = {}
    with gpu_workers.started(fleet) as processes:
        for run in (*JPEG_DECODERS, "bare"):
            try:
                rates[run] = processes.rate()
            except RuntimeError as error:
                rates[run] = str(error)
    alone = rates.pop("bare")
    told = alone if isinstance(alone, str) else f"{alone:,.0f}"
    best = max(fastest, alone) if isinstance(alone, float) else fastest
    return [
        f"| {decoder} | {fleet.processes} | {told} | "
        + (f"{rate:,.0f} | {rate / best:.2f} |" if isinstance(rate, float) else f"not run: {rate} | |")
        for decoder, rate in rates.items()
    ]


def limits(engine: RecognitionEngine, data: list[bytes], batch: int, speed: float) -> list[str]:
    """What limits a worker: the processor time of each stage alone, and the cores that it needs at `speed` images a
    second."""
    costs = []
    for decoder in JPEG_DECODERS:
        try:
            jpeg = open_jpeg_decoder(decoder)
        except ConfigError as error:
            costs.append([decoder, f"not run: {error}", "", ""])
            continue
        for stage, ms in stages(engine, data, batch, jpeg).items():
            costs.append([decoder, stage, f"{ms:.2f}", f"{ms * speed / 1000:.1f}"])
    return [
        "",
        "What limits it: processor time of each stage alone, and the cores that it would keep busy at the bare "
        "engine's speed. What is beyond the cores of this machine is the limit, and more machines the remedy; what "
        "holds the interpreter lock (rows, log, store) is helped by more processes on the same stream.",
        "",
        table(["JPEGs by", "stage", "ms an image", "cores at engine speed"], costs),
    ]


def _driver_version() -> str:
    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()[0]
    except (OSError, subprocess.CalledProcessError, IndexError):
        return "unknown"


if __name__ == "__main__":
    try:
        sys.exit(main())
    except DeviceLost as lost:
        sys.exit(f"ended: {lost}")
