"""What speaks against one product for two listings."""

from __future__ import annotations

from schemas.predictions import Prediction, Summary
from workers.products.attributes import Agreements, Attributes, contradict, offered_labels


def labels(**heads: str) -> dict[str, frozenset[str]]:
    return {head: frozenset(text.split()) for head, text in heads.items()}


def test_only_offered_labels_count() -> None:
    said = {
        "colour": [Prediction(label="red", probability=0.9, offered=True), Prediction(label="pink", probability=0.1)],
        "kind": [Prediction(label="mug", probability=0.4)],
    }
    summary = Summary(status="complete", predictions=said, bad_images=[])
    assert offered_labels(summary) == labels(colour="red")


def test_categories_contradict_unless_one_is_missing_or_written_differently() -> None:
    assert contradict(Attributes("Mug"), Attributes("Shoe"))
    assert not contradict(Attributes("Mug"), Attributes(None))
    assert not contradict(Attributes(" coffee  MUG"), Attributes("Coffee mug"))


def test_heads_contradict_if_more_than_so_many_have_no_label_in_common() -> None:
    one = Attributes(labels=labels(colour="red", kind="mug", material="clay glass"))
    other = Attributes(labels=labels(colour="blue", kind="bowl", material="glass"))
    assert [contradict(one, other, most) for most in range(4)] == [True, True, False, False]
    assert [contradict(other, one, most) for most in range(4)] == [True, True, False, False]
    assert not contradict(one, Attributes(labels=labels(size="large"))), "a head that one of them lacks says nothing"
    assert not contradict(one, one)


def test_agreements_are_those_of_each_pair() -> None:
    kinds = [{}, {"kind": frozenset({"mug"})}, {"kind": frozenset({"bowl"})}, {"kind": frozenset({"mug", "bowl"})}]
    held = {
        f"{number}-{category}": Attributes(category, labels)
        for number, labels in enumerate(kinds * 2)
        for category in (None, "Mug", " mug", "shoe")
    }
    found = Agreements(held, 0)
    for one, said in held.items():
        agreeing = {other for other, theirs in held.items() if not contradict(said, theirs, 0)}
        assert {other for other in held if found.agree(one, other)} == agreeing
        assert found.agreeing(one, set(held)) == agreeing
        same = {other for other in held if found.kind(other) == found.kind(one)}
        assert all({name for name in held if found.agree(other, name)} == agreeing for other in same)
    assert len({found.kind(one) for one in held}) == 4 * 3
