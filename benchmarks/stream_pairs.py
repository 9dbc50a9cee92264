"""The stream path of two revisions, compared in interleaved pairs: `python -m benchmarks.stream_pairs OLD NEW`.

OLD and NEW are folders with a checkout each (`git worktree add --detach OLD REVISION`). A process of each starts a
Kafka, a Cassandra and the tagger of `benchmarks.stream.stream_path`. Then the two take turns; each starts every second
pair. A round sends the same events and measures as `stream_path` does. The result is the median of the ratios (above 1:
NEW is better), with a one-sided 95 % lower bound by bootstrap over the pairs.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TextIO

Cost = list[float]
"""Of an event: seconds of the clock, of the processor, and of the processor for decoding."""

_DRAWS = 20_000


class _Side:
    """The process of one revision."""

    def __init__(self, tree: Path, events: int) -> None:
        # By its path, as the other revision may not have this module.
        command = [sys.executable, __file__, "--serve", "--events", str(events)]
        environment = {**os.environ, "PYTHONPATH": str(tree)}
        self._process = subprocess.Popen(
            command, cwd=tree, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def answer(self) -> Any:
        """The next answer of the process. Raises RuntimeError if the process ended."""
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith("pairs "):
                return json.loads(line.removeprefix("pairs "))
        raise RuntimeError("a revision's process ended before its answer; its output is above")

    def round(self) -> Cost:
        """Let it tag once."""
        assert self._process.stdin is not None
        self._process.stdin.write("tag\n")
        self._process.stdin.flush()
        cost: Cost = self.answer()
        return cost

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


def serve(events: int, orders: TextIO, answers: TextIO) -> None:
    """Tag one round for each line of `orders`, with the code of the tree that PYTHONPATH names."""
    is_old = importlib.util.find_spec("benchmarks.stream") is None  # its benchmarks lay in one folder
    module = "benchmarks.stream_path" if is_old else "benchmarks.stream.stream_path"
    path: Any = importlib.import_module(module)  # of the tree, not of this file's checkout

    def answer(what: object) -> None:
        answers.write(f"pairs {json.dumps(what)}\n")
        answers.flush()

    with tempfile.TemporaryDirectory() as name, path.Services(Path(name) / "services") as services:
        folder = Path(name)
        engine, photo = path.FixedCost(path.build_engine(Path("training/bundles/demo"))), path.photo_bytes()
        keyspace = path.new_keyspace(services, folder)
        stream = path.build_stream(f"kafka://{services.bootstrap}", "bench")
        path.make_topics(stream, engine.manifest.epoch)
        bench = path.Bench(services, stream, path.build_store(keyspace.url), keyspace, engine, folder)
        bench.send(path.UPLOADED, path.listing_keys("warm", 2 * path.SETTINGS.max_in_flight_events), photo)
        bench.tag(path.SETTINGS)
        path.spare_collector()
        answer("ready")
        for number, _ in enumerate(orders):
            bench.send(path.UPLOADED, path.listing_keys(f"round-{number}", events), photo)
            cost = bench.tag(path.SETTINGS)
            answer([cost.clock_s, cost.cpu_s, cost.decode_s])


def compare(old: Path, new: Path, pairs: int, events: int) -> list[tuple[Cost, Cost]]:
    """The costs of both revisions by pair. The first round of each is not counted."""
    sides = [_Side(old, events), _Side(new, events)]
    try:
        for side in sides:
            side.answer()
        for side in sides:
            side.round()
        found = []
        for pair in range(pairs):
            order = (0, 1) if pair % 2 == 0 else (1, 0)
            cost = {which: sides[which].round() for which in order}
            found.append((cost[0], cost[1]))
            sys.stderr.write(f"pair {pair + 1} of {pairs}: processor time {cost[0][1] / cost[1][1]:.2f}\n")
        return found
    finally:
        for side in sides:
            side.close()


def lower_bound(ratios: Sequence[float]) -> float:
    """The one-sided 95 % lower bound of the median, by bootstrap."""
    rng = random.Random(1)
    medians = sorted(statistics.median(rng.choices(ratios, k=len(ratios))) for _ in range(_DRAWS))
    return medians[_DRAWS // 20]


def figures(pairs: Sequence[tuple[Cost, Cost]]) -> dict[str, dict[str, float]]:
    """Median, bound and all ratios of processor time (old ÷ new) and of events a second (new ÷ old)."""
    ratios = {
        "processor_time": [old[1] / new[1] for old, new in pairs],
        "processor_time_without_decoding": [(old[1] - old[2]) / (new[1] - new[2]) for old, new in pairs],
        "events_per_s": [old[0] / new[0] for old, new in pairs],
    }
    return {
        name: {"median": round(statistics.median(r), 3), "lower_95": round(lower_bound(r), 3), "pairs": len(r)}
        for name, r in ratios.items()
    }


def main() -> None:
    """Parse, compare, print one JSON object."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("trees", type=Path, nargs="*", metavar="FOLDER", help="the old checkout, then the new one")
    options.add_argument("--pairs", type=int, default=15, help="default 15")
    options.add_argument("--events", type=int, default=2100, help="events a round (default 2100)")
    options.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    arguments = options.parse_args()
    if arguments.serve:
        serve(arguments.events, sys.stdin, sys.stdout)
        return
    if len(arguments.trees) != 2:
        options.error("name two folders: a checkout of the old revision, then one of the new")
    old, new = (tree.resolve() for tree in arguments.trees)
    sys.stdout.write(json.dumps(figures(compare(old, new, arguments.pairs, arguments.events)), indent=1) + "\n")


if __name__ == "__main__":
    main()
