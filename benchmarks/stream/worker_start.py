"""Memory and start of workers: `python -m benchmarks.stream.worker_start --checkout before=DIR --checkout after=DIR`.

Each round starts `groknet run all` once from every checkout, in a new home where one listing waits already. It measures
the time until that listing is stored and until all workers are ready, and then reads what the system says about each
worker: resident memory, its peak, and the processor time until then. The rounds go from checkout to checkout, so all
meet the same load. Linux only.
"""

from __future__ import annotations

import os
import signal
import sqlite3
import statistics
import subprocess
import tempfile
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec

from benchmarks.report import parser, write_result
from benchmarks.stream.worker_ratio import photos

WORKERS = ("tagger", "search", "indexer")
READY = "all workers are ready"
PATIENCE_S = 180.0
_TICKS = os.sysconf("SC_CLK_TCK")


def of_process(pid: int) -> dict[str, float]:
    """Resident memory, its peak (MB) and processor time (s) of a process."""
    lines = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if ":" in line)
    spent = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return {
        "MB": int(lines["VmRSS"].split()[0]) / 1024,
        "peak MB": int(lines["VmHWM"].split()[0]) / 1024,
        "cpu s": (int(spent[11]) + int(spent[12])) / _TICKS,
    }


def predicted(home: Path) -> bool:
    """Whether the store of a home has the predictions of a listing."""
    try:
        with closing(sqlite3.connect(f"file:{home}/store.db?mode=ro", uri=True)) as db:
            return db.execute("SELECT 1 FROM rows LIMIT 1").fetchone() is not None
    except sqlite3.OperationalError:  # the tagger has not made the file or the table yet
        return False


def start(python: Path, checkout: Path) -> dict[str, float]:
    """Start all workers of a checkout, wait for a prediction and until all are ready, measure, and stop them."""
    with tempfile.TemporaryDirectory() as folder:
        home, said, photo = Path(folder) / "home", Path(folder) / "said.txt", Path(folder) / "photo.jpg"
        photo.write_bytes(photos(1)[0])
        groknet = [str(python), "-m", "groknet"]
        subprocess.run([*groknet, "submit", "--home", str(home), str(photo)], cwd=checkout, check=True)
        with said.open("w") as out:
            began = time.monotonic()
            command = [*groknet, "run", "all", "--home", str(home), "--port", "0"]
            supervisor = subprocess.Popen(command, cwd=checkout, stderr=out)
        try:
            found: dict[str, float] = {}
            while len(found) < 2:  # the first prediction, and all workers ready
                if supervisor.poll() is not None or time.monotonic() - began > PATIENCE_S:
                    raise RuntimeError(f"{checkout}: the workers did not start: {said.read_text()[-500:]}")
                if predicted(home):
                    found.setdefault("first prediction s", time.monotonic() - began)
                if READY in said.read_text():
                    found.setdefault("start s", time.monotonic() - began)
                time.sleep(0.02)
            for worker in WORKERS:
                pid = msgspec.json.decode((home / "run" / f"{worker}.json").read_bytes())["pid"]
                found |= {f"{worker} {name}": value for name, value in of_process(pid).items()}
        finally:
            supervisor.send_signal(signal.SIGTERM)
            supervisor.wait()
    return found


def measure(checkouts: dict[str, Path], repeats: int) -> dict[str, Any]:
    """The medians of each checkout, by its name."""
    rounds: dict[str, list[dict[str, float]]] = {name: [] for name in checkouts}
    for _ in range(repeats):
        for name, folder in checkouts.items():
            rounds[name].append(start(folder / ".venv/bin/python", folder))
    return {
        name: {figure: round(statistics.median(one[figure] for one in found), 2) for figure in found[0]}
        for name, found in rounds.items()
    }


def main() -> None:
    """Read the options, measure and print."""
    options = parser(__doc__, tells="result", repeats=3)
    options.add_argument(
        "--checkout", action="append", required=True, metavar="NAME=DIR", help="a checkout with its .venv"
    )
    arguments = options.parse_args()
    checkouts = {name: Path(folder) for name, _, folder in (one.partition("=") for one in arguments.checkout)}
    write_result(measure(checkouts, arguments.repeats), arguments.json)


if __name__ == "__main__":
    main()
