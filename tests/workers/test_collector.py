"""The collector leaves alone what is loaded and what is in flight."""

from __future__ import annotations

import subprocess
import sys


def test_it_looks_when_far_more_is_new_than_what_is_in_flight() -> None:
    code = "import gc, workers.collector as c; c.spare_collector(); print(gc.get_threshold()[0], gc.isenabled())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["200000", "True"]
