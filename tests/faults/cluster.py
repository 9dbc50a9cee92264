"""Workers as processes, to be killed and started again; `tagger-b` is a second tagger with a home of its own."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

import urllib3

from tests.faults.ladder import SLOWNESS

ROOT = Path(__file__).parents[2]
START_S = 60.0 * SLOWNESS
_LAST_WORDS = 300


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
        self._ready: set[int] = set()  # processes that were seen ready
        self._noted: set[int] = set()  # processes whose end is known
        self.ended: list[str] = []
        """Workers that ended by themselves after they had been ready, in words."""

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
        with self._lock, self._log_of(worker).open("ab") as log:
            self._processes[worker] = subprocess.Popen(command, cwd=ROOT, env=env, stdout=log, stderr=log)

    def _log_of(self, worker: str) -> Path:
        return self.home / f"{worker}.log"

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

    def look(self, *, revive: bool) -> list[str]:
        """Note which workers have ended by themselves since the last look; returns those that are not running.

        `revive`: start them again, as a supervisor would. One that ends before it was ever ready, as while a server is
        away, is none of `ended`: its supervisor would start it again.
        """
        with self._lock:
            fresh = [worker for worker, process in self._processes.items() if process.pid not in self._ready]
        for worker in fresh:
            self._answers(worker)
        with self._lock:
            down = [worker for worker, process in self._processes.items() if process.poll() is not None]
            for worker in down:
                self._note(worker)
                if revive:
                    self.start(worker)
        return down

    def _note(self, worker: str) -> None:
        process = self._processes[worker]
        if process.pid in self._ready - self._noted:
            last = self.tail(worker).strip().rpartition("\n")[2][-_LAST_WORDS:]
            self.ended.append(f"{worker} ended by itself ({process.returncode}): {last}")
        self._noted.add(process.pid)

    def url(self, worker: str, *, revive: bool = False, timeout_s: float = START_S) -> str:
        """Where a worker answers; waits until the process that runs now is ready. `revive`: one that ends by itself,
        as while a server is away, is started again. Raises AssertionError when it is not ready in time."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            if revive:
                self.look(revive=True)
            elif self._processes[worker].poll() is not None:
                raise AssertionError(f"{worker} ended by itself: {self.tail(worker)}")
            url = self._answers(worker)
            if url is not None:
                return url
            time.sleep(0.05)
        raise AssertionError(f"{worker} is not ready after {timeout_s} s: {self.tail(worker)}")

    def _answers(self, worker: str) -> str | None:
        """The address of a worker that is ready, else None."""
        path = self._home_of(worker) / "run" / f"{worker.partition('-')[0]}.json"
        with contextlib.suppress(OSError, ValueError, KeyError, urllib3.exceptions.HTTPError):
            said = json.loads(path.read_text())
            pid = self._processes[worker].pid
            url = f"http://{said['host']}:{said['port']}"
            if said["pid"] == pid and urllib3.request("GET", f"{url}/readyz", retries=False, timeout=5).status == 200:
                self._ready.add(pid)
                return url
        return None

    def tail(self, worker: str | None = None) -> str:
        """The end of what a worker has said, or all of them."""
        logs = [self._log_of(worker)] if worker else sorted(self.home.glob("*.log"))
        return "\n".join(log.read_text(errors="replace")[-3000:] for log in logs if log.exists())

    def stop(self) -> dict[str, int]:
        """SIGTERM to all; exit codes by worker."""
        for process in self._processes.values():
            process.terminate()
        codes = {}
        for worker, process in self._processes.items():
            try:
                codes[worker] = process.wait(timeout=60)
            except subprocess.TimeoutExpired:  # it must not outlive the town that it worked in
                process.kill()
                codes[worker] = process.wait()
        return codes


class Watch:
    """Looks at the workers several times a second; a context manager. Starts again what has ended by itself, as a
    supervisor would, until `hands_off`."""

    def __init__(self, cluster: Watched) -> None:
        self._cluster = cluster
        self._reviving = True
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def hands_off(self) -> None:
        """From now on nothing is started again."""
        self._reviving = False

    def _run(self) -> None:
        while not self._over.wait(0.3):
            self._cluster.look(revive=self._reviving)


class Watched(Protocol):
    """What `Watch` needs of the workers."""

    def look(self, *, revive: bool) -> list[str]:
        """Note which workers have ended by themselves; with `revive` start them again."""
