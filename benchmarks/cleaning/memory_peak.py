"""The peak memory of a process while something runs: its own pages apart from the pages of files that it maps.

    python -m benchmarks.cleaning.memory_peak PID      # prints the peaks when its input ends

The system can drop mapped pages whenever it needs room, because they lie in files. Own pages it cannot. A process of
its own looks, because a thread would have to wait while numpy works, and would miss what numpy needs for a moment.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
from pathlib import Path
from types import TracebackType

_EVERY_S = 0.01


class MemoryPeak:
    """Looks at the memory of this process a hundred times a second, between `with` and its end. Linux alone has these
    numbers.

    Attributes:
        peaks: in MiB, known after the end. `private` is the most own (anonymous) memory; `mapped` the most memory of
            mapped files: index, fingerprints, and the code of libraries; `both` the most of both at one time.
    """

    def __init__(self) -> None:
        self.peaks: dict[str, float] = {}

    def __enter__(self) -> MemoryPeak:
        command = [sys.executable, "-m", "benchmarks.cleaning.memory_peak", str(os.getpid())]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        if self._process.stdout is not None:
            self._process.stdout.readline()  # it has begun
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        said, _ = self._process.communicate()
        self.peaks = json.loads(said)

    def as_mb(self) -> dict[str, int]:
        """The three peaks by name, in whole MiB."""
        return {name: round(peak) for name, peak in self.peaks.items()}


def memory_mb(process: int | str = "self") -> tuple[float, float]:
    """The resident memory of a process: (own pages, pages of mapped files), in MiB.

    Raises:
        OSError: the system has no /proc, or there is no such process.
    """
    lines = (line.split() for line in Path(f"/proc/{process}/status").read_text().splitlines())
    kib = {line[0]: int(line[1]) for line in lines if line[0].startswith("Rss")}
    return kib["RssAnon:"] / 1024, (kib["RssFile:"] + kib["RssShmem:"]) / 1024


def main() -> None:
    """Look until the input ends, then print the peaks."""
    process = int(sys.argv[1])
    peaks = {"private": 0.0, "mapped": 0.0, "both": 0.0}
    ended = False
    print(flush=True)
    while not ended:  # once more after the end
        ended = bool(select.select([sys.stdin], [], [], _EVERY_S)[0])
        private, mapped = memory_mb(process)
        now = {"private": private, "mapped": mapped, "both": private + mapped}
        peaks = {name: max(peak, now[name]) for name, peak in peaks.items()}
    print(json.dumps(peaks))


if __name__ == "__main__":
    main()
