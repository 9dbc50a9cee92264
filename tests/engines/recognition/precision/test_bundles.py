"""Bundles of another precision: every back end opens them, and each is written whole."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from engines.recognition import build_engine, load_bundle
from engines.recognition.precision import write_bundle
from schemas.errors import ConfigError
from schemas.manifest import MODEL_FILE, load_manifest
from tests.engines.recognition.precision.graphs import PHOTOS
from tests.engines.tiny_bundle import raw_outputs


@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_a_bundle_of_that_precision_opens_everywhere(tiny: Path, tmp_path: Path, precision: str) -> None:
    out = tmp_path / "smaller"
    manifest = write_bundle(tiny, out, precision, PHOTOS)
    before = load_manifest(tiny)
    assert (manifest.precision, manifest.epoch) == (precision, before.epoch)
    assert manifest.model_version == f"{before.model_version}-{precision}"
    assert load_bundle(out).manifest == manifest
    expected = raw_outputs(out, PHOTOS, optimised=False)  # node by node, no fused kernel
    for backend in ("onnxruntime", "openvino"):
        engine = build_engine(out, backend, threads=1)
        got = engine.infer(PHOTOS)
        apart = np.bitwise_count(got.hash ^ expected["hash"]).sum()
        assert apart <= 0.03 * 256 * len(PHOTOS)
        engine.close()
    assert (tmp_path / "smaller" / MODEL_FILE).is_file()
    assert not list(tmp_path.glob("*.part"))


def test_int8_kernels_do_not_saturate(tiny: Path, tmp_path: Path) -> None:
    """White noise gives large sums. The fused kernels must add them as the graph says, on every processor."""
    out = tmp_path / "small"
    write_bundle(tiny, out, "int8", PHOTOS)
    expected = raw_outputs(out, PHOTOS, optimised=False)
    engine = build_engine(out, "onnxruntime", threads=1)
    apart = np.linalg.norm(engine.infer(PHOTOS).embedding - expected["embedding"], axis=1)
    engine.close()
    assert apart.max() < 0.02


def test_a_bundle_is_written_whole_once_and_from_float(tiny: Path, tmp_path: Path) -> None:
    out = tmp_path / "half"
    with pytest.raises(ConfigError, match="calibrated"):
        write_bundle(tiny, out, "int8")
    assert not list(tmp_path.glob("half*"))
    write_bundle(tiny, out, "fp16")
    with pytest.raises(ConfigError, match="there already"):
        write_bundle(tiny, out, "fp16")
    with pytest.raises(ConfigError, match="fp16 already"):
        write_bundle(out, tmp_path / "again", "fp16")
