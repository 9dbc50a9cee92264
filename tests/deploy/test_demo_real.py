"""`make demo-real` on real Kafka and Cassandra, and then the commands that it prints."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from deploy.demo_real import HOME
from tests.engines.tiny_bundle import write_tiny_bundle
from tests.groknet.printed_commands import WAIT_S, printed, run_printed
from training.studio import DEMO_IDENTITIES

pytestmark = [pytest.mark.services, pytest.mark.slow, pytest.mark.timeout(1200)]

ROOT = Path(__file__).parents[2]


def test_the_commands_that_the_demo_prints_work_after_it_has_stopped_the_servers(tmp_path: Path) -> None:
    write_tiny_bundle(tmp_path / "bundle")
    command = [sys.executable, "-m", "deploy.demo_real", "--listings", "2", "--bundle", "bundle"]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "NO_COLOR": "1"}
    ended = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=2 * WAIT_S, check=False
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    commands = printed(ended.stdout)
    assert [command.split(" --home")[0].split(maxsplit=1)[1] for command in commands] == [
        "services up",
        "show",
        "run all",
        "services down",
    ]
    looked: list[bool] = []
    up, shown, _, _ = run_printed(commands, tmp_path, lambda: looked.append((tmp_path / HOME).exists()))
    assert "kafka-1" in up
    assert f"demo/{DEMO_IDENTITIES[0]}" in shown
    assert looked == [True]
