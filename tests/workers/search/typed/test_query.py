"""Terms and relevance, against values worked out by hand."""

from __future__ import annotations

import math

import pytest

from engines.words import Phrases
from schemas.manifest import Manifest
from schemas.predictions import Prediction
from tests.engines.words.test_phrases import MANIFEST
from workers.search.typed.query import Choice, Reader, Term, TypedRule, relevance, title_words

RULE = TypedRule(title=0.5, floor=0.01)


def says(**labels: float) -> list[Prediction]:
    return [Prediction(label=label, probability=p) for label, p in labels.items()]


def reader(manifest: Manifest = MANIFEST) -> Reader:
    return Reader(manifest, Phrases(manifest))


RED = Term((Choice("colour", ("red",), True),), ("red",))
MUG = Term((Choice("kind", ("mug",), True),), ("mug",))


def test_each_phrase_is_one_term_and_function_words_are_none() -> None:
    query = reader().read("a red mug with mugs and xyzzy")
    assert [one.text for one in query.meaning.phrases] == ["red", "mug", "mugs", "xyzzy"]
    red = Term((Choice("colour", ("red",), True), Choice("words", ("red",), True)), ("red",))
    assert query.terms == (red, MUG, Term((), ("xyzzy",)))


def test_what_follows_sixteen_terms_is_not_understood() -> None:
    query = reader().read(" ".join(f"x{i}" for i in range(15)) + " red x1 bottle mug")
    assert len(query.terms) == 16
    assert [bool(one.labels) for one in query.meaning.phrases] == [False] * 15 + [True] + [False] * 3
    assert query.terms[-1].words == ("red",)


def test_labels_of_one_head_are_one_choice() -> None:
    (term,) = reader().read("soyghurt").terms
    assert term.choices == (Choice("kind", ("blueberry-soyghurt", "vanilla-soyghurt"), True),)


@pytest.mark.parametrize(
    ("predictions", "words", "expected"),
    [
        ({"colour": says(red=0.9), "kind": says(mug=0.4)}, (), math.sqrt(0.9 * 0.4)),
        ({"colour": says(red=0.9)}, (), math.sqrt(0.9 * 0.01)),  # a term that is not answered has the floor
        ({"colour": says(red=0.019), "kind": says(mug=1.0)}, (), math.sqrt(0.01)),  # below LEAST
        ({"colour": says(red=0.8), "kind": says(mug=0.4)}, ("red",), math.sqrt(0.9 * 0.4)),  # 1 - 0.2 · 0.5
        ({}, ("mug", "red"), 0.5),
        ({}, (), 0.01),
    ],
)
def test_relevance_is_the_geometric_mean_of_what_photo_and_title_answer(predictions, words, expected) -> None:
    assert relevance([(RED, 1.0), (MUG, 1.0)], predictions, words, RULE) == pytest.approx(expected, abs=1e-4)


def test_exclusive_labels_add_up_and_others_do_not() -> None:
    both = {"kind": says(a=0.3, b=0.4)}
    assert relevance([(Term((Choice("kind", ("a", "b"), True),), ()), 1.0)], both) == pytest.approx(0.7)
    assert relevance([(Term((Choice("kind", ("a", "b"), False),), ()), 1.0)], both) == pytest.approx(0.4)
    two = Term((Choice("kind", ("a",), True), Choice("other", ("x",), False)), ())
    assert relevance([(two, 1.0)], both | {"other": says(x=0.6)}) == pytest.approx(0.6)


def test_a_light_term_changes_little_and_no_term_is_no_relevance() -> None:
    weighed = [(MUG, 1.0), (Term((), ("nike",)), 0.25)]
    expected = math.exp((math.log(0.8) + 0.25 * math.log(0.01)) / 1.25)
    assert relevance(weighed, {"kind": says(mug=0.8)}, (), RULE) == pytest.approx(expected, abs=1e-4)
    assert relevance([], {"kind": says(mug=0.8)}) == 0.0


def test_words_of_titles_are_compared_like_phrases_and_bounded() -> None:
    assert title_words("RED Mugs, red mug: 红色") == ("red", "mug", "红", "色")
    assert len(title_words(" ".join(f"w{i}" for i in range(1000)))) == 64
