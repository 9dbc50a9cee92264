"""Weights by validation trend: what the rule says, worked by hand."""

from __future__ import annotations

import pytest

from training.loop.task_weights import TaskWeights


def test_nothing_observed_changes_nothing() -> None:
    assert TaskWeights().factors() == {}


def test_a_task_that_still_has_most_of_its_loss_counts_more() -> None:
    weights = TaskWeights(main=frozenset({"embedding.arcface"}), smooth=0.0)
    weights.observe({"head.a": 4.0, "head.b": 1.0, "embedding.arcface": 9.0})
    assert weights.factors() == {"head.a": 1.0, "head.b": 1.0}  # the main task's weight is set by hand
    weights.observe({"head.a": 1.0, "head.b": 0.75, "embedding.arcface": 1.0})
    # a has ¼ of its loss left, b ¾: mean ½, so ½ and 1½
    assert weights.factors() == pytest.approx({"head.a": 0.5, "head.b": 1.5})


def test_factors_are_bounded() -> None:
    weights = TaskWeights(limit=2.0, smooth=0.0)
    weights.observe(dict.fromkeys("abcd", 1.0))
    weights.observe({"a": 1.0, "b": 1e-6, "c": 1e-6, "d": 1e-6})
    assert weights.factors() == pytest.approx({"a": 2.0, "b": 0.5, "c": 0.5, "d": 0.5})


def test_noise_is_damped_and_a_checkpoint_keeps_all() -> None:
    weights = TaskWeights(smooth=0.5)
    for value in (2.0, 1.0, 2.0):
        weights.observe({"a": value, "b": 1.0})
    # a: 2, then ½·2 + ½·1 = 1.5, then ½·1.5 + ½·2 = 1.75 of 2; b: 1 of 1; mean .9375
    assert weights.factors() == pytest.approx({"a": 0.875 / 0.9375, "b": 1 / 0.9375})
    again = TaskWeights(smooth=0.5)
    again.load_state_dict(weights.state_dict())
    assert again.factors() == weights.factors()
