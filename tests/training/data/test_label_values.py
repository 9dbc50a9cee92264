"""Labels of rows: merged texts, and names of labels that are not there."""

from __future__ import annotations

import pytest

from schemas.errors import ConfigError
from training.data.label_values import check_labels, labels_of, values_of
from training.recipe import HeadSpec

MERGE = {"tee": "t-shirt", "tshirt": "t-shirt"}


@pytest.mark.parametrize(
    ("kind", "cell", "labels"),
    [
        ("softmax", "tee", {"t-shirt"}),
        ("softmax", "t-shirt", {"t-shirt"}),
        ("softmax", "hat", {"hat"}),
        ("softmax", "", set()),
        ("multi_label", "tee|tshirt|hat", {"t-shirt", "hat"}),
    ],
)
def test_merged_texts_are_one_label(kind: str, cell: str, labels: set[str]) -> None:
    head = HeadSpec(id="a", column="kind", kind=kind, merge=MERGE)  # type: ignore[arg-type]
    assert labels_of(head, {"kind": cell}) == labels
    assert labels_of(head, None) == frozenset()


def test_labels_need_enough_photos() -> None:
    head = HeadSpec(id="a", column="kind", min_photos=2)
    assert values_of(head, {"b": 2, "a": 3, "c": 1}) == ["a", "b"]
    with pytest.raises(ConfigError, match="a head needs two"):
        values_of(head, {"b": 2, "a": 1})


def test_a_merge_or_a_name_of_nothing_is_refused() -> None:
    rows = [{"kind": kind, "split": "train"} for kind in ("tee", "hat", "t-shirt")]
    check_labels(HeadSpec(id="a", column="kind", merge={"tee": "t-shirt"}, names={"hat": {"de": "Hut"}}), rows)
    with pytest.raises(ConfigError, match=r"heads\[a\].merge: no row has 'tshirt'"):
        check_labels(HeadSpec(id="a", column="kind", merge=MERGE), rows)
    with pytest.raises(ConfigError, match=r"heads\[a\].names: no label 'tee'; the labels are hat, t-shirt"):
        check_labels(HeadSpec(id="a", column="kind", merge={"tee": "t-shirt"}, names={"tee": {"de": "T"}}), rows)
    with pytest.raises(ValueError, match="merged and merged into"):
        HeadSpec(id="a", column="kind", merge={"tee": "tshirt", "tshirt": "t-shirt"})
