from __future__ import annotations

import math

import msgspec
import pytest

from schemas.manifest import Head, Label, load_manifest
from schemas.predictions import Prediction
from tests.engines.tiny_bundle import write_tiny_bundle
from workers.search.find.labels.vote import VOTERS, Ballot, VoteRule, Voting

RULE = VoteRule(own_weight=0.25, scale_bits=8.0)


def head(id_: str, *values: str, kind: str = "softmax") -> Head:
    labels = [Label(id=v.lower().replace(" ", "-"), index=i, value=v) for i, v in enumerate(values)]
    return Head(id=id_, kind=kind, column=id_, datasets=["shop"], output=id_, labels=labels)


@pytest.fixture(scope="module")
def manifest(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bundle")
    write_tiny_bundle(folder)
    heads = [
        head("colour", "Red", "Blue"),
        head("kind", "Coffee Mug", "Vase", "Bowl"),
        head("words", "mug", "vase", kind="multi_label"),
    ]
    return msgspec.structs.replace(load_manifest(folder), heads=heads)


def said(**heads: dict[str, float]) -> dict[str, list[Prediction]]:
    return {h: [Prediction(label=k, probability=p) for k, p in best.items()] for h, best in heads.items()}


def test_the_shares_are_those_of_the_formula(manifest):
    ballots = [Ballot("a", "vase", 10), Ballot("b", "Coffee mug", 18), Ballot("c", None, 11), Ballot("d", "vase", 26)]
    found = Voting(manifest, RULE).count(said(kind={"coffee-mug": 0.9, "bowl": 0.06}), ballots)
    weight = {"a": 1.0, "b": math.exp(-1), "d": math.exp(-2)}
    total = sum(weight.values())
    near = {"vase": (weight["a"] + weight["d"]) / total, "Coffee mug": weight["b"] / total, "Bowl": 0.0}
    own = {"vase": 0.0, "Coffee mug": 0.9, "Bowl": 0.06}
    scale = 0.25 * 0.96 + 0.75
    shares = {c: (0.25 * own[c] + 0.75 * near[c]) / scale for c in own}
    assert {one.category: one.share for one in found} == pytest.approx(shares, abs=1e-4)
    assert {one.category: one.own for one in found} == own
    assert {one.category: one.neighbours for one in found} == pytest.approx(near, abs=1e-4)
    assert {one.category: one.voters for one in found} == {"vase": ["a", "d"], "Coffee mug": ["b"], "Bowl": []}
    assert [one.share for one in found] == sorted((one.share for one in found), reverse=True)
    assert sum(one.share for one in found) == pytest.approx(1, abs=1e-3)


def test_the_photo_alone_may_overrule_its_neighbours(manifest):
    ballots = [Ballot("a", "vase", 40), Ballot("b", "coffee mug", 40)]
    best = Voting(manifest, VoteRule(own_weight=0.5)).count(said(kind={"coffee-mug": 0.99}), ballots)[0]
    assert best.category == "coffee mug"


def test_a_head_of_other_labels_does_not_vote(manifest):
    ballots = [Ballot("a", "garden", 1), Ballot("b", "garden", 3), Ballot("c", "vase", 5)]
    found = Voting(manifest, RULE).count(said(kind={"vase": 0.99}, colour={"red": 1.0}), ballots)
    assert [(one.category, one.own) for one in found] == [("garden", 0.0), ("vase", 0.0)]
    assert sum(one.share for one in found) == pytest.approx(1, abs=1e-3)


def test_the_head_that_knows_the_shops_categories_is_chosen(manifest):
    ballots = [Ballot("a", "red", 1), Ballot("b", "blue", 2)]
    found = Voting(manifest, RULE).count(said(kind={"vase": 0.9}, colour={"blue": 0.8}), ballots)
    assert {one.category: one.own for one in found} == {"red": 0.0, "blue": 0.8}


def test_the_last_part_of_a_path_names_the_category(manifest):
    for text in ("Home / Kitchen / coffee-mug", "home>Coffee Mug", "COFFEE_MUG"):
        found = Voting(manifest, RULE).count(said(kind={"coffee-mug": 0.9}), [Ballot("a", text, 3)])
        assert [(one.category, one.own) for one in found] == [(text, 0.9)]


def test_only_the_nearest_vote_and_those_without_a_category_do_not(manifest):
    voting = Voting(manifest, RULE)
    ballots = [Ballot(f"{i:02}", "vase", i) for i in range(VOTERS)] + [Ballot("far", "bowl", 99)]
    assert [one.category for one in voting.count({}, ballots)] == ["vase"]
    assert voting.count(said(kind={"vase": 1.0}), [Ballot("a", None, 0), Ballot("b", "", 0)]) == []
    assert voting.count({}, []) == []
