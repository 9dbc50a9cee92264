"""The peak memory of this process while something runs: its own pages apart from the pages of files that it maps.

The system can drop mapped pages whenever it needs room, because they lie in files. Own pages it cannot.
"""

from __future__ import annotations

import threading
from pathlib import Path
from types import TracebackType

_ROLLUP = Path("/proc/self/smaps_rollup")
_EVERY_S = 0.1


class MemoryPeak:
    """Looks at the memory ten times a second, in a thread, between `with` and its end. Linux alone has these numbers.

    Attributes:
        private_mb: the most own (anonymous) memory so far, in MiB.
        mapped_mb: the most memory of mapped files so far, in MiB: index, fingerprints, and the code of libraries.
        both_mb: the most of both at one time, in MiB.
    """

    def __init__(self) -> None:
        self.private_mb = self.mapped_mb = self.both_mb = 0.0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> MemoryPeak:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()

    def as_mb(self) -> dict[str, int]:
        """The three peaks by name, in whole MiB."""
        peaks = {"private": self.private_mb, "mapped": self.mapped_mb, "both": self.both_mb}
        return {name: round(peak) for name, peak in peaks.items()}

    def _look(self) -> None:
        ended = False
        while not ended:  # once more after the end
            ended = self._ended.wait(_EVERY_S)
            private, mapped = memory_mb()
            self.private_mb, self.mapped_mb = max(self.private_mb, private), max(self.mapped_mb, mapped)
            self.both_mb = max(self.both_mb, private + mapped)


def memory_mb() -> tuple[float, float]:
    """The resident memory of this process: (own pages, pages of mapped files), in MiB.

    Raises:
        OSError: the system does not have /proc/self/smaps_rollup.
    """
    lines = (line.split() for line in _ROLLUP.read_text().splitlines()[1:])
    kib = {line[0].rstrip(":"): int(line[1]) for line in lines}
    return kib["Anonymous"] / 1024, (kib["Rss"] - kib["Anonymous"]) / 1024
