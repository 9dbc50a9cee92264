"""Runs a door's inputs in a process and judges them: no crash, no hang, no leak, no honest input harmed."""

from __future__ import annotations

import json
import queue
import subprocess
import sys
import threading
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[2]
QUIET_S = 180.0  # without a step, on a busy machine: an input takes milliseconds


@dataclass
class Judged:
    """What became of one door's inputs: how many by verdict, and what was found against the door."""

    door: str
    verdicts: Counter[str] = field(default_factory=Counter)
    found: list[str] = field(default_factory=list)
    grown_mb: int = 0

    @property
    def inputs(self) -> int:
        """How many inputs came to an end."""
        return self.verdicts.total()


def judge(module: str, seed: int, count: int, quiet_s: float = QUIET_S) -> Judged:
    """Offer `count` inputs of the door `module` that follow from `seed`."""
    judged = Judged(module.rpartition(".")[2])
    command = [sys.executable, "-m", "tests.hostile.child", module, str(seed), str(count)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as child:
        lines: queue.Queue[str] = queue.Queue()
        errors: list[str] = []
        threads = [
            threading.Thread(target=_forward, args=(child, lines), daemon=True),
            threading.Thread(target=lambda: errors.append((child.stderr and child.stderr.read()) or ""), daemon=True),
        ]
        for thread in threads:
            thread.start()
        last = "its start"
        try:
            while line := lines.get(timeout=quiet_s):
                last = _heard(judged, json.loads(line), last)
        except queue.Empty:
            judged.found.append(f"{last}: hang: nothing for {quiet_s:g} s")
            child.kill()
        code = child.wait()
        for thread in threads:
            thread.join()
    if code and not judged.found:
        judged.found.append(f"{last}: crash: the process ended with {code}: {errors[0][-400:]}")
    if not judged.found and judged.inputs != count:
        judged.found.append(f"only {judged.inputs} of {count} inputs were offered")
    return judged


def _forward(child: subprocess.Popen[str], lines: queue.Queue[str]) -> None:
    assert child.stdout is not None
    for line in child.stdout:
        lines.put(line)
    lines.put("")


def _heard(judged: Judged, fact: dict[str, object], last: str) -> str:
    if "begin" in fact:
        return str(fact["begin"])
    judged.verdicts[str(fact["verdict"])] += 1
    judged.grown_mb = max(judged.grown_mb, int(str(fact["grown_mb"])))
    crash = [f"crash: {fact['why']}"] if fact["verdict"] == "crash" else []
    judged.found += [f"{last}: {text}" for text in (*crash, *fact["found"])]  # type: ignore[misc]
    return last
