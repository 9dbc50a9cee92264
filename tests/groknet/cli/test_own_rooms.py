"""A project with a `workers/` or `schemas/` of its own: one sentence, or no trouble where Python's path allows it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import groknet
from groknet.cli.exits import Exit
from groknet.cli.own_rooms import ROOMS, other_rooms

pytestmark = pytest.mark.slow

ROOT = Path(groknet.__file__).parents[1]
SCRIPT = Path(sys.executable).with_name("groknet")


def run(project: Path, *command: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, cwd=project, env={**os.environ, **environ}, capture_output=True, text=True, check=False
    )


def hide(project: Path, room: str) -> Path:
    """A room of the project's own, which imports a package that nobody has."""
    folder = project / room
    folder.mkdir()
    (folder / "__init__.py").write_text("import celery_of_the_project")
    return folder


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_of_the_project_is_one_sentence(tmp_path: Path, room: str) -> None:
    folder = hide(tmp_path, room)
    for done in (
        run(tmp_path, sys.executable, "-m", "groknet", "--help"),
        run(ROOT, str(SCRIPT), "--help", PYTHONPATH=str(tmp_path)),
    ):
        assert done.returncode == Exit.USAGE
        assert done.stdout == ""
        assert len(done.stderr.splitlines()) == 1
        for said in (str(folder), str(ROOT / room), "another folder", "environment of its own"):
            assert said in done.stderr


def test_a_module_of_the_project_is_named_as_a_file(tmp_path: Path) -> None:
    (tmp_path / "workers.py").write_text("")
    done = run(tmp_path, sys.executable, "-m", "groknet", "--help")
    assert done.returncode == Exit.USAGE
    assert str(tmp_path / "workers.py") in done.stderr


def test_the_command_and_the_workers_that_it_starts_do_not_look_into_the_present_folder(tmp_path: Path) -> None:
    """The installed command has no present folder on its path. What it supervises must not have one either."""
    hide(tmp_path, "workers")
    assert run(tmp_path, str(SCRIPT), "config").returncode == Exit.OK
    code = "import subprocess as s; from groknet.run.supervisor import _COMMAND as c; s.run([*c, 'config'], check=True)"
    done = run(tmp_path, sys.executable, "-P", "-c", code)
    assert done.returncode == 0, done.stderr
    assert "[tagger]" in done.stdout


def test_a_folder_without_python_hides_nothing(tmp_path: Path) -> None:
    """Python prefers a package with an `__init__.py`, wherever it lies."""
    (tmp_path / "workers").mkdir()
    assert run(tmp_path, sys.executable, "-m", "groknet", "--help").returncode == Exit.OK


def test_our_own_rooms_are_no_problem() -> None:
    assert other_rooms() == ""
