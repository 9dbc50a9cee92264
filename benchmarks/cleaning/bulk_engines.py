"""One cleaning on the process pool and on Ray, with a worker of Ray killed in the middle: are all files equal?

    pip install -e '.[cpu,train,bulk]'
    python -m benchmarks.cleaning.bulk_engines --data FOLDER --work WORK

FOLDER is a folder that `groknet data clean` reads. Ray has two workers. When half of the fingerprints are taken, and
again when half of the photos are embedded, a worker of Ray that is at work gets SIGKILL. The result names each file of
the cleaning, and whether its bytes are the same with both engines.
"""

from __future__ import annotations

import os
import shutil
import signal
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.report import parser, write_result
from engines.recognition import build_engine
from schemas.manifest import load_manifest
from training.bulk import Engine
from training.cleaning import (
    Cleaning,
    DuplicateSettings,
    MergeSettings,
    NoiseSettings,
    by_workers,
    in_this_process,
    open_source,
    write_labels,
    write_marks,
)
from training.cleaning.copies.fingerprints import FINGERPRINT
from training.cleaning.packed_rows import PackedRows

WORKERS = 2
_AT_WORK = "ray::MapBatches"  # Ray names a process after what it does


class Killer(threading.Thread):
    """Kills one worker of Ray that is at work, when a file has reached a size."""

    def __init__(self, file: Path, size: int) -> None:
        super().__init__(daemon=True)
        self._file, self._size = file, size
        self.killed = 0

    def run(self) -> None:
        """Wait for the file, then for a worker below this process, and kill it."""
        while not self.killed:
            time.sleep(0.05)
            if self._file.is_file() and self._file.stat().st_size >= self._size and (workers := _workers()):
                os.kill(workers[0], signal.SIGKILL)
                self.killed = workers[0]


def _workers() -> list[int]:
    """The processes below this one that run a part."""
    parents, names = {}, {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            names[int(folder.name)] = (folder / "cmdline").read_bytes().decode("utf-8", "replace")
            parents[int(folder.name)] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue  # it has ended

    def below(process: int) -> bool:
        while process in parents and process != os.getpid():
            process = parents[process]
        return process == os.getpid()

    return sorted(process for process, name in names.items() if name.startswith(_AT_WORK) and below(process))


def clean(folder: Path, out: Path, bundle: Path, engine: Engine, most: int) -> dict[str, Any]:
    """Clean the first photos of a folder; which workers were killed, and the seconds."""
    source = open_source(folder)
    source = replace(source, rows=PackedRows(source.rows[:most]))
    begun = time.perf_counter()
    length = load_manifest(bundle).embedding.dim
    half = len(source.rows) // 2
    killers = []
    if engine == "ray":
        sizes = {"fingerprints.bin": half * FINGERPRINT.itemsize, "vectors.bin": half * length * 4}
        killers = [Killer(out / name, size) for name, size in sizes.items()]
        for killer in killers:
            killer.start()
    cleaning = Cleaning(source, out, "product", workers=WORKERS, engine=engine)
    cleaning.duplicates(cleaning.read(), DuplicateSettings())
    recogniser = build_engine(bundle, threads=1)
    embedder = in_this_process(recogniser) if engine == "pool" else by_workers(bundle, WORKERS, engine)
    cleaning.noise(embedder, NoiseSettings())
    cleaning.merge(embedder, MergeSettings())
    recogniser.close()
    write_labels(source, cleaning.marks, out, "product")
    write_marks(cleaning.marks, out / "marks.csv")
    return {"killed": sum(killer.killed > 0 for killer in killers), "seconds": round(time.perf_counter() - begun, 1)}


def main() -> None:
    """Clean with both engines, compare, print."""
    made = parser(__doc__, tells="result", bundle=True)
    made.add_argument("--data", type=Path, required=True, help="folder of photos")
    made.add_argument("--work", type=Path, required=True, help="folder for both cleanings; earlier ones are removed")
    made.add_argument("--photos", type=int, default=400, help="of the folder, the first so many (default 400)")
    options = made.parse_args()
    engines: tuple[Engine, ...] = ("pool", "ray")
    result: dict[str, Any] = {}
    for engine in engines:
        out = options.work / engine
        shutil.rmtree(out, ignore_errors=True)
        result[engine] = clean(options.data, out, options.bundle, engine, options.photos)
    files = sorted(file.relative_to(options.work / "pool") for file in (options.work / "pool").rglob("*"))
    result["equal"] = {
        str(file): (options.work / "pool" / file).read_bytes() == (options.work / "ray" / file).read_bytes()
        for file in files
        if (options.work / "pool" / file).is_file() and "photos" not in file.parts
    }
    write_result(result, options.json)


if __name__ == "__main__":
    main()
