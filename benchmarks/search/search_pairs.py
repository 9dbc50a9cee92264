"""The search service of two revisions, or with two settings, compared in interleaved pairs:
`python -m benchmarks.search.search_pairs OLD NEW`.

OLD and NEW are folders with a checkout each. `groknet run all` of each runs in a home of its own with the same studio
listings, and with the `groknet.toml` of `--settings`. Then two clients search one service for some seconds, then the
other. The result is the median of the ratios (above 1: NEW is better), with a one-sided 95 % lower bound by bootstrap
over the pairs, and the 99th percentile of all searches of each.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]

from benchmarks.stream.search_load import LISTINGS, QUERIES, START_S, load, photo
from benchmarks.stream_pairs import lower_bound
from training.studio import DEMO_IDENTITIES, TEST_IDENTITIES

_CLIENTS = 2  # they keep two cores busy, and the service out of its queue


class _Side:
    """The running workers of one revision."""

    def __init__(self, tree: Path, home: Path, photos: Path, settings: Path | None = None) -> None:
        self._home = home
        self.seconds: list[float] = []
        if settings is not None:
            home.mkdir()
            shutil.copyfile(settings, home / "groknet.toml")
        groknet = [sys.executable, "-m", "groknet"]
        options: dict[str, Any] = {"cwd": tree, "env": {**os.environ, "PYTHONPATH": str(tree)}}
        with home.with_suffix(".log").open("wb") as log:
            command = [*groknet, "run", "all", "--home", str(home), "--port", "0"]
            self._workers = subprocess.Popen(command, stdout=log, stderr=log, **options)
        self.url = self._started()
        subprocess.run([*groknet, "submit", "--home", str(home), "--wait", str(photos)], check=True, **options)

    def _started(self) -> str:
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline and self._workers.poll() is None:
            try:
                url = "http://{host}:{port}".format(**json.loads((self._home / "run/search.json").read_bytes()))
                with urllib.request.urlopen(f"{url}/readyz", timeout=5):
                    return url
            except (OSError, ValueError, urllib.error.URLError):
                time.sleep(0.2)
        raise RuntimeError(f"the workers did not become ready; {self._home.with_suffix('.log')} says why")

    def processor_s(self) -> float:
        """Processor time of all workers so far."""
        root = psutil.Process(self._workers.pid)
        times = [process.cpu_times() for process in (root, *root.children(recursive=True))]
        return float(sum(t.user + t.system for t in times))

    def round(self, queries: Sequence[bytes], seconds: float) -> list[float]:
        """Seconds of the clock and of the processor for each search, and the median search's milliseconds."""
        before, began = self.processor_s(), time.monotonic()
        seen = load(self.url, queries, _CLIENTS, seconds)
        clock, spent = time.monotonic() - began, self.processor_s() - before
        if set(seen.endings) != {"200"}:
            raise RuntimeError(f"{self.url}: not every search was answered: {seen.told()}")
        self.seconds += seen.good
        return [clock / len(seen.good), spent / len(seen.good), 1000 * statistics.median(seen.good)]

    def close(self) -> None:
        """End the workers."""
        self._workers.send_signal(signal.SIGTERM)
        self._workers.wait(60)


def compare(
    trees: Sequence[Path], pairs: int, seconds: float, settings: Sequence[Path | None] = (None, None)
) -> dict[str, dict[str, float]]:
    """Median and lower bound of each ratio, and the slowest hundredth of each side in milliseconds."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        (folder / "photos").mkdir()
        for identity in list(DEMO_IDENTITIES)[:LISTINGS]:
            (folder / "photos" / f"{identity}.jpg").write_bytes(photo(identity, 0))
        queries = [photo(identity, 1) for identity in list(TEST_IDENTITIES)[:QUERIES]]
        sides = []
        for name, tree, toml in zip(("old", "new"), trees, settings, strict=True):
            sides.append(_Side(tree, folder / name, folder / "photos", toml))
            stack.callback(sides[-1].close)
        for side in sides:
            side.round(queries, seconds)  # warm up
            side.seconds.clear()
        found = []
        for pair in range(pairs):
            order = (0, 1) if pair % 2 == 0 else (1, 0)
            cost = {which: sides[which].round(queries, seconds) for which in order}
            found.append((cost[0], cost[1]))
            sys.stderr.write(f"pair {pair + 1} of {pairs}: processor time {cost[0][1] / cost[1][1]:.2f}\n")
    result = {}
    for at, name in enumerate(("searches_per_s", "processor_time", "median_latency")):
        ratios = [old[at] / new[at] for old, new in found]
        bound = round(lower_bound(ratios), 3)
        result[name] = {"median": round(statistics.median(ratios), 3), "lower_95": bound, "pairs": len(ratios)}
    slowest = [1000 * statistics.quantiles(side.seconds, n=100)[-1] for side in sides]
    result["p99_ms"] = {name: round(value, 1) for name, value in zip(("old", "new"), slowest, strict=True)}
    return result


def main() -> None:
    """Parse, compare, print one JSON object."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("trees", type=Path, nargs=2, metavar="FOLDER", help="the old checkout, then the new one")
    options.add_argument("--pairs", type=int, default=15, help="default 15")
    options.add_argument("--seconds", type=float, default=5.0, help="of each round (default 5)")
    options.add_argument(
        "--settings", type=Path, nargs=2, metavar="TOML", default=(None, None), help="groknet.toml of the old home, new"
    )
    arguments = options.parse_args()
    trees = [tree.resolve() for tree in arguments.trees]
    sys.stdout.write(
        json.dumps(compare(trees, arguments.pairs, arguments.seconds, arguments.settings), indent=1) + "\n"
    )


if __name__ == "__main__":
    main()
