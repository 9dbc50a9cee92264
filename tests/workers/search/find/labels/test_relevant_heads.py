from __future__ import annotations

import msgspec
import pytest

from schemas.manifest import Head, Label, Manifest, load_manifest
from schemas.predictions import Prediction, Predictions
from tests.engines.tiny_bundle import write_tiny_bundle
from workers.search.find.labels.naming import Names
from workers.search.find.labels.relevant_heads import RelevantHeads
from workers.search.find.labels.suggest import Suggester


def head(id_: str, datasets: list[str], *values: str, kind: str = "softmax", column: str = "") -> Head:
    labels = [Label(id=v.lower().replace(" ", "-"), index=i, value=v) for i, v in enumerate(values)]
    return Head(id=id_, kind=kind, column=column or id_, datasets=datasets, output=id_, labels=labels)


HEADS = [
    head("object", [], "Tench", "Crane"),
    head("wear.type", ["wear"], "Casual Shoes", "Shirt", column="category"),
    head("wear.usage", ["wear"], "Casual", "Formal"),
    head("food.type", ["food"], "Golden-Apple", "Pear", column="category"),
    head("mystery.type", ["mystery"], "X1", "X2", column="category"),
    head("words", ["wear", "food"], "shoes", "shirt", "apple", "golden", "nice", kind="multi_label"),
]


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    folder = tmp_path_factory.mktemp("bundle")
    write_tiny_bundle(folder)
    return msgspec.structs.replace(load_manifest(folder), heads=HEADS)


def said(**words: float) -> Predictions:
    """Every head is sure of its first label; the words are as given."""
    sure = {h.id: [Prediction(label=h.labels[0].id, probability=0.95, offered=True)] for h in HEADS[:-1]}
    return sure | {"words": [Prediction(label=w, probability=p, offered=p > 0.5) for w, p in words.items()]}


@pytest.mark.parametrize(
    ("words", "silent"),
    [
        ({"shoes": 0.9, "apple": 0.1}, {"food.type"}),
        ({"apple": 0.9, "golden": 0.8, "shirt": 0.3}, {"wear.type", "wear.usage"}),
        ({"apple": 0.6, "shirt": 0.5}, set()),
        ({"nice": 0.99, "shirt": 0.1}, {"food.type", "wear.type", "wear.usage"}),
        ({}, {"food.type", "wear.type", "wear.usage"}),
    ],
)
def test_heads_of_kinds_that_no_word_speaks_for_are_silent(manifest, words, silent):
    predictions = said(**words)
    assert set(predictions) - RelevantHeads(manifest).relevant(predictions) == silent


def test_a_bundle_of_one_kind_is_left_as_it_is(manifest):
    one = msgspec.structs.replace(manifest, heads=[h for h in HEADS if h.id.startswith("wear")])
    predictions = {"wear.usage": [Prediction(label="casual", probability=0.4)]}
    assert RelevantHeads(one).relevant(predictions) == {"wear.usage"}


def test_what_the_row_says_overrules_the_rule(manifest):
    """A bundle with applicability: the words speak for food, but the row says that the clothes' heads apply."""
    names, predictions, applies = Names(manifest), said(apple=0.9), ["object", "wear.type"]
    assert RelevantHeads(manifest).relevant(predictions, applies) == {"object", "wear.type"}
    named = names.named(predictions, "en", applies)
    assert named["wear.type"][0].offered
    assert list(named)[:2] == ["wear.type", "object"], "the finer head leads"
    assert names.tags(predictions, "en", applies) == ["Casual Shoes", "Tench"]
    made = Suggester(names).suggest(predictions, "en", applies)
    assert ({s.head for s in made.category}, made.attributes, made.title_words) == ({"object", "wear.type"}, [], [])


def test_an_apple_is_not_offered_casual(manifest):
    names = Names(manifest)
    named = names.named(said(apple=0.9), "en")
    assert set(list(named)[-2:]) == {"wear.type", "wear.usage"}, "what the photo is not for comes last"
    assert not named["wear.usage"][0].offered
    assert named["wear.usage"][0].probability == 0.95
    assert named["food.type"][0].offered
    assert "Casual" not in names.tags(said(apple=0.9), "en")
    made = Suggester(names).suggest(said(apple=0.9), "en")
    assert {s.head for s in made.category} == {"object", "food.type", "mystery.type"}
    assert made.attributes == []
    assert [s.label for s in made.title_words] == ["apple"]
    worn = Suggester(names).suggest(said(shoes=0.9), "en")
    assert [s.head for s in worn.attributes] == ["wear.usage"]
