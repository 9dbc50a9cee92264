"""Joined bundles that nothing names are removed, and nothing else is."""

from __future__ import annotations

import os
import time
from pathlib import Path

from groknet.home.old_bundles import UNUSED_S, remove_old_bundles
from groknet.home.paths import Home

A, B, C = "a" * 12, "b" * 12, "c" * 12


def folder(home: Home, name: str, age_s: float = UNUSED_S + 60) -> Path:
    made = home.root / "bundles" / name
    (made / "detector").mkdir(parents=True)
    (made / "detector" / "model.onnx").write_bytes(b"graph")
    os.utime(made, (time.time() - age_s,) * 2)
    return made


def test_only_old_joined_bundles_that_nothing_names_are_removed(tmp_path: Path) -> None:
    home = Home(tmp_path)
    named = folder(home, f"{A}-{C}")
    stay = [
        named,
        folder(home, f"{B}-{A}"),  # of an epoch that a worker runs
        folder(home, f"{A}-{B}", age_s=60),  # a worker may just start with it
        folder(home, A),  # a copy that a person put there for the record
        folder(home, "my-own"),
    ]
    old = [folder(home, f"{C}-{A}"), folder(home, f"{A}-{A}")]
    (tmp_path / "link").symlink_to(named)
    assert remove_old_bundles(home, [tmp_path / "link"], {B}) == sorted(old)
    assert sorted((tmp_path / "bundles").iterdir()) == sorted(stay)
    assert remove_old_bundles(Home(tmp_path / "none"), [], []) == []
