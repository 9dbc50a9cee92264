"""`groknet demo` as a process of its own, on a tiny network."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import urllib3

from groknet.home.paths import Home
from groknet.home.running import is_locked, read_running
from groknet.submitting.demo_listings import photo_of
from tests.groknet.conftest import START_S, WORKERS, write_photo
from tests.groknet.printed_commands import printed, run_printed
from training.studio import DEMO_IDENTITIES, make_product

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[4]


def test_the_demo_streams_studio_listings_and_ones_own_photos_and_leaves_nothing_running(
    tmp_path: Path, bundle: Path
) -> None:
    for seed, name in enumerate(("mug", "deep/lamp")):
        write_photo(tmp_path / f"pictures/{name}.jpg", seed)
    place = tmp_path / "home"
    command = [sys.executable, "-m", "groknet", "demo", "--home", str(place), "--bundle", str(bundle)]
    options = ["--listings", "3", "--photos", "~/pictures"]
    environment = {**os.environ, "HOME": str(tmp_path), "NO_COLOR": "1"}
    ended = subprocess.run(
        [*command, *options],
        cwd=tmp_path,
        env=environment | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=2 * START_S,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    told = re.findall(r"^ *(\d+)/5 (\S+) .*stored [\d.]+ s, searchable [\d.]+ s$", ended.stdout, re.MULTILINE)
    assert [number for number, _ in told] == ["1", "2", "3", "4", "5"]
    assert {name for _, name in told} == {*(f"demo/{i}" for i in DEMO_IDENTITIES[:3]), "mug", "deep/lamp"}
    assert "5 of 5 listings searchable" in ended.stdout
    assert re.search(r"search by photo +\d of 3 ", ended.stdout)
    assert not any(is_locked(Home(tmp_path / "home"), name) for name in WORKERS)

    def look() -> None:
        """What a newcomer sees on the page: the vote, its reasons, and a category to filter by."""
        running = read_running(Home(place), "search")
        assert running is not None
        photo = photo_of(make_product(DEMO_IDENTITIES[0]), view=0)
        answer = urllib3.request("POST", f"{running.url}/v1/search", body=photo, headers={"content-type": "image/jpeg"})
        found = json.loads(answer.data)
        categories = {f"demo/{i}": make_product(i).category for i in DEMO_IDENTITIES[:3]}
        listed = {n["listing_id"]: n["category"] for n in found["neighbours"]}
        assert listed == categories | {"mug": None, "deep/lamp": None}
        voters = {one["category"]: one["voters"] for one in found["categories"] if one["voters"]}
        for name, category in categories.items():
            assert name in voters[category]

    commands = printed(ended.stdout)
    shown, _ = run_printed(commands, tmp_path, look)
    assert f"demo/{DEMO_IDENTITIES[0]}" in shown
    assert not any(is_locked(Home(place), name) for name in WORKERS)
