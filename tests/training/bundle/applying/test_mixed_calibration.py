"""Heads calibrated on a mix of small sets: cross-fitted training photos, and everyday objects measured by folds."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from tests.training.bundle.applying.test_sigmoids import HEADS, WIDTH, features, manifest
from training.bundle.applying.features import Seen
from training.bundle.applying.finish import _folded, _mix
from training.bundle.applying.mix import Mix, Photos
from training.bundle.applying.sigmoids import in_manifest
from training.bundle.card import Facts, mix_section
from training.bundle.probabilities.cross_fit import cross_fitted, folds_of
from training.evaluation.folder import Predicted
from training.recipe import DataSet, GenericSet, HeadSpec, Recipe, Schedule

SOFTMAX = [head for head in HEADS if head.id != "words"]
COUNTS = {"train": 60, "val": 60, "test": 20}
LAYERS = {head.id: np.random.default_rng(i).normal(size=(WIDTH, 3)) for i, head in enumerate(SOFTMAX)}


def recipe() -> Recipe:
    return Recipe(
        name="r",
        datasets=[DataSet(name="food", share=1), DataSet(name="wear", share=1)],
        generic=[GenericSet(name="desk", objects="thing"), GenericSet(name="street")],
        heads=[HeadSpec(id="food.type", column="food.type", datasets=["food"])],
        schedule=Schedule(steps=1),
    )


def world(renamed: str = "") -> Mix:
    """Photos whose labels are mostly those of a fixed layer; `renamed` is the split whose objects have other names."""
    sets, columns = {}, {"food": "food.type", "wear": "wear.type", "desk": "thing", "street": ""}
    for seed, (name, column) in enumerate(columns.items()):
        feature = features(name, sum(COUNTS.values()), seed)
        raw = {}
        for head in SOFTMAX:
            odds = feature @ LAYERS[head.id]
            raw[head.id] = (np.exp(odds) / np.exp(odds).sum(1, keepdims=True)).astype(np.float32)
        mine = {"food": "food.type", "wear": "wear.type"}.get(name, "object")
        labels = raw[mine].argmax(1)
        labels[::5] = (labels[::5] + 1) % 3
        splits = np.repeat(list(COUNTS), list(COUNTS.values()))
        labels = np.where((splits == renamed) & (name == "desk"), (labels + 1) % 3, labels)
        rows = [
            {"path": f"{name}{i}", "split": str(split), **({column: f"l{label}"} if column else {})}
            for i, (split, label) in enumerate(zip(splits, labels, strict=True))
        ]
        sets[name] = Photos(Seen(rows, feature, []), raw)
    made = msgspec.structs.replace(manifest(), heads=SOFTMAX)
    return Mix(recipe(), made, sets, {name: sets[name].seen.rows for name in ("food", "wear")})


@pytest.fixture(scope="module")
def mix() -> Mix:
    return world()


def test_training_photos_are_scored_by_layers_that_did_not_see_them(mix: Mix) -> None:
    (found,) = mix.cross_fitted(SOFTMAX[0])
    photos = mix.sets["food"]
    train = [i for i, row in enumerate(photos.seen.rows) if row["split"] == "train"]
    labels = np.array([int(photos.seen.rows[i]["food.type"][1:]) for i in train])
    alone = cross_fitted(photos.seen.feature[train], labels, folds_of(np.arange(len(train))), 3)
    wanted = alone * mix.applying.own(photos.seen.feature[train])[:, :1]
    np.testing.assert_allclose(found.predictions.probabilities[:, 0], wanted.max(1), atol=1e-5)
    assert found.targets.tolist() == labels.tolist()


def test_objects_are_judged_by_tables_of_other_photos(mix: Mix) -> None:
    found = mix.object_folds(SOFTMAX[2], "desk")
    raw = mix.sets["desk"].raw["object"]
    assert found.labels[:, 0].tolist() == raw.argmax(1).tolist()
    assert len(np.unique(found.probabilities[:, 0])) > 1
    again = world("test").object_folds(SOFTMAX[2], "desk")
    assert np.array_equal(found.probabilities, again.probabilities), "test photos fit no table"
    other = world("val").object_folds(SOFTMAX[2], "desk")
    assert np.abs(found.probabilities - other.probabilities).max() > 0.01


def test_the_report_measures_all_objects_and_the_card_shows_it(mix: Mix) -> None:
    heads, known = mix.calibrated([]), in_manifest(mix.applying)
    made = msgspec.structs.replace(mix.manifest, heads=heads, applicability=known)
    folded = {name: _folded(made, mix, name) for name in mix.sets}
    tests = {}
    for name, photos in mix.sets.items():
        at = photos.places(("test",))
        tests[name] = Predicted(made, [photos.seen.rows[i] for i in at], folded[name].predictions.taken(at), [])
    report = _mix(made, mix, tests, {"desk": folded["desk"]})
    assert report is not None
    assert report["heads"]["object"]["photos"] == sum(COUNTS.values())
    assert report["heads"]["food.type"]["photos"] == COUNTS["test"]
    told = mix_section(made, Facts(recipe(), mix=report))
    assert f"| object | {sum(COUNTS.values())} |" in told
    assert "| goal | missed by |" in told
