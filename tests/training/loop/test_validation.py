"""A run is judged at equal distances, and its score is the share of right first labels, counted in a loop."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest
import torch

from tests.training.tiny import tiny_recipe
from training.data.corpus import Corpus
from training.data.frozen_trunk import resized
from training.loop.distributed import Ranks
from training.loop.state import new_state
from training.loop.validation import Judge, validate

torch.set_num_threads(1)
pytestmark = pytest.mark.slow


def test_the_score_against_a_loop(tiny_corpus: Corpus) -> None:
    recipe = tiny_recipe()
    state = new_state(recipe, tiny_corpus)
    losses, score = validate(recipe, state, tiny_corpus)
    photos = tiny_corpus.sets[0].index("val", False)
    shares = []
    for target in tiny_corpus.heads:
        if target.spec.kind != "softmax" or target.spec.source == "imagenet":
            continue
        hits = []
        for i in photos:
            if target.targets[i] >= 0:
                out = state.network.eval()(resized(tiny_corpus.pixels(np.array([i])).numpy(), recipe.size))
                hits.append(int(out.logits[target.spec.id][0].argmax()) == target.targets[i])
        shares.append(np.mean(hits))
    assert score == pytest.approx(float(np.mean(shares)))
    assert set(losses) >= {"head.studio.category", "head.studio.colour"}


@pytest.mark.parametrize(("times", "steps"), [(4, 10), (0, 10), (10, 3)])
def test_a_run_is_judged_at_equal_distances(tiny_corpus: Corpus, times: int, steps: int) -> None:
    recipe = tiny_recipe()
    recipe = msgspec.structs.replace(recipe, schedule=msgspec.structs.replace(recipe.schedule, validations=times))
    state: Any = new_state(recipe, tiny_corpus)
    judge = Judge(recipe, tiny_corpus, Ranks(), state)
    judged = []
    for step in range(1, steps + 1):
        state.step = step
        if judge.is_due(step / steps):
            judge(state)
            judged.append(step)
    assert len(judged) == min(times, steps)
    assert [step for step, _ in state.scores] == judged
    assert bool(judge.note) == bool(judged)
    if judged:
        assert judged[-1] == steps, "the last one is at the end"
        assert not Judge(recipe, tiny_corpus, Ranks(), state).is_due(0.999) or times > steps, "a resumed run goes on"
