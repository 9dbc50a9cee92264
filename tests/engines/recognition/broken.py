"""Bundles that are altered on purpose, and what an engine says about them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from engines.recognition import build_engine
from schemas.errors import BundleRefused
from schemas.manifest import PARITY_FILE
from tests.engines.tiny_bundle import seal


def edit_manifest(folder: Path, **fields: object) -> None:
    path = folder / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


def edit_parity(folder: Path, **arrays: np.ndarray | None) -> None:
    with np.load(folder / PARITY_FILE) as file:
        whole = dict(file) | arrays
    np.savez(folder / PARITY_FILE, **{name: array for name, array in whole.items() if array is not None})
    seal(folder)


def parity(folder: Path, name: str) -> np.ndarray:
    with np.load(folder / PARITY_FILE) as file:
        return file[name]


def refused(folder: Path) -> str:
    with pytest.raises(BundleRefused) as caught:
        build_engine(folder, threads=1)
    return str(caught.value)
