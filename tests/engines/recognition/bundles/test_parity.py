"""A back end that computes otherwise than the export is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx

from engines.recognition import build_engine
from schemas.manifest import MODEL_FILE, Parity
from tests.engines.recognition.broken import edit_parity, parity, refused
from tests.engines.tiny_bundle import seal, tiny_graph


def test_other_weights_under_fresh_checksums_fail_parity(tiny: Path) -> None:
    """Checksums prove only that the files belong together; parity proves that they compute what was exported."""
    onnx.save(tiny_graph(seed=1), str(tiny / MODEL_FILE))
    seal(tiny)
    assert "parity." in refused(tiny)


def test_the_smallest_change_of_one_output_fails_parity(tiny: Path) -> None:
    for name in ("colour", "words", "embedding"):
        expected = parity(tiny, name)
        changed = expected.copy()
        changed[-1, -1] += 2e-4  # twice the tolerance
        edit_parity(tiny, **{name: changed})
        assert f"parity.{name}" in refused(tiny)
        edit_parity(tiny, **{name: np.full_like(changed, np.nan)})
        assert f"parity.{name}" in refused(tiny)
        edit_parity(tiny, **{name: expected})
    build_engine(tiny, threads=1)


def test_hash_bits_within_the_tolerance_pass_and_one_more_does_not(tiny: Path) -> None:
    flipped = parity(tiny, "hash").copy()
    flipped[2, 0] ^= 0b1010_0000
    edit_parity(tiny, hash=flipped)
    assert "parity.hash: 2 bits" in refused(tiny)
    seal(tiny, parity=Parity(probabilities=1e-4, embedding=1e-4, hash_bits=2))
    build_engine(tiny, threads=1)
    flipped[2, 31] ^= 1
    edit_parity(tiny, hash=flipped)
    seal(tiny, parity=Parity(probabilities=1e-4, embedding=1e-4, hash_bits=2))
    assert "parity.hash: 3 bits" in refused(tiny)
