"""One supervised process a worker: started, watched, restarted when it crashes or hangs, drained together.

A worker killed by a signal, or one that ends on its own, is started again after a growing pause. One that says that
its configuration is wrong (exit code 2), or that fails five times before it was ever ready, is not: a restart
cannot heal it, so everything stops and the reason is shown.
"""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from logging.handlers import RotatingFileHandler
from typing import IO

from groknet.exits import CommandError, Exit
from groknet.home import Home
from groknet.process import SUPERVISED
from groknet.services import Http, Running, Worker, is_ready, read_running

_FIRST_PAUSE_S = 0.2
_LONGEST_PAUSE_S = 10.0  # a worker that cannot run costs a start every ten seconds, no more
_HEALTHY_S = 30.0  # up this long, the next pause is the first again
_TRIES_BEFORE_READY = 5
_LIVENESS_EVERY_S = 5.0
_LOG_BYTES = 10_000_000  # one older file is kept: 20 MB a worker at most
_KILL_MARGIN_S = 10.0  # beyond the workers' own budgets, which end them hard first


@dataclass(frozen=True, slots=True)
class Spec:
    """A worker to keep running: the arguments after `groknet`."""

    worker: Worker
    arguments: Sequence[str]
    beside: str = ""
    """The name of an instance that runs beside another one of its worker; else empty."""

    @property
    def name(self) -> str:
        """What it announces itself as, and its log is called."""
        return self.beside or self.worker


class Child:
    """One worker and its present process."""

    def __init__(self, spec: Spec, home: Home) -> None:
        self.spec = spec
        self.home = home
        self.ready = False
        self.leaving = False
        """Told to end, and not to be started again."""
        self.restarts = 0
        self.failures = 0
        """Ends with an exit code of its own choice, in a row, before it was ready."""
        self.last_lines: deque[str] = deque(maxlen=20)
        self.due = 0.0
        self.process: subprocess.Popen[bytes] | None = None
        self.started = 0.0
        self.checked = 0.0
        self._pause_s = _FIRST_PAUSE_S
        self._pump: threading.Thread | None = None
        self._log = RotatingFileHandler(
            home.logs / f"{spec.name}.log", maxBytes=_LOG_BYTES, backupCount=1, encoding="utf-8"
        )

    def start(self) -> None:
        """Start a process of the worker; its output goes to its log, its stdin ends when we do."""
        self.ready = False
        self.started = time.monotonic()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "groknet", *self.spec.arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**os.environ, SUPERVISED: "1"},
        )
        pump = threading.Thread(target=self._copy, args=(self.process.stdout,), daemon=True)
        pump.start()
        self._pump = pump

    def _copy(self, output: IO[bytes]) -> None:
        with output:
            for line in output:
                text = line.decode("utf-8", "replace").rstrip("\n")
                self.last_lines.append(text)
                self._log.emit(logging.LogRecord("", logging.INFO, "", 0, text, None, None))

    def running(self) -> Running | None:
        """What this very process has announced; None before it has."""
        announced = read_running(self.home, self.spec.name)
        return announced if self.process and announced and announced.pid == self.process.pid else None

    def ended(self) -> int | None:
        """The exit code once the process has ended (negative: the signal that ended it); its output is read to the
        end by then."""
        code = None if self.process is None else self.process.poll()
        if code is not None and self._pump is not None:
            self._pump.join(1.0)
        return code

    def plan_restart(self) -> float:
        """Drop the ended process, set the time of the next start, and return the pause in seconds."""
        now = time.monotonic()
        if now - self.started > _HEALTHY_S:
            self._pause_s = _FIRST_PAUSE_S
        pause, self._pause_s = self._pause_s, min(2 * self._pause_s, _LONGEST_PAUSE_S)
        self.close_process()
        self.restarts += 1
        self.due = now + pause
        return pause

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the process, if there is one."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(number)

    def close_process(self) -> None:
        """Release an ended process."""
        if self.process is not None:
            if self.process.stdin is not None:
                self.process.stdin.close()
            self.process.wait()
            self.process = None

    def close(self) -> None:
        """Release everything."""
        self.close_process()
        self._log.close()


