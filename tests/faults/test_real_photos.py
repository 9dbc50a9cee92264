"""500 real photos through `groknet run all`: stored, searchable, unchanged by a second sending, gone when removed.

Needs the folder of real photos, named by GROKNET_DATA (sub-folders with `images/`); without it nothing here runs.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from schemas.predictions import RemovalMarker
from workers.stores import build_store

DATA = os.environ.get("GROKNET_DATA", "")
ROOT = Path(__file__).parents[2]
COUNT = 500

pytestmark = [
    pytest.mark.data,
    pytest.mark.slow,
    pytest.mark.skipif(not DATA, reason="GROKNET_DATA names no folder of real photos"),
]


def groknet(*arguments: str, ok: tuple[int, ...] = (0,)) -> list[Any]:
    done = subprocess.run(
        [sys.executable, "-m", "groknet", *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode in ok, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def choose(folder: Path) -> list[Path]:
    """Copies of COUNT real photos, evenly from grocery, fashion and clothing."""
    rng, chosen = random.Random(0), []
    for i, kind in enumerate(("grocery", "fashion", "clothing")):
        every = sorted((Path(DATA) / kind / "images").rglob("*.jpg"))
        for path in rng.sample(every, COUNT // 3 + (i < COUNT % 3)):
            target = folder / kind / f"{len(chosen)}.jpg"
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, target)
            chosen.append(target)
    return chosen


def dump(home: Path) -> dict[str, bytes]:
    store = build_store(f"sqlite:///{home}/store.db")
    try:
        return {state.listing_id: msgspec.json.encode(state) for state in store.scan()}
    finally:
        store.close()


@pytest.mark.timeout(600)
def test_five_hundred_real_photos(tmp_path: Path) -> None:
    home, photos = tmp_path / "home", tmp_path / "photos"
    chosen = choose(photos)
    command = [sys.executable, "-m", "groknet", "run", "all", "--home", str(home), "--port", "0"]
    with (tmp_path / "log").open("wb") as log:
        workers = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log)
        try:
            first = groknet("submit", "--home", str(home), "--wait", "--json", str(photos))
            assert len(first) == COUNT
            assert {line["status"] for line in first} == {"searchable"}
            before = dump(home)
            assert len(before) == COUNT

            again = groknet("submit", "--home", str(home), "--wait", "--json", str(photos))
            assert {line["status"] for line in again} == {"searchable"}
            assert dump(home) == before

            for path in random.Random(1).sample(chosen, 20):
                mine = str(path.relative_to(photos).with_suffix(""))
                found = groknet("search", "--home", str(home), "--json", "-k", "3", str(path))
                assert mine in {hit["listing_id"] for hit in found[0] if hit["distance"] <= 2}

            gone = sorted(before)[::50]
            groknet("remove", "--home", str(home), "--wait", "--json", *gone)
            after = dump(home)
            for listing in gone:
                assert "event_time" in json.loads(after[listing])
                assert set(json.loads(after[listing])) == set(RemovalMarker.__struct_fields__)
            for path in chosen:
                mine = str(path.relative_to(photos).with_suffix(""))
                if mine in gone:
                    found = groknet("search", "--home", str(home), "--json", "-k", "50", str(path))
                    assert mine not in {hit["listing_id"] for hit in found[0]}
        finally:
            workers.send_signal(signal.SIGTERM)
            assert workers.wait(timeout=60) == 0
