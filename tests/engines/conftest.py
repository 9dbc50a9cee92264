"""What the engines' tests share: a tiny bundle on disk, fresh for each test that alters it, and a GPU in Python."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest


def _load(name: str) -> ModuleType:
    """Test folders are no packages; load a helper once under a name of its own."""
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


_load("tiny_bundle")
_load("fake_gpu")


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    """The folder of a whole tiny bundle."""
    from tiny_bundle import write_tiny_bundle

    write_tiny_bundle(tmp_path / "bundle")
    return tmp_path / "bundle"
