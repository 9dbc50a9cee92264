"""Runs the commands that the demo prints, as its reader would: in the same folder, by a shell, in their order."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

LOOK = "to look at it:"
WAIT_S = 300.0  # services start in seconds, and ten times slower on busy cores


def printed(output: str) -> list[str]:
    """The commands at the end of the demo's output."""
    _, found, text = output.partition(LOOK + "\n")
    assert found, output
    lines = re.findall(r"^  (\S.*)$", text, re.MULTILINE)
    return [re.sub(r"\s+#.*", "", line) for line in lines]


def run_printed(commands: list[str], folder: Path, while_up: Callable[[], None]) -> list[str]:
    """Run them all; the one that runs workers is told to end once `while_up` has looked at them. What each printed."""
    said = []
    environment = os.environ | {"GROKNET__SEARCH__PORT": "0", "NO_COLOR": "1"}
    for command in commands:
        if " run all " not in command:
            done = subprocess.run(
                command,
                shell=True,
                cwd=folder,
                env=environment,
                capture_output=True,
                text=True,
                timeout=WAIT_S,
                check=False,
            )
            assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
            said.append(done.stdout)
            continue
        workers = subprocess.Popen(
            f"exec {command}", shell=True, cwd=folder, env=environment, stderr=subprocess.PIPE, text=True
        )
        try:
            assert workers.stderr is not None
            assert any("all workers are ready" in line for line in workers.stderr), command
            while_up()
        finally:
            workers.send_signal(signal.SIGTERM)
            workers.communicate(timeout=WAIT_S)
        assert workers.returncode == 0
        said.append("")
    return said