class Supervisor:
    """Keeps workers running. `tick` is called several times a second by one thread."""

    def __init__(self, home: Home, specs: Sequence[Spec], say: Callable[[str], None]) -> None:
        self.children = [Child(spec, home) for spec in specs]
        self._home = home
        self._say = say

    def beside(self, specs: Sequence[Spec]) -> None:
        """Keep these, and no others, running beside the workers."""
        known = {child.spec.name for child in self.children}
        self.children += [Child(spec, self._home) for spec in specs if spec.name not in known]
        wanted = {spec.name for spec in specs}
        for child in self.children:
            child.leaving = bool(child.spec.beside) and child.spec.name not in wanted
            if child.leaving:
                child.signal(signal.SIGTERM)

    @property
    def ready(self) -> bool:
        """True while every worker is."""
        return all(child.ready for child in self.children if not child.spec.beside)

    def tick(self) -> None:
        """Start what is due, notice what has ended, become ready or hangs; raises CommandError to give up."""
        for child in self.children.copy():
            if child.leaving and (child.process is None or child.ended() is not None):
                child.close()
                self.children.remove(child)
            elif child.process is None:
                if time.monotonic() >= child.due:
                    child.start()
            elif (code := child.ended()) is not None:
                self._on_end(child, code)
            else:
                self._look(child)

    def _on_end(self, child: Child, code: int) -> None:
        name, last = child.spec.name, child.last_lines[-1] if child.last_lines else ""
        alone = not child.spec.beside  # what runs beside the workers must not take them with it
        if alone and code == Exit.USAGE:
            raise CommandError(f"{name}: {last}", Exit.USAGE)
        child.failures = 0 if child.ready or code < 0 else child.failures + 1
        if alone and child.failures >= _TRIES_BEFORE_READY:
            log = self._home.logs / f"{name}.log"
            raise CommandError(f"{name} failed {child.failures} times before it was ready: {last} (see {log})")
        how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        pause = child.plan_restart()
        self._say(f"{name} ended ({how}); starting it again in {pause:.1f} s")

    def _look(self, child: Child) -> None:
        now = time.monotonic()
        if now - child.checked < (_LIVENESS_EVERY_S if child.ready else 0.2):
            return
        child.checked = now
        running = child.running()
        if running is None:
            return
        if not child.ready:
            child.ready = is_ready(running)
            if child.ready:
                self._say(f"{child.spec.name} ready on {running.url} (process {running.pid})")
        elif _hangs(running):
            self._say(f"{child.spec.name} hangs; killing process {running.pid}")
            child.signal(signal.SIGKILL)

    def stop(self, budget_s: float, hurry: Callable[[], bool]) -> bool:
        """Drain all workers together; True when each ended in order. `hurry()` turning true kills what is left."""
        for child in self.children:
            child.signal(signal.SIGTERM)
        deadline = time.monotonic() + budget_s + _KILL_MARGIN_S
        orderly = True
        while any(child.process is not None and child.process.poll() is None for child in self.children):
            if hurry() or time.monotonic() > deadline:
                orderly = False
                for child in self.children:
                    child.signal(signal.SIGKILL)
            time.sleep(0.02)
        for child in self.children:
            # a worker that is told to stop before it listens to signals ends by the signal itself
            orderly &= child.ended() in (None, 0, -signal.SIGTERM)
            child.close()
        return orderly


def _hangs(running: Running) -> bool:
    """True when the worker itself says that only a restart helps; silence alone is no proof on a busy machine."""
    try:
        return Http(running.url, timeout_s=2.0).request("GET", "/healthz")[0] == 503
    except OSError:
        return False
