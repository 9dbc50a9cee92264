"""Which detections a plan takes, and how wide their boxes become."""

from __future__ import annotations

import random
from dataclasses import astuple
from fractions import Fraction

import msgspec
import pytest

from engines.detection import Detection, chosen, padded
from engines.pixels import Box
from schemas.boxes import DetectPlan

PLAN = DetectPlan(mode="all", detector_id="0123456789ab", padding=0.0, threshold=0.5, most_boxes=3)
FOUND = [Detection(Box(0.1 * i, 0.1, 0.1 * i + 0.2, 0.9), f"kind-{i}", 0.9 - 0.15 * i) for i in range(5)]


def test_all_takes_the_sure_ones_up_to_the_limit_and_subject_the_first() -> None:
    kinds = [one.kind for one in chosen(FOUND, PLAN)]
    assert kinds == ["kind-0", "kind-1", "kind-2"]  # the fourth has .45
    assert [one.kind for one in chosen(FOUND, msgspec.structs.replace(PLAN, most_boxes=2))] == kinds[:2]
    assert [one.kind for one in chosen(FOUND, msgspec.structs.replace(PLAN, mode="subject"))] == kinds[:1]
    assert chosen(FOUND, msgspec.structs.replace(PLAN, threshold=0.95)) == []
    assert chosen([], PLAN) == []


@pytest.mark.parametrize("seed", range(200))
def test_a_padded_box_holds_the_box_and_its_padding_and_little_more(seed: int) -> None:
    """By exact fractions: at most a ten-thousandth more on each side, and never outside the photo."""
    rng = random.Random(seed)
    low, high = sorted(rng.sample(range(0, 1001), 2)), sorted(rng.sample(range(0, 1001), 2))
    edges = [low[0] / 1000, high[0] / 1000, max(low[1] / 1000, low[0] / 1000 + 0.01), high[0] / 1000 + 0.01]
    edges[3] = max(edges[3], high[1] / 1000)
    box = Box(*(min(1.0, edge) for edge in edges)) if max(edges) <= 1 else Box(0.2, 0.3, 0.4, 0.9)
    padding = rng.choice([0.0, 0.05, 0.5])
    got = padded(box, padding)
    left, top, right, bottom = map(Fraction, astuple(box))
    across, down = Fraction(padding) * (right - left), Fraction(padding) * (bottom - top)
    wanted = max(0, left - across), max(0, top - down), min(1, right + across), min(1, bottom + down)
    for edge, exact, outwards in zip(astuple(got), wanted, (-1, -1, 1, 1), strict=True):
        assert edge == round(edge, 4)
        assert -1e-9 <= outwards * (edge - float(exact)) <= 1.0001e-4
