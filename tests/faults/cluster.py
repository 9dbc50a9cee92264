"""Workers as processes, to be killed and started again; `tagger-b` is a second tagger with a home of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path

import urllib3

ROOT = Path(__file__).parents[2]
START_S = 60.0 * float(os.environ.get("GROKNET_FAULTS_SLOWNESS", "1"))


class Cluster:
    """Taggers, an indexer, a search; each is one process that this object starts again after a kill."""

    def __init__(
        self,
        home: Path,
        *,
        bundle: Path,
        tagger_script: Path | None = None,
        environment: dict[str, str] | None = None,
        environment_of: Mapping[str, dict[str, str]] | None = None,
    ) -> None:
        """`environment_of`: by worker, what only that one has."""
        self.home = home
        self._environment_of = environment_of or {}
        self._environment = {"GROKNET__TAGGER__COMMIT_INTERVAL_S": "0.2", "PYTHONPATH": str(ROOT)} | (environment or {})
        self._bundle = bundle
        self._tagger_script = tagger_script
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._lock = threading.RLock()  # one thread kills while another starts again what has ended
        self._log = (home / "cluster.log").open("ab")

    def start(self, worker: str) -> None:
        """Start one worker; returns at once."""
        kind = worker.partition("-")[0]
        module = ["-m", "groknet"]
        if kind == "tagger" and self._tagger_script is not None:
            module = [str(self._tagger_script)]
        home = self._home_of(worker)
        home.mkdir(exist_ok=True)
        command = [sys.executable, *module, "run", kind, "--home", str(home), "--bundle", str(self._bundle)]
        if kind == "search":
            command += ["--port", "0"]
        env = os.environ | self._environment | self._environment_of.get(worker, {})
        with self._lock:
            self._processes[worker] = subprocess.Popen(command, cwd=ROOT, env=env, stdout=self._log, stderr=self._log)

    def _home_of(self, worker: str) -> Path:
        return self.home / worker if "-" in worker else self.home

    def kill(self, worker: str) -> None:
        """Kill -9 and start again."""
        with self._lock:
            process = self._processes[worker]
            process.send_signal(signal.SIGKILL)
            process.wait()
            self.start(worker)

    def term(self, worker: str) -> None:
        """SIGTERM, which drains, and start again."""
        self.leave(worker)
        self.start(worker)

    def leave(self, worker: str) -> None:
        """SIGTERM, for good. One that ends by itself meanwhile, of a fault that was made on purpose, may say so."""
        with self._lock:
            process = self._processes.pop(worker)
        process.terminate()
        process.wait(timeout=60)

    def revive(self) -> list[str]:
        """Start again, as a supervisor would, what ended by itself; returns the names."""
        with self._lock:
            ended = [worker for worker, process in self._processes.items() if process.poll() is not None]
            for worker in ended:
                self.start(worker)
        return ended

    def url(self, worker: str, *, revive: bool = False) -> str:
        """Where a worker answers; waits until the process that runs now is ready. `revive`: one that ends by itself,
        as while a server is away, is started again."""
        deadline = time.monotonic() + START_S
        path = self._home_of(worker) / "run" / f"{worker.partition('-')[0]}.json"
        while time.monotonic() < deadline:
            if revive:
                self.revive()
            elif self._processes[worker].poll() is not None:
                raise AssertionError(f"{worker} ended by itself: {self.tail()}")
            try:
                said = json.loads(path.read_text())
                if said["pid"] == self._processes[worker].pid:
                    url = f"http://{said['host']}:{said['port']}"
                    if urllib3.request("GET", f"{url}/readyz", retries=False, timeout=5).status == 200:
                        return url
            except (OSError, ValueError, urllib3.exceptions.HTTPError):
                pass
            time.sleep(0.05)
        raise AssertionError(f"{worker} is not ready after {START_S} s: {self.tail()}")

    def tail(self) -> str:
        """The end of what the workers said."""
        return (self.home / "cluster.log").read_text(errors="replace")[-3000:]

    def stop(self) -> dict[str, int]:
        """SIGTERM to all; exit codes by worker."""
        for process in self._processes.values():
            process.terminate()
        codes = {worker: process.wait(timeout=60) for worker, process in self._processes.items()}
        self._log.close()
        return codes
