"""The first tutorial's commands, run as they are written: workers on two listings of a folder, and what they answer."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from training.studio import DEMO_IDENTITIES, make_product, render

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
TUTORIAL = ROOT / "docs" / "tutorials" / "your-own-photos.md"
NOT_HERE = ("make demo", ". .venv/bin/activate")  # the demo has a test of its own; this process is in the environment
STARTS_WORKERS = "groknet run all"
NEEDS_A_HOST = "events.ndjson"  # its photo's address is an example; `test_documents` decodes the event


def commands() -> list[str]:
    """The lines of the tutorial's shell blocks, without those that are tested elsewhere."""
    blocks = re.findall(r"^```sh\n(.*?)^```", TUTORIAL.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    lines = [line.split("  #")[0].rstrip(" &") for block in blocks for line in block.splitlines()]
    return [line for line in lines if line not in NOT_HERE and NEEDS_A_HOST not in line]


def photo(path: Path, identity: int, view: int) -> None:
    """A JPEG of a studio product."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(render(make_product(identity), view, size=(400, 300)).pixels).save(path, quality=85)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    """A reader's folder with photos, where the tutorial's workers run until the test ends."""
    photo(tmp_path / "photos" / "kitchen" / "mug.jpg", DEMO_IDENTITIES[0], 0)
    photo(tmp_path / "photos" / "kitchen" / "chair.jpg", DEMO_IDENTITIES[3], 0)
    photo(tmp_path / "snapshot.jpg", DEMO_IDENTITIES[0], 1)
    (line,) = [line for line in commands() if line.startswith(STARTS_WORKERS)]
    workers = subprocess.Popen(
        words(line, tmp_path), cwd=tmp_path, env=environment(), stderr=subprocess.PIPE, text=True
    )
    assert workers.stderr is not None
    assert any("all workers are ready" in line for line in workers.stderr)  # what the reader waits for
    yield tmp_path
    workers.send_signal(signal.SIGTERM)
    assert workers.communicate(timeout=60)[1] is not None
    assert workers.returncode == 0


def words(line: str, place: Path) -> list[str]:
    """The command of a line, run by this interpreter; `~` is the reader's folder."""
    program, *arguments = shlex.split(line)
    assert program == "groknet", line
    return [sys.executable, "-m", "groknet", *(word.replace("~", str(place)) for word in arguments)]


def environment() -> dict[str, str]:
    """The search page takes any free port."""
    return os.environ | {"GROKNET__SEARCH__PORT": "0", "PYTHONPATH": str(ROOT)}


def test_your_own_photos(place: Path) -> None:
    said = {}
    for line in commands():
        if line.startswith(STARTS_WORKERS):
            continue
        done = subprocess.run(
            words(line, place), cwd=place, env=environment(), capture_output=True, text=True, check=False, timeout=120
        )
        assert done.returncode == 0, f"{line}: {done.stdout}{done.stderr}"
        said[line.split()[1]] = done.stdout
    assert list(said) == ["submit", "show", "search", "remove", "dlq", "doctor"]
    assert "2 searchable" in said["submit"]
    assert "kitchen/mug" in said["show"]
    first = next(line for line in said["search"].splitlines() if "kitchen/" in line)
    assert "kitchen/mug" in first  # another side of the same product
    assert "removed" in said["remove"]
    assert "kitchen" not in said["dlq"]
