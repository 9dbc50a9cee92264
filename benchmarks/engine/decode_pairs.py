"""The decoder of this tree against that of another one, in pairs: `python -m benchmarks.engine.decode_pairs --against
FOLDER`.

Each tree decodes ordinary JPEGs to the network's input and a thumbnail in a process of its own. The two take turns, and
processor time counts, so that other work on the machine touches both alike.
"""

from __future__ import annotations

import argparse
import math
import pickle
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks.engine.decode import SIZE, SMALL, photos

_HERE = Path(__file__).parents[2]
_CHILD = """
import pickle, sys, time
sys.path.insert(0, sys.argv[1])
import engines.pixels
assert engines.pixels.__file__.startswith(sys.argv[1]), engines.pixels.__file__
from engines.pixels import decode_photo
from schemas.manifest import Preprocess
data, input = pickle.load(open(sys.argv[2], "rb")), Preprocess(width=224, height=224)
for line in sys.stdin:
    began = time.process_time()
    for one in data:
        decode_photo(one, input, thumbnail_side=160)  # the default has grown, which is no cost of the checks
    print(1000 * (time.process_time() - began) / len(data), flush=True)
"""


class Tree:
    """A process that decodes with the code of one folder."""

    def __init__(self, folder: Path, data: Path) -> None:
        command = [sys.executable, "-P", "-c", _CHILD, str(folder.resolve()), str(data)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd="/")

    def milliseconds(self) -> float:
        """Decode all photos once. Returns the processor time of a photo."""
        stdin, stdout = self._process.stdin, self._process.stdout
        if stdin is None or stdout is None:
            raise RuntimeError("the process has no pipes")
        stdin.write("\n")
        stdin.flush()
        return float(stdout.readline())

    def close(self) -> None:
        """End the process."""
        self._process.communicate()


def median_with_bound(ratios: Sequence[float]) -> tuple[float, float]:
    """Return the median and its lower 95 % bound, by the binomial distribution of ranks (sign test, one-sided)."""
    ordered, count = sorted(ratios), len(ratios)
    below, rank = 0.0, 0
    while (below := below + math.comb(count, rank) / 2**count) <= 0.05:
        rank += 1
    return statistics.median(ordered), ordered[max(0, rank - 1)]


def measure(other: Path, pairs: int, count: int) -> tuple[list[float], float, float]:
    """Return the speed of this tree over the other's for each pair, and both trees' milliseconds a photo."""
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "photos"
        data.write_bytes(pickle.dumps([*photos(count, 2.0, SMALL), *photos(count, 4.0, SIZE)]))
        ours, theirs = Tree(_HERE, data), Tree(other, data)
        try:
            ours.milliseconds(), theirs.milliseconds()  # libraries are loaded
            found = []
            for pair in range(pairs):
                first, second = (ours, theirs) if pair % 2 else (theirs, ours)
                times = {first: first.milliseconds(), second: second.milliseconds()}
                found.append((times[ours], times[theirs]))
        finally:
            ours.close()
            theirs.close()
    ratios = [their_ms / our_ms for our_ms, their_ms in found]
    return ratios, statistics.median(ms for ms, _ in found), statistics.median(ms for _, ms in found)


def main() -> None:
    """Measure, and print one line."""
    options_of = argparse.ArgumentParser(description=__doc__)
    options_of.add_argument("--against", type=Path, required=True, help="the folder of another checkout")
    options_of.add_argument("--pairs", type=int, default=21)
    options_of.add_argument("--photos", type=int, default=6, help="photos of each of the two sizes")
    options = options_of.parse_args()
    ratios, ours, theirs = measure(options.against, options.pairs, options.photos)
    median, bound = median_with_bound(ratios)
    print(
        f"{options.pairs} pairs: speed here over there {median:.3f}, lower 95 % bound {bound:.3f} "
        f"({ours:.2f} ms here, {theirs:.2f} ms there, a photo of processor time)"
    )


if __name__ == "__main__":
    main()
