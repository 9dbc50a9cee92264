"""Heads that are cut to their best labels, and widened again."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest

from engines.recognition.outputs.calibration import Calibrator
from engines.recognition.outputs.tops import INDICES, VALUES, is_cut, widen
from tests.engines.tiny_bundle import HEADS


def test_a_head_with_a_table_of_a_label_keeps_all_labels(tiny: Path) -> None:
    """Of two heads of four labels with top_k 2, only the one without tables of its labels is cut."""
    colour, words = HEADS
    four = msgspec.structs.replace(colour, labels=words.labels)
    assert is_cut(four, 2)
    assert not is_cut(four, 4)
    assert not is_cut(words, 2)
    with pytest.raises(ValueError, match="own table"):
        Calibrator(words, 2).predict_top(np.zeros((1, 2), np.float32), np.zeros((1, 2), np.int32))


def test_a_label_wrongly_left_out_is_seen() -> None:
    """The best of four labels is not among the two that were sent: it differs by its lead over the second."""
    whole = {"head": np.array([[0.1, 0.6, 0.1, 0.2]], np.float32)}
    sent = {
        "head" + VALUES: np.array([[0.2, 0.1]], np.float32),
        "head" + INDICES: np.array([[3, 0]], np.int32),
    }
    np.testing.assert_allclose(widen(sent, whole)["head"], [[0.1, 0.1, 0.1, 0.2]])
