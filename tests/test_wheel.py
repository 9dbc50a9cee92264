"""The wheel: it has every file of the rooms, and what it installs works outside the checkout."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROOMS = ("schemas", "engines", "workers", "groknet", "training", "deploy", "benchmarks")

pytestmark = pytest.mark.slow


def tracked(*folders: str) -> set[str]:
    done = subprocess.run(["git", "ls-files", *folders], cwd=ROOT, capture_output=True, text=True, check=True)
    return {name for name in done.stdout.split("\n") if name and (ROOT / name).is_file()}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy, so that no build folder is left in the checkout."""
    copy, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in tracked(*ROOMS, "pyproject.toml", "README.md", "LICENSE"):
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, copy / name)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "-w", str(out)]
    subprocess.run([*command, str(copy)], check=True)
    (made,) = out.glob("*.whl")
    return made


def test_the_wheel_has_every_file_of_the_rooms(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as packed:
        missing = tracked(*ROOMS) - set(packed.namelist())
    assert {name for name in missing if not name.endswith(".md")} == set()


def test_what_it_installs_works_outside_the_checkout(wheel: Path, tmp_path: Path) -> None:
    """From a folder that has rooms of its own, with the packages of this environment and groknet's from the wheel."""
    site, project = tmp_path / "site", tmp_path / "project"
    with zipfile.ZipFile(wheel) as packed:
        packed.extractall(site)
    (project / "workers").mkdir(parents=True)
    (project / "workers" / "__init__.py").write_text("")
    environ = {**os.environ, "PYTHONPATH": str(site)}

    def groknet(*arguments: str) -> str:
        command = [sys.executable, "-P", "-m", "groknet", *arguments]
        done = subprocess.run(command, cwd=project, env=environ, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    assert "groknet demo" in groknet("--help")
    bundle = json.loads(groknet("config", "--json"))["engine"]["bundle"]
    assert Path(bundle) == site / "training" / "bundles" / "demo"
    checks = {line["check"]: line for line in map(json.loads, groknet("doctor", "--json").splitlines())}
    assert checks["bundle"]["state"] == "ok"
