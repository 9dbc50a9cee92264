"""`[metric]` as entries, old keys with their warning, bounds."""

from __future__ import annotations

import logging

import msgspec
import pytest

from training.recipe import ArcFace, Contrastive, DataSet, HeadSpec, Metric, Recipe, Relational, Schedule


def recipe(**changes: object) -> Recipe:
    plain: dict[str, object] = {"name": "r", "datasets": [], "heads": [], "schedule": Schedule(steps=1)}
    return Recipe(**(plain | changes))  # type: ignore[arg-type]


def test_metric_is_short_for_five_entries() -> None:
    metric = Metric(
        arcface=0.5, scale=8.0, margin=0.1, contrastive=2.0, temperature=0.2, memory=7, relational=3, hash=0.25
    )
    assert metric.losses() == [
        ArcFace(id="embedding.arcface", on="embedding", weight=0.5, scale=8.0, margin=0.1),
        Contrastive(id="embedding.contrastive", on="embedding", weight=2.0, temperature=0.2, memory=7),
        ArcFace(id="hash.arcface", on="hash", weight=0.125, scale=8.0, margin=0.1),
        Contrastive(id="hash.contrastive", on="hash", weight=0.5, temperature=0.2, memory=7),
        Relational(id="relational", weight=3),
    ]


@pytest.mark.parametrize(
    ("off", "left"),
    [
        ("arcface", ["embedding.contrastive", "hash.contrastive", "relational"]),
        ("contrastive", ["embedding.arcface", "hash.arcface", "relational"]),
        ("hash", ["embedding.arcface", "embedding.contrastive", "relational"]),
        ("relational", ["embedding.arcface", "embedding.contrastive", "hash.arcface", "hash.contrastive"]),
    ],
)
def test_a_weight_of_0_leaves_its_entries_out(off: str, left: list[str]) -> None:
    assert [loss.id for loss in Metric(**{off: 0.0}).losses()] == left


def test_entries_may_not_take_the_ids_of_metric_but_heads_may() -> None:
    with pytest.raises(ValueError, match=r"losses\[relational\]\.id: another head or loss has this id"):
        recipe(losses=[Relational(id="relational")])
    assert recipe(heads=[HeadSpec(id="relational", column="a")]).heads[0].id == "relational"
    off = Metric(relational=0)
    assert [type(x) for x in recipe(metric=off, losses=[Relational(id="relational")]).all_losses][-1] is Relational


def test_contrastive_entries_need_two_views() -> None:
    once = Schedule(steps=1, views=1)
    with pytest.raises(ValueError, match=r"losses\[pull\]\.kind: needs schedule\.views = 2"):
        recipe(metric=Metric(contrastive=0), losses=[Contrastive(id="pull")], schedule=once)


@pytest.mark.parametrize("field", ["arcface", "contrastive", "relational", "hash", "scale", "temperature", "memory"])
def test_negative_numbers_are_refused(field: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=field):
        msgspec.convert({field: -1}, Metric)


def test_old_keys_work_and_say_what_to_write(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        old = HeadSpec(id="kind", column="kind", min_images=7)
        assert old == HeadSpec(id="kind", column="kind", min_photos=7)
        assert recipe(hash_layer="catalyzer") == recipe(hash_layer="spreading")
    assert "heads[kind].min_images is deprecated; write min_photos instead" in caplog.text
    assert 'hash_layer = "catalyzer" is deprecated; write "spreading" instead' in caplog.text


def test_a_replaced_recipe_keeps_its_losses_once() -> None:
    data = DataSet(name="d", share=1, product="product")
    first = recipe(datasets=[data], losses=[ArcFace(id="product")])
    again = msgspec.structs.replace(first, seed=3)
    assert [loss.id for loss in again.all_losses] == [loss.id for loss in first.all_losses]
    assert again.losses == first.losses
