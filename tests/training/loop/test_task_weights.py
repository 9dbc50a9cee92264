"""Weights by validation trend: what the rule says, worked by hand."""

from __future__ import annotations

import pytest

from training.loop.task_weights import TaskWeights


def observed(weights: TaskWeights, **losses: list[float]) -> TaskWeights:
    for values in zip(*losses.values(), strict=True):
        weights.observe(dict(zip(losses, values, strict=True)))
    return weights


def test_too_little_observed_changes_nothing() -> None:
    assert TaskWeights().factors() == {}
    assert observed(TaskWeights(window=2), a=[3.0, 2.0, 1.0], b=[1.0, 1.0, 1.0]).factors() == {}


def test_a_high_loss_that_moves_counts_more() -> None:
    weights = observed(
        TaskWeights(main=frozenset({"main"}), window=2),
        a=[5.0, 3.0, 2.5, 1.5],  # 4, then 2: f = 1, h = 2
        b=[1.5, 1.5, 1.0, 1.0],  # 1.5, then 1: f = ½, h = 1
        main=[9.0, 9.0, 1.0, 1.0],  # set by hand
    )
    # f over its mean: 4/3 and 2/3; h: 4/3 and 2/3; products 16/9 and 4/9, whose mean is 10/9
    assert weights.factors() == pytest.approx({"a": 1.6, "b": 0.4})


def test_a_loss_that_rises_moves_too() -> None:
    weights = observed(TaskWeights(window=1), a=[1.0, 2.0], b=[3.0, 2.0])  # f = ½ each, h = 2 each
    assert weights.factors() == pytest.approx({"a": 1.0, "b": 1.0})


def test_factors_are_bounded() -> None:
    weights = observed(TaskWeights(limit=2.0, window=1), a=[9.0, 1.0], b=[1.0, 1.0], c=[1.0, 1.0])
    assert weights.factors() == pytest.approx({"a": 2.0, "b": 0.5, "c": 0.5})


def test_where_nothing_moves_the_heights_alone_count() -> None:
    assert observed(TaskWeights(window=1), a=[3.0, 3.0], b=[1.0, 1.0]).factors() == pytest.approx(
        {"a": 1.5, "b": 0.5}  # heights alone
    )


def test_old_losses_are_forgotten_and_a_checkpoint_keeps_the_rest() -> None:
    weights = observed(TaskWeights(window=1), a=[90.0, 4.0, 2.0], b=[0.1, 2.0, 2.0])
    assert weights.losses == {"a": [4.0, 2.0], "b": [2.0, 2.0]}
    again = TaskWeights(window=1)
    again.load_state_dict(weights.state_dict())
    assert again.factors() == weights.factors()


def test_a_checkpoint_of_an_older_version_begins_anew() -> None:
    weights = TaskWeights()
    weights.load_state_dict({"first": {"a": 1.0}, "now": {"a": 0.5}})
    assert weights.factors() == {}
