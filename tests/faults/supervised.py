"""One home whose workers `groknet run all` starts, watches and ends; the harness starts none of them again."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import urllib3

from tests.faults.ladder import SLOWNESS

ROOT = Path(__file__).parents[2]
START_S = 90.0 * SLOWNESS
_NEVER_END = ("search", "indexer")


class Supervised:
    """`groknet run all`. Search and indexer must run on whatever becomes of the tagger, and so must the products worker
    if `environment` enables it."""

    def __init__(self, home: Path, *, bundle: Path, environment: dict[str, str], products: bool = False) -> None:
        self.home = home
        self._never_end = (*_NEVER_END, "products") if products else _NEVER_END
        self.ended: list[str] = []
        """The supervisor, and workers that must not end, in words."""
        self._pids: dict[str, int] = {}
        self._log = home / "run-all.log"
        command = [sys.executable, "-m", "groknet", "run", "all", "--home", str(home), "--bundle", str(bundle)]
        # The retry delays are the real ones here, 30 s and 600 s: nothing may be retried at all.
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [*command, "--port", "0"], cwd=ROOT, env=os.environ | environment, stdout=log, stderr=log
            )

    def wait_ready(self) -> None:
        """Until every worker is; raises AssertionError when they are not in time."""
        for worker in ("tagger", *self._never_end):
            self.url(worker, timeout_s=START_S)
        self._pids = {worker: self._said(worker)["pid"] for worker in self._never_end}

    def kill(self, worker: str) -> None:
        """Kill -9; the supervisor starts it again."""
        self._pids.pop(worker, None)
        os.kill(self._said(worker)["pid"], signal.SIGKILL)

    def look(self, *, revive: bool) -> list[str]:
        """Note what has ended and must not; nothing is ever started again. Returns what is noted now."""
        del revive
        found = []
        if self._process.poll() is not None:
            found.append(f"run all ended by itself ({self._process.returncode}): {self.tail()[-300:]}")
        for worker, pid in self._pids.items():
            with contextlib.suppress(OSError, ValueError):
                if self._said(worker)["pid"] != pid:
                    found.append(f"{worker} was started again")
        self.ended += [text for text in found if text not in self.ended]
        return found

    def url(self, worker: str, *, revive: bool = False, timeout_s: float) -> str:
        """Where a worker answers, once it is ready; raises AssertionError when it is not in time."""
        del revive
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline and self._process.poll() is None:
            with contextlib.suppress(OSError, ValueError, KeyError, urllib3.exceptions.HTTPError):
                said = self._said(worker)
                url = f"http://{said['host']}:{said['port']}"
                if urllib3.request("GET", f"{url}/readyz", retries=False, timeout=5).status == 200:
                    return url
            time.sleep(0.1)
        raise AssertionError(f"{worker} is not ready after {timeout_s} s: {self.tail()}")

    def tail(self) -> str:
        """The end of what the supervisor has said."""
        return self._log.read_text(errors="replace")[-3000:]

    def stop(self) -> None:
        """SIGTERM, and its end."""
        self._process.terminate()
        try:
            self._process.wait(timeout=60)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _said(self, worker: str) -> dict[str, int]:
        said: dict[str, int] = json.loads((self.home / "run" / f"{worker}.json").read_text())
        return said
