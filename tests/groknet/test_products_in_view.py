"""Photos with 0, 1, 5 and 200 products in view, through `groknet run all` with a detector. From outside."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import urllib3
from PIL import Image

from groknet.cli.exits import Exit
from groknet.home.paths import Home
from groknet.home.running import read_running
from tests.detectors import bright_detector, light
from tests.groknet.conftest import Call, Cluster

pytestmark = pytest.mark.slow

CELLS, SIDE = 16, 640  # 256 places for products, 40 pixels wide
LIMIT = 8
COUNTS = {"none": 0, "one": 1, "five": 5, "crowd": 200}


def photo(count: int) -> bytes:
    """A PNG of dark noise with so many bright cells, row by row. The first hundred are the brighter, the earlier they
    come."""
    pixels = np.random.default_rng(count).integers(0, 90, (SIDE, SIDE, 3), dtype=np.uint8)
    for number in range(count):
        light(pixels, number, 255 - min(number, 100), cells=CELLS)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def place_of(number: int) -> list[float]:
    """The box of a cell, without padding, in shares."""
    row, column = divmod(number, CELLS)
    return [column / CELLS, row / CELLS, (column + 1) / CELLS, (row + 1) / CELLS]


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory, bundle: Path) -> Iterator[Cluster]:
    """Running workers of a home whose settings alone say that products are found."""
    home = tmp_path_factory.mktemp("home")
    bright_detector(home / "finder", cells=CELLS)
    detect = f'[detect]\nmode = "all"\nbundle = "finder"\npadding = 0\nmost_boxes = {LIMIT}\n'
    (home / "groknet.toml").write_text(f'[engine]\nbundle = "{bundle}"\n{detect}')
    command = [sys.executable, "-m", "groknet", "run", "all", "--home", str(home), "--port", "0"]
    running = Cluster(home, subprocess.Popen(command, stderr=subprocess.PIPE, text=True))
    try:
        running.wait_for("all workers are ready")
        yield running
    finally:
        running.stop()


def search(home: Path, data: bytes, query: str) -> Any:
    running = read_running(Home(home), "search")
    assert running is not None
    answer = urllib3.request("POST", f"{running.url}/v1/search?{query}", body=data)
    assert answer.status == 200, answer.data
    return json.loads(answer.data)


def test_rows_have_the_boxes_of_the_products_up_to_the_limit_and_searches_find_them_exactly(
    groknet: Call, shop: Cluster, tmp_path: Path
) -> None:
    files = {name: tmp_path / f"{name}.png" for name in COUNTS}
    for name, count in COUNTS.items():
        files[name].write_bytes(photo(count))
    assert groknet("submit", "--home", shop.home, "--wait", *files.values()).code == Exit.OK
    stored = {one["listing_id"]: one for one in groknet("show", "--home", shop.home, "--json", *COUNTS).lines}
    for name, count in COUNTS.items():
        rows = stored[name]["images"]
        expected = [place_of(number) for number in range(min(count, LIMIT))] or [None]
        assert [row.get("box") for row in rows] == expected, name
        assert len({row["image_id"] for row in rows}) == 1
        every = search(shop.home, files[name].read_bytes(), "detect=all&k=4")
        assert [one["box"] for one in every["boxes"][:LIMIT]] == expected, name
        assert [one["hash"] for one in every["boxes"][:LIMIT]] == [row["hash"] for row in rows]
        assert every["boxes"][0]["neighbours"][0]["distance"] == 0
        if count:
            box = ",".join(map(str, expected[-1] or ()))
            assert search(shop.home, files[name].read_bytes(), f"box={box}")["hash"] == rows[-1]["hash"]
    assert len({json.dumps(one["images"][0]["predictions"]) for one in stored.values()}) > 1
