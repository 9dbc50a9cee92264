"""`groknet demo` as a process of its own, on a tiny network."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from groknet.home.paths import Home
from groknet.home.running import is_locked
from tests.groknet.conftest import START_S, WORKERS, write_photo
from training.studio import DEMO_IDENTITIES

pytestmark = pytest.mark.slow


def test_the_demo_streams_studio_listings_and_ones_own_photos_and_leaves_nothing_running(
    tmp_path: Path, bundle: Path
) -> None:
    for seed, name in enumerate(("mug", "deep/lamp")):
        write_photo(tmp_path / f"pictures/{name}.jpg", seed)
    command = [sys.executable, "-m", "groknet", "demo", "--home", str(tmp_path / "home"), "--bundle", str(bundle)]
    options = ["--listings", "3", "--photos", "~/pictures"]
    environment = {**os.environ, "HOME": str(tmp_path), "NO_COLOR": "1"}
    ended = subprocess.run(
        [*command, *options], env=environment, capture_output=True, text=True, timeout=2 * START_S, check=False
    )
    assert ended.returncode == 0, ended.stderr
    told = re.findall(r"^ *(\d+)/5 (\S+) .*stored [\d.]+ s, searchable [\d.]+ s$", ended.stdout, re.MULTILINE)
    assert [number for number, _ in told] == ["1", "2", "3", "4", "5"]
    assert {name for _, name in told} == {*(f"demo/{i}" for i in DEMO_IDENTITIES[:3]), "mug", "deep/lamp"}
    assert "5 of 5 listings searchable" in ended.stdout
    assert re.search(r"search by photo +\d of 3 ", ended.stdout)
    assert not any(is_locked(Home(tmp_path / "home"), name) for name in WORKERS)
