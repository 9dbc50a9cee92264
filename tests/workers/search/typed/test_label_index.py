"""The label index, against the relevance of every listing worked out one by one."""

from __future__ import annotations

import math
import random

import pytest

from schemas.predictions import Prediction, Predictions
from workers.search.typed import label_index
from workers.search.typed.label_index import LabelIndex
from workers.search.typed.query import Choice, Term, TypedRule, Weighed, relevance

HEADS = {"colour": ["red", "blue", "green"], "kind": ["mug", "shoe"], "words": ["cosy", "old"]}
WORDS = ["red", "mug", "nike", "large", "cosy"]
Listing = tuple[Predictions, tuple[str, ...]]


def drawn(rng: random.Random) -> Listing:
    said = {
        head: [Prediction(label=one, probability=rng.choice([0.0, 0.01, 0.3, 0.3, 0.9])) for one in labels]
        for head, labels in HEADS.items()
        if rng.random() < 0.8
    }
    return said, tuple(rng.sample(WORDS, rng.randint(0, 3)))


def drawn_query(rng: random.Random) -> list[tuple[Term, float]]:
    terms = []
    for _ in range(rng.randint(1, 3)):
        heads = rng.sample(list(HEADS), rng.randint(0, 2))
        choices = tuple(
            Choice(head, tuple(rng.sample(HEADS[head], rng.randint(1, 2))), head != "words") for head in heads
        )
        words = tuple(rng.sample(WORDS, rng.randint(0 if choices else 1, 2)))
        terms.append((Term(choices, words), rng.choice([1.0, 0.4])))
    return terms


def naive(held: dict[str, Listing], weighed: Weighed, count: int, titles: bool) -> list[tuple[str, float]]:
    """Every listing that answers a term, by relevance."""
    found = []
    for name, (said, words) in held.items():
        mine = words if titles else ()
        floor = TypedRule().floor
        if any(relevance([(term, 1.0)], said, mine) > floor for term, _ in weighed):
            found.append((name, relevance(weighed, said, mine)))
    return sorted(found, key=lambda one: (-one[1], one[0]))[:count]


@pytest.mark.parametrize("seed", range(8))
def test_answers_are_those_of_a_look_at_every_listing(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(label_index, "_CLEAR_FROM", 5)  # so that dead numbers are cleared many times
    rng = random.Random(seed)
    index, held = LabelIndex(most=100), dict[str, Listing]()
    for _ in range(300):
        name = f"listing/{rng.randrange(40)}"
        if rng.random() < 0.3:
            index.remove(name)
            held.pop(name, None)
        else:
            held[name] = drawn(rng)
            index.put(name, *held[name])
    assert len(index) == len(held)
    for titles in (True, False):
        for count in (1, 5, 100):
            weighed = drawn_query(rng)
            expected = naive(held, weighed, count, titles)
            found = index.search(weighed, count, titles=titles)
            assert [round(p, 3) for _, p in found] == pytest.approx([round(p, 3) for _, p in expected], abs=2e-3)
            if count == 100:
                assert {name for name, _ in found} == {name for name, _ in expected}


def put(index: LabelIndex, name: str, *words: str, **colours: float) -> None:
    index.put(name, {"colour": [Prediction(label=c, probability=p) for c, p in colours.items()]}, words)


RED = Term((Choice("colour", ("red",), True),), ("red",))


def test_words_without_labels_weigh_by_how_few_titles_have_them() -> None:
    index = LabelIndex(most=10)
    for i in range(4):
        put(index, f"{i}", "nike", *(["rare"] if i == 0 else []), red=0.5)
    nike, rare, none = (Term((), (word,)) for word in ("nike", "rare", "xyzzy"))
    assert index.weigh([RED, nike, rare, none]) == [
        (RED, 1.0),
        (nike, pytest.approx(math.log(2) / math.log(5))),
        (rare, pytest.approx(1.0)),
    ]
    index.remove("0")
    assert index.weigh([rare, nike]) == [(nike, pytest.approx(math.log(2) / math.log(4)))]
    put(index, "0", "nike", "rare", red=0.5)
    assert index.weigh([RED, nike], titles=False) == [(RED, 1.0)]
    assert index.weigh([Term((), ("nike", "rare"))]) == [(Term((), ("nike", "rare")), pytest.approx(1.0))]


def test_a_full_index_leaves_listings_out_and_says_so() -> None:
    index = LabelIndex(most=2)
    for name in ("a", "b", "c"):
        put(index, name, red=0.9)
    assert (len(index), index.left_out) == (2, 1)
    assert [name for name, _ in index.search([(RED, 1.0)], 10)] == ["a", "b"]
    put(index, "a", red=0.5)  # a change needs no room
    assert [name for name, _ in index.search([(RED, 1.0)], 10)] == ["b", "a"]
    index.remove("c")
    assert index.left_out == 0
    index.remove("a")
    put(index, "c", red=0.95)
    assert [name for name, _ in index.search([(RED, 1.0)], 10)] == ["c", "b"]


def test_ties_are_ordered_by_id_and_an_empty_index_finds_nothing() -> None:
    index = LabelIndex(most=10)
    assert index.search([(RED, 1.0)], 10) == []
    for name in ("b", "c", "a"):
        put(index, name, red=0.9)
    assert [name for name, _ in index.search([(RED, 1.0)], 2)] == ["a", "b"]
    assert index.search([], 10) == []


def test_room_is_for_those_that_were_left_out_and_words_have_a_bound() -> None:
    index = LabelIndex(most=2, most_words=3)
    for name in "abcde":
        put(index, name, f"word-{name}", red=0.9)
    assert (index.with_room(10), index.left_out) == ([], 3)
    index.remove("a")
    assert len(index.with_room(10)) == 1
    index.remove("b")
    assert len(index.with_room(1)) == 1
    waiting = index.with_room(10)
    assert len(waiting) == 2
    assert set(waiting) < {"c", "d", "e"}
    for name in ("c", "d"):
        put(index, name, f"word-{name}", "word-a", red=0.9)
    assert (index.with_room(10), index.left_out) == ([], 1)
    words = {name: index.search([(Term((), (f"word-{name}",)), 1.0)], 10) for name in "acd"}
    assert [name for name, _ in words["a"]] == ["c", "d"]
    assert [name for name, _ in words["c"]] == ["c"]
    assert words["d"] == [], "a fourth word has no room"
