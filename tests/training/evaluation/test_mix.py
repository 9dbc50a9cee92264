"""The report on a mix of photos, against figures worked out by hand."""

from __future__ import annotations

import csv
from pathlib import Path

import msgspec
import numpy as np
import pytest

from engines.recognition import HeadPredictions, Predictions
from schemas.manifest import Applicability, Calibration, Domain, Head, Label, Manifest, Preprocess, Training
from training.evaluation.folder import Predicted
from training.evaluation.mix import MixSet, evenly, mix_report, most_right, objects_column
from training.readers.related import without_related


def head(id_: str, *datasets: str, domain: str = "") -> Head:
    labels = [Label(id=f"{id_}-{i}", index=i, value=f"{id_}{i}") for i in range(3)]
    return Head(
        id=id_,
        kind="softmax",
        column=id_,
        datasets=list(datasets),
        output=id_,
        labels=labels,
        threshold=0.5,
        target_precision=0.75,
        domain=domain,
    )


HEADS = [head("kind", "food", domain="food"), head("cut", "wear", domain="wear"), head("thing")]
MANIFEST = Manifest(
    name="m",
    model_version="m-1",
    epoch="0" * 12,
    created="2026-01-01",
    preprocess=Preprocess(width=16, height=16),
    heads=HEADS,
    applicability=Applicability(domains=[Domain(id="food", threshold=0.5), Domain(id="wear", threshold=0.5)]),
    training=Training(recipe="none", command="none"),
    files={},
)


def photos(rows: list[dict[str, str]], applies: dict[str, list[float]], **said: list[tuple[int, float]]) -> Predicted:
    """Each head says one label with a probability of each photo, and another one with 0."""
    n, found = len(rows), {}
    for one in HEADS:
        first = said.get(one.id, [(0, 0.0)] * n)
        labels = np.array([[label, (label + 1) % 3] for label, _ in first], np.int32)
        probabilities = np.array([[p, 0.0] for _, p in first], np.float32)
        offered = probabilities >= 0.5
        if one.domain:
            offered &= (np.array(applies[one.domain]) >= 0.5)[:, None]
        found[one.id] = HeadPredictions(labels, probabilities, offered)
    known = {name: np.array(values, np.float32) for name, values in applies.items()}
    none = np.zeros((n, 0), np.float32)
    return Predicted(MANIFEST, rows, Predictions(found, none, np.zeros((n, 32), np.uint8), None, known), [])


FOOD = photos(
    [{"path": f"f{i}", "kind": f"kind{t}"} for i, t in enumerate((0, 1, 2, 0))],
    {"food": [0.9, 0.9, 0.4, 0.9], "wear": [0.1, 0.9, 0.1, 0.1]},
    kind=[(0, 0.9), (1, 0.8), (2, 0.3), (1, 0.6)],  # right, right, right but silent, wrong
    cut=[(0, 0.1), (2, 0.7), (0, 0.9), (0, 0.1)],  # one nonsense; .9 is silent, as the head does not apply
)
STREET = photos(
    [{"path": "s0", "name": "thing1"}, {"path": "s1", "name": "thing2"}],
    {"food": [0.8, 0.1], "wear": [0.1, 0.1]},
    kind=[(0, 0.55), (0, 0.1)],
    thing=[(1, 0.9), (0, 0.9)],
)


def test_nonsense_is_what_heads_of_other_photos_offer() -> None:
    report = mix_report(MANIFEST, {"food": MixSet(FOOD), "street": MixSet(STREET)})
    assert report["sets"]["food"] == {"photos": 4, "nonsense": 0.25, "touched": 0.25}
    assert report["sets"]["street"] == {"photos": 2, "nonsense": 0.5, "touched": 0.5}
    shown = mix_report(MANIFEST, {"food": MixSet(FOOD), "street": MixSet(STREET, frozenset({"food"}))})
    assert shown["sets"]["street"]["nonsense"] == 0, "photos that show food may be called food"


