"""Several workers on one GPU, one process each. `gpu_engine` starts them, because one interpreter cannot feed a GPU.

Each process opens the engine. For each JPEG decoder it fills a stream of its own and runs a tagger. Last it runs the
bare engine. Before each run all processes wait for each other. `python -m benchmarks.engine.gpu_workers` is one of
them.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from benchmarks.stream.worker_ratio import bare, worker
from engines.pixels import JpegDecoderName, decode_photo
from engines.pixels.nvimgcodec import JPEG_DECODERS
from engines.recognition import BACKENDS, build_engine
from schemas.errors import ConfigError
from workers.tagger import TaggerSettings


@dataclass(frozen=True, kw_only=True)
class Fleet:
    """How many workers, of what.

    Attributes:
        folder: of the bundle.
        photos: folder of JPEGs.
        batch: photos, of the engine and the tagger.
        images: of each worker's run, and of each bare engine's.
    """

    folder: Path
    backend: str
    photos: Path
    processes: int
    batch: int
    images: int


def settings(decoder: JpegDecoderName, batch: int, processes: int) -> TaggerSettings:
    """The settings of one worker among `processes` on this machine."""
    cores = max(2, -(-(os.cpu_count() or 1) // processes))
    return TaggerSettings(
        batch_size=batch,
        jpeg_decoder=decoder,
        decode_processes=cores if decoder == "pillow" else 0,
        prepare_threads=cores + 1 if decoder == "pillow" else max(16, cores),  # those that wait for the GPU cost none
        max_in_flight_events=8 * batch,  # so that batches fill; an event here is a photo
    )


class Processes:
    """The processes of the fleet. A process that failed raises RuntimeError."""

    def __init__(self, started: list[subprocess.Popen[str]], errors: IO[str], images: int) -> None:
        self._started, self._errors, self._images = started, errors, images

    def rate(self) -> float:
        """Wait until each process is ready for its next run, then start all. Returns images a second of all together.

        Raises RuntimeError with the reason of one that cannot do this run, or that ended.
        """
        told = [self._line(process) for process in self._started]
        going = [process for process, line in zip(self._started, told, strict=True) if "ready" in line]
        for process in going:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        told = [line for line in told if "error" in line] + [self._line(process) for process in going]
        for line in told:
            if "error" in line:
                raise RuntimeError(line["error"])
        return self._images * len(told) / max(float(line["seconds"]) for line in told)

    def _line(self, process: subprocess.Popen[str]) -> dict[str, Any]:
        assert process.stdout is not None
        text = process.stdout.readline()
        if not text:
            self._errors.seek(0)
            raise RuntimeError("a process ended: " + " / ".join(self._errors.read().splitlines()[-3:]))
        found: dict[str, Any] = json.loads(text)
        return found


@contextmanager
def started(fleet: Fleet) -> Iterator[Processes]:
    """The running fleet. Its processes end with the block."""
    command = [sys.executable, "-m", "benchmarks.engine.gpu_workers", "--bundle", str(fleet.folder)]
    command += ["--backend", fleet.backend, "--photos", str(fleet.photos), "--images", str(fleet.images)]
    command += ["--processes", str(fleet.processes), "--batch", str(fleet.batch)]
    pipe = subprocess.PIPE
    with ExitStack() as stack, tempfile.TemporaryFile("w+", encoding="utf-8") as errors:
        processes = []
        for _ in range(fleet.processes):
            process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=errors, text=True)
            processes.append(stack.enter_context(process))
            stack.callback(process.kill)
        yield Processes(processes, errors, fleet.images)


def _tell(**found: object) -> None:
    sys.stdout.write(json.dumps(found) + "\n")
    sys.stdout.flush()


def _ready() -> None:
    _tell(ready=True)
    if not sys.stdin.readline():  # who started us is gone
        sys.exit(1)


def main() -> None:
    """Run one of the processes. A line `go` starts each run. If a run is impossible, it prints `error` instead."""
    options = argparse.ArgumentParser(description=__doc__)
    for name in ("bundle", "photos"):
        options.add_argument(f"--{name}", type=Path, required=True)
    options.add_argument("--backend", choices=BACKENDS, required=True)
    for name in ("processes", "batch", "images"):
        options.add_argument(f"--{name}", type=int, required=True)
    chosen = options.parse_args()
    data = [path.read_bytes() for path in sorted(chosen.photos.glob("*.jpg"))]
    engine = build_engine(chosen.bundle, chosen.backend, max_batch=chosen.batch)
    decoded = [decode_photo(one, engine.manifest.preprocess).pixels for one in data[: chosen.batch]]
    batch = np.stack((decoded * -(-chosen.batch // len(decoded)))[: chosen.batch])
    bare(engine, batch, 2 * chosen.batch)  # warm
    for decoder in JPEG_DECODERS:
        own = settings(decoder, chosen.batch, chosen.processes)
        try:
            _tell(seconds=chosen.images / worker(engine, data, chosen.images, own, _ready))
        except ConfigError as error:  # no such decoder here
            _tell(error=str(error))
    _ready()
    _tell(seconds=chosen.images / bare(engine, batch, chosen.images))
    engine.close()


if __name__ == "__main__":
    main()
