"""A detector's graph compiled for real by TensorRT for RTX, which needs no GPU to build."""

from __future__ import annotations

import platform
import sys
from pathlib import Path

import pytest

from engines.detection.bundle import load_detector_bundle
from engines.detection.suppression import without_suppression
from engines.gpu.profiles import Profiles
from engines.recognition.tensorrt.build import build
from engines.recognition.tensorrt.library import load_library
from schemas.errors import BundleRefused
from tests.detectors import CELLS, SIDE, bright_detector

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        sys.platform != "linux" or platform.machine() != "x86_64",
        reason="TensorRT for RTX is published for Linux and Windows on x86-64",
    ),
]


def test_a_detectors_proposals_are_built(tmp_path: Path) -> None:
    bright_detector(tmp_path / "bundle")
    bundle = without_suppression(load_detector_bundle(tmp_path / "bundle"), tmp_path / "cut")
    library = load_library("tensorrt_rtx")
    _, engine = build(bundle, library, tmp_path / "engines", profiles=Profiles((1, 4)), target="portable")
    cells = CELLS * CELLS
    assert {t.name: (t.mode, t.dtype, t.shape) for t in engine.tensors} == {
        "photos": ("input", "uint8", [-1, SIDE, SIDE, 3]),
        "dense.boxes": ("output", "float32", [-1, cells, 4]),
        "dense.scores": ("output", "float32", [-1, cells]),
        "dense.kinds": ("output", "int64", [-1, cells]),
    }
    assert engine.epoch == bundle.manifest.detector_id
    assert engine.plan_bytes > 0


def test_the_whole_graph_is_refused_by_its_suppression(tmp_path: Path) -> None:
    """When this fails, the library has learnt the operator, and the graph need not be cut for it."""
    bright_detector(tmp_path / "bundle")
    bundle, library = load_detector_bundle(tmp_path / "bundle"), load_library("tensorrt_rtx")
    with pytest.raises(BundleRefused, match="NonMaxSuppression"):
        build(bundle, library, tmp_path / "engines", profiles=Profiles((1,)), target="portable")
