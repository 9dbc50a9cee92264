"""A supervisor: one process for each worker. It starts them, restarts those that crash or hang, and stops all together.

A worker that ends is started again after a growing pause. If a restart cannot help, the other workers continue without
a tagger or the products worker, but not without the indexer or the search service:

- Exit code 2 means that the configuration is wrong. A tagger or the products worker is given up, and the other workers
  continue. For the indexer and the search service, the supervisor stops all workers.
- Exit code 2 of a worker that was ready before, while another process has its name, is no fault: somebody started it by
  hand. It is tried again until the name is free.
- Exit code 3 means that a service does not answer. This is not a failure of the worker, and it is started again.
- After five failures before it was ready in this run, these two are still tried again. For the indexer and the search
  service, the supervisor stops all workers.
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

from groknet.cli.exits import CommandError, Exit
from groknet.cli.plain_text import shown
from groknet.home.paths import Home
from groknet.home.running import SERVICES, Http, Running, Worker, is_locked, read_running, readiness, write_gave_up
from groknet.home.taggers import keep_name, tagger_name
from groknet.run.process import SUPERVISED
from workers.watching import metrics

_SAFE_PATH = () if {"", os.getcwd()} & {*sys.path} else ("-P",)  # as in this process, this folder hides no package
_COMMAND = (sys.executable, *_SAFE_PATH, "-m", "groknet")
_DISPENSABLE = ("tagger", "products")  # searches are answered without them
_FIRST_PAUSE_S = 0.2
_LONGEST_PAUSE_S = 10.0  # a worker that cannot run is started at most every 10 s
_HEALTHY_S = 30.0  # after running this long, a worker's next pause is the shortest again
_TRIES_BEFORE_READY = 5
_LIVENESS_EVERY_S = 5.0
_LOG_BYTES = 10_000_000  # one older file is kept, so a worker has at most 20 MB of logs
_KILL_MARGIN_S = 10.0  # after the workers' own budgets, at the end of which they kill themselves


@dataclass(frozen=True, slots=True)
class Spec:
    """A worker to keep running, with its arguments after `groknet`."""

    worker: Worker
    arguments: Sequence[str]
    beside: str = ""
    """The name of a further instance of a worker; otherwise empty."""
    slot: int = 0
    """The number of a tagger in its home, from 0."""

    @property
    def name(self) -> str:
        """The name of its announcement and of its log."""
        return self.beside or (tagger_name(self.slot) if self.worker == "tagger" else self.worker)


class _Log(RotatingFileHandler):
    """A log that leaves lines out while the disk is full, instead of writing a stack for each."""

    def handleError(self, record: logging.LogRecord) -> None:
        pass


class Child:
    """One worker and its present process."""

    def __init__(self, spec: Spec, home: Home) -> None:
        self.spec = spec
        self.home = home
        self.ready = False
        self.ever_ready = False
        self.gave_up = ""
        """Why it is not started again. Empty while it is."""
        self.waits_for = ""
        """The service that it waited for when it was last asked."""
        self.leaving = False
        """True if it was told to end and must not be started again."""
        self.restarts = 0
        metrics.RESTARTS.labels(spec.name)  # shown as 0 before the first one
        self.failures = 0
        """How often in a row it ended with an exit code, not by a signal, before it was ready."""
        self.last_lines: deque[str] = deque(maxlen=20)
        self.due = 0.0
        self.process: subprocess.Popen[bytes] | None = None
        self.started = 0.0
        self.checked = 0.0
        self._pause_s = _FIRST_PAUSE_S
        self._pump: threading.Thread | None = None
        self._name = keep_name(home, spec.name) if spec.worker == "tagger" else None
        self._log = _Log(home.logs / f"{spec.name}.log", maxBytes=_LOG_BYTES, backupCount=1, encoding="utf-8")

    def start(self) -> None:
        """Start a process of the worker. Its output goes to its log, and its stdin closes when the supervisor ends."""
        self.ready = False
        self.waits_for = ""
        self.started = time.monotonic()
        self.process = subprocess.Popen(
            [*_COMMAND, *self.spec.arguments],
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
                text = shown(line.decode("utf-8", "replace").rstrip("\r\n"))
                self.last_lines.append(text)
                self._log.emit(logging.LogRecord("", logging.INFO, "", 0, text, None, None))

    def running(self) -> Running | None:
        """The announcement of the present process. None before it has announced itself."""
        announced = read_running(self.home, self.spec.name)
        return announced if self.process and announced and announced.pid == self.process.pid else None

    def ended(self) -> int | None:
        """The exit code once the process has ended and its output has been read. A negative code is the signal that
        ended it. None while it runs."""
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
        metrics.RESTARTS.labels(self.spec.name).inc()
        self.due = now + pause
        return pause

    def give_up(self, why: str) -> None:
        """Drop the ended process and do not start it again. Another process may take its name."""
        self.close_process()
        self.ready, self.gave_up = False, why
        self._free_name()

    def _free_name(self) -> None:
        if self._name is not None:
            self._name.release()
            self._name = None

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the process if it exists."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(number)

    def close_process(self) -> None:
        """Release the resources of an ended process."""
        if self.process is not None:
            if self.process.stdin is not None:
                self.process.stdin.close()
            self.process.wait()
            self.process = None

    def close(self) -> None:
        """Release everything."""
        self.close_process()
        self._free_name()
        self._log.close()


class Supervisor:
    """Keeps workers running. `tick` is called several times a second by one thread."""

    def __init__(self, home: Home, specs: Sequence[Spec], say: Callable[[str], None]) -> None:
        self.children = [Child(spec, home) for spec in specs]
        self._home = home
        self._say = say

    def beside(self, specs: Sequence[Spec]) -> None:
        """Keep exactly these further workers running."""
        known = {child.spec.name for child in self.children}
        self.children += [Child(spec, self._home) for spec in specs if spec.name not in known]
        wanted = {spec.name for spec in specs}
        for child in self.children:
            child.leaving = bool(child.spec.beside) and child.spec.name not in wanted
            if child.leaving:
                child.signal(signal.SIGTERM)

    @property
    def ready(self) -> bool:
        """True while every worker is ready."""
        return all(child.ready for child in self._workers())

    @property
    def settled(self) -> bool:
        """True while every worker is ready or was given up."""
        return all(child.ready or child.gave_up for child in self._workers())

    @property
    def gave_up(self) -> dict[str, str]:
        """The workers that are not started again, each with the reason."""
        return {child.spec.name: child.gave_up for child in self._workers() if child.gave_up}

    @property
    def late(self) -> list[str]:
        """The workers that should be ready and are not."""
        return [child.spec.name for child in self._workers() if not child.ready and not child.gave_up]

    def _workers(self) -> list[Child]:
        return [child for child in self.children if not child.spec.beside]

    def tick(self) -> None:
        """Start the workers that are due. Notice those that ended, became ready or hang. Raises CommandError to give
        up."""
        for child in self.children.copy():
            if child.leaving and (child.process is None or child.ended() is not None):
                child.close()
                self.children.remove(child)
            elif child.gave_up:
                continue
            elif child.process is None:
                if time.monotonic() >= child.due:
                    child.start()
            elif (code := child.ended()) is not None:
                self._on_end(child, code)
            else:
                self._look(child)

    def _on_end(self, child: Child, code: int) -> None:
        name, last = child.spec.name, child.last_lines[-1] if child.last_lines else ""
        alone = not child.spec.beside  # a further instance must not end the workers
        taken = child.ever_ready and is_locked(self._home, name)  # by a process that somebody started by hand
        if alone and code == Exit.USAGE and not taken:
            self._end_of_use(child, last)
            return
        if child.ready or code < 0 or taken:
            child.failures = 0
        elif code != Exit.NOT_RUNNING:
            child.failures += 1
        hopeless = child.failures >= _TRIES_BEFORE_READY and not child.ever_ready
        text = f"{name} failed {child.failures} times before it was ready: {last} (see {self._log_of(name)})"
        if hopeless and alone and child.spec.worker not in _DISPENSABLE:
            raise CommandError(text)
        pause = child.plan_restart()
        if child.failures < _TRIES_BEFORE_READY:
            self._say(f"{name} ended ({_how(code)}); starting it again in {pause:.1f} s")
        elif child.failures == _TRIES_BEFORE_READY:  # a line for each further try would say nothing new
            self._say(f"{text}; it is tried again every {_LONGEST_PAUSE_S:g} s")

    def _end_of_use(self, child: Child, last: str) -> None:
        """Handle a worker that no restart helps. The others continue only if searches do not need it."""
        name = child.spec.name
        reason = last.removeprefix("groknet: ") or f"see {self._log_of(name)}"
        if child.spec.worker not in _DISPENSABLE:
            raise CommandError(f"{name}: {reason}", Exit.USAGE)
        child.give_up(reason)
        self._note_who_gave_up()
        remedy = f"`groknet run {child.spec.worker} --home {self._home.root}` once that is solved"
        self._say(f"{name} ended and is not started again: {reason}; {remedy}")

    def _note_who_gave_up(self) -> None:
        """Record the workers that were given up, for `groknet doctor`."""
        write_gave_up(self._home, self.gave_up)

    def _log_of(self, name: str) -> str:
        return str(self._home.logs / f"{name}.log")

    def _look(self, child: Child) -> None:
        now = time.monotonic()
        if now - child.checked < (_LIVENESS_EVERY_S if child.ready else 0.2):
            return
        child.checked = now
        running = child.running()
        if running is None:
            return
        if not child.ready:
            self._look_whether_ready(child, running)
        elif _hangs(running):
            self._say(f"{child.spec.name} hangs; killing process {running.pid}")
            child.signal(signal.SIGKILL)

    def _look_whether_ready(self, child: Child, running: Running) -> None:
        says = readiness(running)
        child.ready = says is not None and (says.ready or says.standby)
        child.ever_ready |= child.ready
        if child.ready:
            state = "stands by" if says is not None and says.standby else "ready"
            self._say(f"{child.spec.name} {state} on {running.url} (process {running.pid})")
            return
        waits_for = "" if says is None else says.waiting_for
        service = next((one for one in SERVICES if waits_for.startswith(f"the {one}: ")), "")
        if service and service != child.waits_for:
            child.waits_for = service
            self._say(f"{child.spec.name} waits for {waits_for}")

    def stop(self, budget_s: float, hurry: Callable[[], bool]) -> bool:
        """Drain all workers together within `budget_s` seconds. Kill those that are left after that, or when `hurry()`
        becomes true. Returns True if each ended cleanly. Says which did not."""
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
            code = child.ended()
            # a worker that is told to stop before it handles signals is ended by the signal itself
            if code not in (None, 0, -signal.SIGTERM):
                orderly = False
                self._say_bad_end(child, code)
            child.close()
        write_gave_up(self._home, {})
        return orderly

    def _say_bad_end(self, child: Child, code: int) -> None:
        last = child.last_lines[-1] if child.last_lines else ""
        self._say(
            f"{child.spec.name} did not end in order ({_how(code)}): {last} (see {self._log_of(child.spec.name)})"
        )


def _how(code: int) -> str:
    return signal.Signals(-code).name if code < 0 else f"exit code {code}"


def _hangs(running: Running) -> bool:
    """True if the worker itself says that only a restart helps. Silence proves nothing on a busy machine."""
    try:
        return Http(running.url, timeout_s=2.0).request("GET", "/healthz")[0] == 503
    except OSError:
        return False
