"""Applicability: fitted on features whose truth is known, and put into a graph that numpy computes as well."""

from __future__ import annotations

import msgspec
import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

from schemas.manifest import Head, Label, Manifest, Preprocess, Training
from training.bundle.applying.graph import add_applicability, replace_layer, take_applicability_away
from training.bundle.applying.sigmoids import KEPT, domain_of, fit_applying, word_members
from training.recipe import DataSet, GenericSet, HeadSpec, Recipe, Schedule

WIDTH = 12
CENTRES = {"food": 0, "wear": 1, "desk": 2, "street": 3}  # the axis along which a set's photos lie


def features(name: str, count: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng([seed, CENTRES[name]])
    found = rng.normal(0, 1, (count, WIDTH))
    found[:, CENTRES[name]] += 6
    return found.astype(np.float32)


def head(id_: str, *datasets: str, labels: int = 3, kind: str = "softmax") -> Head:
    named = [Label(id=f"l{i}", index=i, value=f"l{i}") for i in range(labels)]
    return Head(id=id_, kind=kind, column=id_, datasets=list(datasets), output=f"head.{id_}", labels=named)


HEADS = [head("food.type", "food"), head("wear.type", "wear"), head("words", "food", "wear", labels=4), head("object")]


def recipe(**generic: list[str]) -> Recipe:
    sets = [GenericSet(name=name, shows=shows) for name, shows in (generic or {"desk": [], "street": []}).items()]
    return Recipe(
        name="r",
        datasets=[DataSet(name="food", share=1), DataSet(name="wear", share=1)],
        generic=sets,
        heads=[HeadSpec(id="food.type", column="c", datasets=["food"])],
        schedule=Schedule(steps=1),
    )


def fitted(**generic: list[str]):
    made = recipe(**generic)
    names = ["food", "wear", *(one.name for one in made.generic)]
    learnt = {name: features(name, 400 if name == "food" else 60) for name in names}
    judged = {name: features(name, 200, 1) for name in ("food", "wear")}
    return fit_applying(made, HEADS, learnt, judged), judged


def test_photos_of_a_data_set_are_told_from_all_others() -> None:
    applying, judged = fitted()
    assert [d.id for d in applying.domains] == ["food", "wear", "words"]
    for i, name in enumerate(("food", "wear")):
        threshold = applying.domains[i].threshold
        assert (applying.domain(judged[name])[:, i] >= threshold).mean() >= KEPT - 1 / 200
        for other in CENTRES.keys() - {name}:
            assert (applying.domain(features(other, 200, 2))[:, i] >= threshold).mean() <= 0.02, (name, other)


def test_a_head_of_several_data_sets_applies_to_photos_of_each() -> None:
    applying, judged = fitted()
    for name in ("food", "wear"):
        assert (applying.domain(judged[name])[:, 2] >= applying.domains[2].threshold).mean() >= 0.98
    assert (applying.domain(features("desk", 200, 2))[:, 2] >= applying.domains[2].threshold).mean() <= 0.04


def test_what_a_generic_set_shows_is_no_negative() -> None:
    """Photos of the street show food: the sigmoid of food does not learn to refuse them, that of wear does."""
    plain, _ = fitted()
    shown, _ = fitted(desk=[], street=["food"])
    street = features("street", 300, 3)
    assert shown.own(street)[:, 0].mean() > 3 * plain.own(street)[:, 0].mean()
    assert shown.own(street)[:, 1].mean() < 0.05


def test_domains_are_named_after_data_sets() -> None:
    assert [domain_of(one) for one in HEADS] == ["food", "wear", "words", ""]


def test_a_word_belongs_to_the_data_sets_that_know_it() -> None:
    counts = np.array([[9, 0, 3, 0], [8, 7, 2, 0]])
    found = word_members(HEADS[2], ["food", "wear"], counts, least=5)
    assert found.tolist() == [[1, 0, 1, 1], [1, 1, 0, 1]], "both, the second, the one with most, and a word of nobody"


def graph() -> onnx.ModelProto:
    """feature → Gemm → Softmax for each head; one weight is stored in half behind a Cast, as bundles have it."""
    rng = np.random.default_rng(4)
    nodes, weights = [helper.make_node("Relu", ["photos"], ["feature"])], []
    for one in HEADS:
        labels, name = len(one.labels), one.id
        weight = rng.normal(size=(labels, WIDTH))
        if name == "object":
            weights.append(numpy_helper.from_array(weight.astype(np.float16), "w.object.half"))
            nodes.append(helper.make_node("Cast", ["w.object.half"], ["w.object"], to=TensorProto.FLOAT))
        else:
            weights.append(numpy_helper.from_array(weight.astype(np.float32), f"w.{name}"))
        weights.append(numpy_helper.from_array(rng.normal(size=labels).astype(np.float32), f"b.{name}"))
        nodes.append(helper.make_node("Gemm", ["feature", f"w.{name}", f"b.{name}"], [f"z.{name}"], transB=1))
        nodes.append(helper.make_node("Softmax", [f"z.{name}"], [one.output], axis=1))
    value = helper.make_tensor_value_info
    outputs = [value(one.output, TensorProto.FLOAT, ["n", len(one.labels)]) for one in HEADS]
    made = helper.make_graph(nodes, "g", [value("photos", TensorProto.FLOAT, ["n", WIDTH])], outputs, weights)
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 10
    return model


def run(model: onnx.ModelProto, photos: np.ndarray) -> dict[str, np.ndarray]:
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    names = [one.name for one in session.get_outputs()]
    return dict(zip(names, session.run(names, {"photos": photos}), strict=True))


def manifest() -> Manifest:
    return Manifest(
        name="m",
        model_version="m-1",
        epoch="0" * 12,
        created="2026-01-01",
        preprocess=Preprocess(width=16, height=16),
        heads=HEADS,
        training=Training(recipe="none", command="none"),
        files={},
    )


def test_the_graph_multiplies_heads_as_numpy_does_and_can_be_taken_back() -> None:
    applying, _ = fitted()
    members = {
        "food.type": np.array([[1], [0]], np.float32),
        "wear.type": np.array([[0], [1]], np.float32),
        "words": np.array([[1, 0, 1, 1], [1, 1, 0, 1]], np.float32),
    }
    model = graph()
    made = add_applicability(model, manifest(), applying, members)
    photos = np.concatenate([features(name, 5, 7) for name in CENTRES])
    before, after = run(model, photos), run(made, photos)
    own = applying.own(np.maximum(photos, 0))
    np.testing.assert_allclose(after["applicability"], applying.domain(np.maximum(photos, 0)), atol=1e-5)
    for one in HEADS:
        factor = np.minimum(own @ members[one.id], 1) if one.id in members else 1.0
        np.testing.assert_allclose(after[one.output], before[one.output] * factor, atol=1e-5)
        assert after[one.output].sum(1).max() <= 1 + 1e-5
    known = msgspec.structs.replace(manifest(), applicability=None)
    again = take_applicability_away(made, msgspec.structs.replace(known, applicability=_applicability(applying)))
    assert again.SerializeToString(deterministic=True) == model.SerializeToString(deterministic=True)


def _applicability(applying):
    from training.bundle.applying.sigmoids import in_manifest

    return in_manifest(applying)


def test_another_layer_keeps_the_precision_of_the_old_one() -> None:
    model, photos = graph(), features("desk", 4, 8)
    weight, bias = np.full((3, WIDTH), 0.125, np.float32), np.array([0, 1, 2], np.float32)
    replace_layer(model, HEADS[3].output, weight, bias)
    z = np.maximum(photos, 0) @ weight.T + bias
    wanted = np.exp(z) / np.exp(z).sum(1, keepdims=True)
    np.testing.assert_allclose(run(model, photos)["head.object"], wanted, atol=1e-5)
    stored = {one.name: one.data_type for one in model.graph.initializer}
    assert stored["w.object.half"] == TensorProto.FLOAT16


@pytest.mark.parametrize(
    ("sets", "says"),
    [
        ([GenericSet(name="food")], r"generic\[food\].name"),
        ([GenericSet(name="desk", shows=["toys"])], r"generic\[desk\].shows: no data set 'toys'"),
    ],
)
def test_generic_sets_that_do_not_fit_a_recipe(sets: list[GenericSet], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        msgspec.convert(msgspec.to_builtins(msgspec.structs.replace(recipe(), generic=sets)), Recipe)
