"""The ratios and the bound of a comparison, from costs whose ratios are known."""

from __future__ import annotations

import statistics

from benchmarks.stream_pairs import figures, lower_bound


def test_a_faster_revision_has_ratios_above_one() -> None:
    old, new = [0.004, 0.003, 0.001], [0.002, 0.0025, 0.001]
    found = figures([(old, new)] * 15)
    assert found["events_per_s"] == {"median": 2.0, "lower_95": 2.0, "pairs": 15}
    assert found["processor_time"]["median"] == 1.2
    assert found["processor_time_without_decoding"]["median"] == round(0.002 / 0.0015, 3)


def test_the_bound_lies_below_the_median_and_above_the_worst() -> None:
    ratios = [0.8, 0.9, 0.95, 1.0, 1.02, 1.05, 1.1, 1.2, 1.3]
    assert min(ratios) < lower_bound(ratios) < statistics.median(ratios)
    assert lower_bound([0.9] * 9) == 0.9
