"""torch on the processor: a half bundle in bfloat16, and what it has no operator for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from engines.recognition import build_engine
from engines.recognition.precision import write_bundle
from schemas.errors import BundleRefused
from schemas.manifest import Parity
from tests.engines.tiny_bundle import SIZE, seal

PHOTOS = np.random.default_rng(7).integers(0, 256, (9, SIZE, SIZE, 3), dtype=np.uint8)


def test_torch_computes_a_half_bundle_in_bfloat16_and_names_what_it_has_not(tiny: Path, tmp_path: Path) -> None:
    write_bundle(tiny, tmp_path / "half", "fp16")
    build_engine(tmp_path / "half", "torch", threads=1).close()  # the gate has judged it
    seal(tmp_path / "half", parity=Parity(embedding=1e-4, probabilities=1e-4, hash_bits=0))
    with pytest.raises(BundleRefused, match="parity"):  # and eight bits of mantissa are not float's
        build_engine(tmp_path / "half", "torch", threads=1)
    write_bundle(tiny, tmp_path / "int8", "int8", PHOTOS)
    with pytest.raises(BundleRefused, match="the torch back end has no DequantizeLinear, QuantizeLinear"):
        build_engine(tmp_path / "int8", "torch", threads=1)
