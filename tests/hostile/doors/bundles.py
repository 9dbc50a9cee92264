"""Bundles: every file spoilt, and manifests with hostile values."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

from engines.recognition.bundles.bundle import load_bundle
from schemas.errors import BundleRefused
from tests.engines.tiny_bundle import write_tiny_bundle
from tests.hostile.case import Input, fresh, spoilt

REFUSALS = (BundleRefused,)
MOST_MB = 300
ODD: tuple[Any, ...] = (
    None,
    -1,
    2**40,
    1e308,
    "",
    "../../etc/passwd",
    "/etc/passwd",
    "\x1b[2J",
    [],
    {},
    [0] * 1000,
    True,
)


def honest(folder: Path) -> None:
    """An honest bundle can be opened."""
    if not (folder / "manifest.json").exists():
        write_tiny_bundle(folder)
    assert len(load_bundle(folder).photos) == 5


def inputs(rng: Random, folder: Path) -> Iterator[Input]:
    """Whatever is taken is the bundle that was written."""
    write_tiny_bundle(base := fresh(folder))
    names = sorted(path.name for path in base.iterdir())
    wanted = load_bundle(base)
    while True:
        own = fresh(folder)
        shutil.copytree(base, own, dirs_exist_ok=True)
        if rng.random() < 0.5:
            name = rng.choice(names)
            what, data = spoilt((own / name).read_bytes(), rng)
            (own / name).write_bytes(data)
            what = f"{name} {what}"
        else:
            manifest = json.loads((own / "manifest.json").read_bytes())
            place, where = manifest, []
            while True:
                key = rng.choice(sorted(place)) if isinstance(place, dict) else rng.randrange(len(place))
                where.append(str(key))
                if rng.random() < 0.4 or not isinstance(place[key], dict | list) or not place[key]:
                    break
                place = place[key]
            place[key] = rng.choice(ODD)
            (own / "manifest.json").write_text(json.dumps(manifest))
            what = f"manifest {'.'.join(where)}"
        yield Input(what, lambda own=own: _offer(own, wanted.photos.tobytes()))


def _offer(folder: Path, photos: bytes) -> None:
    found = load_bundle(folder)
    assert found.photos.tobytes() == photos
    assert found.model_path.is_file()
