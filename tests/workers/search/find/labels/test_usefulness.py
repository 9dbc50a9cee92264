"""The order of heads: what the thing is first, the head for everything where no finer one applies, hidden never."""

from __future__ import annotations

import msgspec
import pytest

from schemas.manifest import Applicability, Domain, Head, Label, Manifest, load_manifest
from schemas.predictions import Prediction, Predictions
from tests.engines.tiny_bundle import write_tiny_bundle
from workers.search.find.labels.naming import Names
from workers.search.find.labels.suggest import Suggester
from workers.search.find.labels.usefulness import Usefulness


def head(id_: str, column: str, count: int, domain: str = "", *, kind: str = "softmax") -> Head:
    labels = [Label(id=f"{id_}-{i}", index=i, value=f"{id_} {i}") for i in range(count)]
    return Head(
        id=id_, kind=kind, column=column, datasets=[domain or "every"], output=id_, labels=labels, domain=domain
    )


HEADS = [
    head("gender", "gender", 5, "fashion"),
    head("master", "masterCategory", 4, "fashion"),
    head("article", "articleType", 40, "fashion"),
    head("object", "imagenet", 90),
    head("words", "query", 30, kind="multi_label"),
]
EVERY = [one.id for one in HEADS]


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    folder = tmp_path_factory.mktemp("bundle")
    write_tiny_bundle(folder)
    gates = Applicability(domains=[Domain(id="fashion", threshold=0.5)])
    return msgspec.structs.replace(load_manifest(folder), heads=HEADS, applicability=gates)


def said(**best: float) -> Predictions:
    """Each head's first label with the given probability, offered from 0.8 on; 0.1 for heads that are not named."""
    return {
        one: [Prediction(label=f"{one}-0", probability=best.get(one, 0.1), offered=best.get(one, 0.1) >= 0.8)]
        for one in EVERY
    }


@pytest.mark.parametrize(
    ("best", "applies", "order"),
    [
        ({"article": 0.9, "master": 0.99, "gender": 0.95, "object": 0.97}, EVERY, "article master object gender words"),
        ({"master": 0.9, "gender": 0.95, "object": 0.97}, EVERY, "master object gender article words"),
        ({"gender": 0.9}, EVERY, "gender article master object words"),
        ({"words": 0.9, "gender": 0.99}, ["object", "words"], "object words gender article master"),
        ({}, ["object", "words"], "object words article master gender"),
        ({"object": 0.9, "words": 0.95}, ["object", "words"], "object words article master gender"),
    ],
)
def test_what_the_thing_is_comes_first_and_what_does_not_apply_last(manifest, best, applies, order):
    assert Usefulness(manifest).order(said(**best), applies) == order.split()


def test_a_hidden_head_is_in_no_name_tag_or_suggestion(manifest):
    predictions = said(article=0.9, gender=0.95, words=0.9)
    assert Names(manifest).tags(predictions, "en", EVERY) == ["article 0", "gender 0", "words 0"]
    names = Names(manifest, Usefulness(manifest, hidden=["gender", "words"]))
    assert set(names.named(predictions, "en", EVERY)) == {"article", "master", "object"}
    assert names.applies(EVERY) == ["master", "article", "object"]
    assert names.applies(None) is None
    assert names.tags(predictions, "en", EVERY) == ["article 0"]
    made = Suggester(names).suggest(predictions, "en", EVERY)
    assert {s.head for s in made.category} == {"article", "master", "object"}
    assert made.attributes == made.title_words == []
