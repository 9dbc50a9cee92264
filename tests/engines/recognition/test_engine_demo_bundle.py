"""The demo bundle beyond ONNX Runtime: in float on every back end, and in INT8 through its gate."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from engines.recognition import build_engine, load_bundle
from engines.recognition.precision import write_bundle
from training.studio import TRAIN_IDENTITIES, make_product, render

DEMO = Path(__file__).parents[3] / "training" / "bundles" / "demo"


@pytest.mark.parametrize("backend", ["openvino", "torch"])
def test_parity_photos_give_what_was_exported(backend: str) -> None:
    build_engine(DEMO, backend, threads=1).close()


@pytest.mark.slow
def test_int8_calibrated_on_studio_photos_passes_the_gate(tmp_path: Path) -> None:
    size = load_bundle(DEMO).manifest.preprocess
    shape = (size.width, size.height)
    photos = [render(make_product(i), 0, "natural", size=shape).pixels for i in TRAIN_IDENTITIES[:16]]
    write_bundle(DEMO, tmp_path / "int8", "int8", np.stack(photos), "openvino")
    build_engine(tmp_path / "int8", "openvino", threads=1).close()
    small = (tmp_path / "int8" / "model.onnx").stat().st_size
    assert small < 16e6  # 49 convolutions in bytes; the heads, 11 MB of it, stay in float
