"""The folder of a run belongs to one training at a time."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from schemas.errors import ConfigError
from tests.training.detection.tiny import tiny_recipe as tiny_detector
from training.detection.loop.train import train_detector
from training.loop.train import train
from training.recipe import load_recipe
from training.run_folder import only_run

_HOLDS = """
import sys
from pathlib import Path
from training.run_folder import only_run
with only_run(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""
SMOKE = Path(__file__).parents[2] / "training" / "recipes" / "smoke.toml"


@pytest.fixture
def other(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that trains in `tmp_path / "run"`, as far as the lock goes."""
    command = [sys.executable, "-c", _HOLDS, str(tmp_path / "run")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


@pytest.mark.parametrize(
    "begin",
    [
        lambda out: train(load_recipe(SMOKE), out, out),
        lambda out: train_detector(tiny_detector(), out, out),
    ],
    ids=["network", "detector"],
)
def test_a_second_training_is_refused_and_names_the_first(
    begin: Callable[[Path], Path], other: subprocess.Popen[str], tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=f"process {other.pid} trains in .*run already"):
        begin(tmp_path / "run")
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["train.lock"]  # it has not begun


def test_a_killed_training_leaves_the_folder_free(other: subprocess.Popen[str], tmp_path: Path) -> None:
    other.kill()
    other.wait()
    with only_run(tmp_path / "run"):
        pass
    with only_run(tmp_path / "run"), only_run(tmp_path / "elsewhere"):
        pass


def test_the_processes_of_one_run_share_the_folder(
    other: subprocess.Popen[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RANK", "1")
    with only_run(tmp_path / "run"):
        pass
    assert other.poll() is None
