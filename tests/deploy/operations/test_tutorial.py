"""The tutorial of docs/operations: its commands are run as they are written, and say what the page shows.

Times differ from run to run, so a number with a point is compared as `#`. With GROKNET_WRITE_TUTORIAL=1 the page gets
the output of this run instead.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from PIL import Image

from tests.deploy.operations.prometheus import until
from training.studio import DEMO_IDENTITIES, make_product, render

pytestmark = [pytest.mark.prometheus, pytest.mark.slow, pytest.mark.timeout(900)]

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "docs" / "operations" / "watch-three-workers.md"
STEP = re.compile(r"^```sh\n(?P<command>.*?)\n```(?:\n\n```text\n(?P<said>.*?)\n```)?", re.MULTILINE | re.DOTALL)
PATIENCE_S = 300.0
_VARIES = re.compile(r"\d+\.\d+")
WAITS = {"groknet run all": "all workers are ready", "prometheus --config": "Server is ready"}
"""A command that goes on in the background, and the line after which it is up."""


def plain(text: str) -> str:
    """What stays the same from run to run."""
    return _VARIES.sub("#", text)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A reader's folder with the repository and two photos."""
    for number, name in enumerate(("mug", "chair")):
        file = tmp_path / "photos" / f"{name}.jpg"
        file.parent.mkdir(exist_ok=True)
        picture = render(make_product(DEMO_IDENTITIES[3 * number]), 0, size=(400, 300)).pixels
        Image.fromarray(picture).save(file, quality=85)
    (tmp_path / "deploy").symlink_to(ROOT / "deploy")
    tools = tmp_path / "bin"
    tools.mkdir()
    (tools / "groknet").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m groknet "$@"\n')
    (tools / "groknet").chmod(0o755)
    return tmp_path


def test_every_command_says_what_the_page_shows(place: Path) -> None:
    environment = os.environ | {"PATH": f"{place / 'bin'}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
    environment |= {"COLUMNS": "120", "HOME": str(place)}
    text = PAGE.read_text("utf-8")
    background: list[subprocess.Popen[bytes]] = []
    shown: list[str] = []
    try:
        for step in STEP.finditer(text):
            command = step["command"]
            waits = next((line for begin, line in WAITS.items() if command.startswith(begin)), None)
            if waits is not None:
                log = place / f"{len(background)}.out"
                line = f"exec {command.rpartition('&')[0].partition(' >')[0]}"
                with log.open("wb") as out:
                    background.append(
                        subprocess.Popen(line, shell=True, cwd=place, env=environment, stdout=out, stderr=out)
                    )
                until(lambda log=log, waits=waits: waits in log.read_text(), f"{command}: {waits}", PATIENCE_S)
                shown.append("")
                continue
            said = _run(command, place, environment)
            deadline = time.monotonic() + 60
            while step["said"] and plain(said) != plain(step["said"]) and time.monotonic() < deadline:
                time.sleep(2)  # Prometheus scrapes every few seconds
                said = _run(command, place, environment)
            shown.append(said)
    finally:
        for process in reversed(background):
            process.send_signal(signal.SIGTERM)
            process.wait(90)
    assert len(shown) > 5
    if os.environ.get("GROKNET_WRITE_TUTORIAL"):
        outputs = iter(shown)
        PAGE.write_text(STEP.sub(lambda step: _written(step["command"], next(outputs)), text), "utf-8")
        return
    for step, said in zip(STEP.finditer(text), shown, strict=True):
        assert plain(said) == plain(step["said"] or ""), step["command"]


def _written(command: str, said: str) -> str:
    block = f"```sh\n{command}\n```"
    return f"{block}\n\n```text\n{said}\n```" if said else block


def _run(command: str, place: Path, environment: dict[str, str]) -> str:
    done = subprocess.run(
        command, shell=True, cwd=place, env=environment, capture_output=True, text=True, timeout=PATIENCE_S, check=False
    )
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout.strip().replace(str(place), "~")


def test_the_tools_of_the_tutorial_are_here() -> None:
    assert shutil.which("promtool")
    assert shutil.which("curl")
