"""The worst photos that are taken, eight at once, through real processes: memory stays within plateau + decode budget.

`python -m pytest tests/groknet/test_worst_photos.py -s` prints the figures.
"""

from __future__ import annotations

import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import urllib3

from groknet.cli.exits import Exit
from groknet.home.config import demo_bundle
from tests.engines.pixels.worst_photos import WORST
from tests.groknet.conftest import START_S, Call, Cluster, start_all, write_photo

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="reads /proc"),
    pytest.mark.timeout(900),
]

BUDGET_BYTES = 256 << 20  # `decode_memory_mb` of tagger and search
SLACK_BYTES = 40 << 20  # what the allocator keeps for the threads, and the files themselves on their way
NAMES = (
    *("PNG, 56 megapixels", "PNG with alpha, 16 bits", "PNG, palette and transparency", "PNG, 16-bit grey"),
    *("WebP, lossless", "JPEG, progressive", "JPEG, progressive, full chroma", "PNG, narrow with alpha"),
)


def memory(pid: int, name: str) -> int:
    """A line of /proc/PID/status, in bytes."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:")) * 1024


def found(cluster: Cluster, photo: bytes) -> int:
    """Search with a photo until the service has a place for it. Returns the status."""
    said = json.loads((cluster.home / "run" / "search.json").read_text())
    url, headers = f"http://{said['host']}:{said['port']}/v1/search?k=1", {"content-type": "application/octet-stream"}
    deadline = time.monotonic() + 3 * START_S
    while time.monotonic() < deadline:
        answer = urllib3.request("POST", url, body=photo, headers=headers, retries=False, timeout=START_S)
        if answer.status not in (429, 503):
            return answer.status
        time.sleep(0.2)
    return 0


def test_eight_of_the_worst_photos_at_once_through_tagger_and_search(groknet: Call, tmp_path: Path) -> None:
    """With the demo bundle: the worst photos are black, for which a network of random weights has no answer."""
    worst = tmp_path / "worst"
    worst.mkdir()
    for number, name in enumerate(NAMES):
        (worst / f"{number}.{name[:4].strip(',').lower()}").write_bytes(WORST[name]())
    files = sorted(worst.iterdir())
    sizes = sum(file.stat().st_size for file in files)
    running = start_all(tmp_path / "home", demo_bundle())
    try:
        running.wait_for("all workers are ready")
        usual = [write_photo(tmp_path / f"usual-{i}.jpg", i, side=800) for i in range(16)]
        assert groknet("submit", "--home", running.home, "--wait", *usual).code == Exit.OK
        with ThreadPoolExecutor(8) as pool:
            assert set(pool.map(lambda file: found(running, file.read_bytes()), usual)) == {200}
        pids = {worker: running.pid(worker) for worker in ("tagger", "search")}
        plateau = {worker: memory(pid, "VmRSS") for worker, pid in pids.items()}
        for pid in pids.values():
            Path(f"/proc/{pid}/clear_refs").write_text("5")  # the high-water mark begins here
        with ThreadPoolExecutor(8) as pool:
            searches = pool.map(lambda file: found(running, file.read_bytes()), files)
            answer = groknet("submit", "--home", running.home, "--wait", "--json", worst)
            assert set(searches) == {200}
        assert {line["status"] for line in answer.lines} == {"searchable"}
        grown = {worker: memory(pid, "VmHWM") - plateau[worker] for worker, pid in pids.items()}
        for worker, size in grown.items():
            print(f"{worker}: plateau {plateau[worker] >> 20} MiB, grown by {size >> 20} MiB; files {sizes >> 20} MiB")
        assert {worker: size for worker, size in grown.items() if size > BUDGET_BYTES + SLACK_BYTES} == {}
        assert {worker: running.pid(worker) for worker in pids} == pids
    finally:
        running.stop()
