"""A detector's graph compiled for real by TensorRT for RTX, which needs no GPU to build, suppression included."""

from __future__ import annotations

import platform
import sys
from pathlib import Path

import pytest

from engines.detection.bundle import load_detector_bundle
from engines.gpu.profiles import Profiles
from engines.recognition.tensorrt.build import build
from engines.recognition.tensorrt.library import load_library
from tests.detectors import CELLS, SIDE, bright_detector

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        sys.platform != "linux" or platform.machine() != "x86_64",
        reason="TensorRT for RTX is published for Linux and Windows on x86-64",
    ),
]


def test_a_detector_with_its_suppression_is_built(tmp_path: Path) -> None:
    bright_detector(tmp_path / "bundle")
    bundle = load_detector_bundle(tmp_path / "bundle")
    library = load_library("tensorrt_rtx")
    _, engine = build(bundle, library, tmp_path / "engines", profiles=Profiles((1, 4)), target="portable")
    most = CELLS * CELLS
    assert {t.name: (t.mode, t.dtype, t.shape) for t in engine.tensors} == {
        "photos": ("input", "uint8", [-1, SIDE, SIDE, 3]),
        "boxes": ("output", "float32", [-1, most, 4]),
        "scores": ("output", "float32", [-1, most]),
        "kinds": ("output", "int64", [-1, most]),
    }
    assert engine.epoch == bundle.manifest.detector_id
    assert engine.plan_bytes > 0
