"""The rows of the nine steps: each changes one thing, and re-ranking moves only the nearest."""

from __future__ import annotations

import msgspec
import numpy as np

from benchmarks.networks.nine_steps import RECIPE, RERANKED, halved, reranked, steps_of
from training.evaluation.metrics import cosine_distance
from training.recipe import Recipe, load_recipe


def test_each_row_changes_what_its_row_has_and_is_a_recipe() -> None:
    steps = {step.name: step for step in steps_of(load_recipe(RECIPE))}
    assert [name for name, step in steps.items() if not step.of] == ["softmax"]
    for step in steps.values():
        again = msgspec.json.decode(msgspec.json.encode(step.recipe), type=Recipe)  # checks it like a file
        assert again == step.recipe
        if step.of:
            base = steps[step.of].recipe
            changed = {field for field in base.__struct_fields__ if getattr(base, field) != getattr(step.recipe, field)}
            assert len(changed) == (2 if step.name.startswith(("stack:", "first stack:")) else 1), (step.name, changed)


def test_half_of_the_groceries_are_left_out() -> None:
    (grocery, studio) = halved(load_recipe(RECIPE)).datasets
    assert (grocery.leave_out, grocery.leave_out_every) == ("product_id", 2)
    assert not studio.leave_out


def test_re_ranking_keeps_who_is_near() -> None:
    draw = np.random.default_rng(3)
    rows = [draw.standard_normal((n, 16)).astype(np.float32) for n in (5, 60)]
    photos, gallery = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in rows)
    plain = cosine_distance(photos, gallery)
    moved = reranked(photos, gallery, plain)
    for before, after in zip(plain, moved, strict=True):
        nearest = np.argsort(before, kind="stable")
        assert set(nearest[:RERANKED]) == set(np.argsort(after, kind="stable")[:RERANKED])
        assert np.array_equal(nearest[RERANKED:], np.argsort(after, kind="stable")[RERANKED:])
        assert np.allclose(np.sort(before), np.sort(after))
    assert not np.array_equal(plain, moved)