def test_the_figures_of_a_head() -> None:
    found = mix_report(MANIFEST, {"food": MixSet(FOOD), "street": MixSet(STREET, objects="name")})["heads"]
    assert set(found) == {"kind", "thing"}, "the head of clothes has no photo of its own"
    kind = found["kind"]
    assert (kind["photos"], kind["offers"], kind["top1"]) == (4, 4, 0.75)
    assert kind["precision"] == pytest.approx(2 / 4), "two right, one wrong, one on the street"
    assert kind["offered"] == pytest.approx(3 / 4)
    assert kind["best_offered"] == pytest.approx(2 / 4), "at .8 both offers are right; at .6 two of three are"
    assert kind["lost"] == pytest.approx(1 / 3), "without p(applies), three right and one wrong are as precise"
    assert (found["thing"]["photos"], found["thing"]["precision"], found["thing"]["lost"]) == (2, 0.5, 0.0)


def test_what_is_lost_is_counted_over_all_heads_of_a_domain() -> None:
    """The head `kind` has two right offers with p(applies) and three without it, and it is alone in its domain."""
    report = mix_report(MANIFEST, {"food": MixSet(FOOD)})
    assert report["pooled"]["worst_lost"] == pytest.approx(1 / 3)


def test_p_applies_that_is_the_same_for_all_photos_loses_nothing() -> None:
    """Calibration is undone before p(applies) is, so a table that is steep in one place makes no difference."""
    steep = Calibration(x=[0.0, 0.4, 0.5, 1.0], y=[0.0, 0.1, 0.9, 0.95])
    heads = [msgspec.structs.replace(HEADS[0], calibration=steep), *HEADS[1:]]
    raw = np.array([0.9, 0.7, 0.5, 0.45])  # of the product with p(applies)
    said = np.interp(raw, steep.x, steep.y)
    food = photos(
        [{"path": f"f{i}", "kind": "kind0"} for i in range(4)],
        {"food": [0.9] * 4, "wear": [0.1] * 4},
        kind=[(int(i == 2), float(p)) for i, p in enumerate(said)],  # right, right, wrong, right
    )
    found = mix_report(msgspec.structs.replace(MANIFEST, heads=heads), {"food": MixSet(food)})
    assert found["heads"]["kind"]["lost"] == 0


def test_most_right_against_a_loop() -> None:
    rng = np.random.default_rng(0)
    said, right = np.round(rng.random(60), 1), rng.random(60) < 0.7
    for precision in (0.5, 0.7, 0.8, 1.0):
        counts = [
            int(right[said >= t].sum()) for t in np.unique(said) if t > 0 and right[said >= t].mean() >= precision
        ]
        assert most_right(said, right, precision) == max(counts, default=0)


def test_the_column_with_known_objects_is_found() -> None:
    rows = [{"path": "a", "split": "test", "kind": "kind1", "what": "thing2"}, {"path": "b", "what": "thing0"}]
    assert objects_column(MANIFEST, rows) == "what"
    assert objects_column(MANIFEST, [{"path": "a", "label": "beans"}]) == ""


def test_heads_with_few_offers_are_pooled() -> None:
    report = mix_report(MANIFEST, {"food": MixSet(FOOD), "street": MixSet(STREET, objects="name")})
    assert report["pooled"]["offers"] == 6
    assert report["pooled"]["precision"] == pytest.approx((2 + 1) / 6)
    assert report["pooled"]["worst_ece"] == max(f["ece"] for f in report["heads"].values())


def test_the_same_photos_are_drawn_each_time() -> None:
    rows = [{"path": str(i)} for i in range(50)]
    drawn = evenly(rows, 20)
    assert len(drawn) == 20
    assert drawn == [row for row in rows if row in drawn] == evenly(list(rows), 20)
    assert evenly(rows, 99) == rows


def test_related_photos_are_left_out(tmp_path: Path) -> None:
    rows = [{"path": "a", "index": "1"}, {"path": "b", "index": "2"}, {"path": "c", "index": "3"}]
    assert without_related(tmp_path, rows) == rows
    with (tmp_path / "related.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["index", "why"], ["2", "shoes"]])
    assert without_related(tmp_path, rows) == [rows[0], rows[2]]
