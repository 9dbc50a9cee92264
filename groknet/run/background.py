"""A supervisor in a thread, for a command that does other work at the same time."""

from __future__ import annotations

import threading
import time

from groknet.cli.exits import CommandError, Exit
from groknet.run.supervisor import Supervisor

_TICK_S = 0.05


class Background:
    """Ticks a supervisor until `stop`. `check` raises the error if the supervisor gave up, even if on a single
    worker."""

    def __init__(self, supervisor: Supervisor) -> None:
        self.supervisor = supervisor
        self._error: BaseException | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="supervisor", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            while not self._stop.wait(_TICK_S):
                self.supervisor.tick()
        except BaseException as error:
            self._error = error

    def check(self) -> None:
        """Raise the error if the supervisor gave up. A command needs all workers, so a single worker that was given up
        raises CommandError."""
        if self._error is not None:
            raise self._error
        for name, why in self.supervisor.gave_up.items():
            raise CommandError(f"{name}: {why}", Exit.USAGE)

    def wait_until_ready(self, timeout_s: float) -> None:
        """Return when every worker is ready. Raises CommandError if that takes longer than `timeout_s`."""
        deadline = time.monotonic() + timeout_s
        while not self.supervisor.ready:
            self.check()
            if time.monotonic() > deadline:
                late = ", ".join(self.supervisor.late)
                raise CommandError(f"{late}: not ready within {timeout_s:.0f} s; see the logs")
            time.sleep(_TICK_S)

    def stop(self, budget_s: float) -> bool:
        """Drain the workers within `budget_s` seconds. Returns True if each ended cleanly."""
        self._stop.set()
        self._thread.join()
        return self.supervisor.stop(budget_s, lambda: False)
