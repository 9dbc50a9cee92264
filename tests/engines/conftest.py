"""What the engines' tests share: a tiny bundle on disk, fresh for each test that alters it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.engines.tiny_bundle import write_tiny_bundle


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    """The folder of a whole tiny bundle."""
    write_tiny_bundle(tmp_path / "bundle")
    return tmp_path / "bundle"
