"""Bins and the population-stability index against naive twins, photo by photo."""

from __future__ import annotations

import math
import random
from collections import Counter

import numpy as np
import pytest

from deploy.operations import drift as rules
from engines.recognition import HeadPredictions, Predictions
from engines.recognition.drift import (
    FLOOR,
    KEPT_LABELS,
    LabelBins,
    baseline_of,
    domain_counts,
    first_offered,
    psi,
    score_counts,
    score_names,
)
from schemas.baseline import NONE, OTHER
from schemas.manifest import Applicability, Domain, Head, Label, Manifest, Preprocess, Training

COUNT = 30
HEAD = Head(
    id="h",
    kind="softmax",
    column="h",
    datasets=["d"],
    output="h",
    labels=[Label(id=f"l{i}", index=i, value=f"l{i}") for i in range(COUNT)],
)
MANIFEST = Manifest(
    name="m",
    model_version="m-1",
    epoch="0" * 12,
    created="2026-01-01",
    preprocess=Preprocess(width=16, height=16),
    heads=[HEAD],
    applicability=Applicability(domains=[Domain(id="shop", threshold=0.5), Domain(id="street", threshold=0.25)]),
    training=Training(recipe="none", command="none"),
    files={},
)


def drawn(n: int, seed: int, offers: float = 0.3) -> Predictions:
    rng = np.random.default_rng(seed)
    # squared, so that some labels are frequent and some rare
    labels = np.stack([rng.permutation(COUNT)[:3] for _ in range(n)]).astype(np.int32)
    labels[:, 0] = (rng.random(n) ** 3 * COUNT).astype(np.int32)
    probabilities = np.sort(rng.random((n, 3)).astype(np.float32), axis=1)[:, ::-1].copy()
    probabilities[0, 0] = 1.0
    offered = rng.random((n, 3)) < offers
    applies = {name: rng.random(n).astype(np.float32) for name in ("shop", "street")}
    empty = np.zeros((n, 4), np.float32), np.zeros((n, 32), np.uint8)
    return Predictions({"h": HeadPredictions(labels, probabilities, offered)}, *empty, None, applies)


def naive_first(found: HeadPredictions) -> list[int]:
    made = []
    for labels, offered in zip(found.labels.tolist(), found.offered.tolist(), strict=True):
        made.append(next((label for label, is_so in zip(labels, offered, strict=True) if is_so), -1))
    return made


def test_the_first_offered_label_is_that_of_a_loop() -> None:
    found = drawn(400, 1).heads["h"]
    assert first_offered(found).tolist() == naive_first(found)
    assert {-1} < set(naive_first(found))


def test_every_photo_falls_into_one_bin_of_labels_and_one_of_scores() -> None:
    found = drawn(500, 2).heads["h"]
    bins = LabelBins(HEAD, {"l3", "l0", "gone"})
    assert bins.names == ["l0", "l3", OTHER, NONE]
    names = {0: "l0", 3: "l3", -1: NONE}
    expected = Counter(names.get(first, OTHER) for first in naive_first(found))
    assert dict(zip(bins.names, bins.counts(found).tolist(), strict=True)) == expected
    best = [min(int(p * 10), 9) for p in found.probabilities[:, 0].tolist()]
    assert score_counts(found).tolist() == [best.count(i) for i in range(10)]
    assert score_names(10) == ["0.1", "0.2", "0.3", "0.4", "0.5", "0.6", "0.7", "0.8", "0.9", "1"]


def test_domains_are_counted_and_photos_of_none() -> None:
    output = drawn(300, 3)
    assert output.applicability is not None
    pairs = list(zip(output.applicability["shop"].tolist(), output.applicability["street"].tolist(), strict=True))
    assert domain_counts(MANIFEST, output) == {
        "shop": sum(a >= 0.5 for a, _ in pairs),
        "street": sum(b >= 0.25 for _, b in pairs),
        NONE: sum(a < 0.5 and b < 0.25 for a, b in pairs),
    }


def test_a_baseline_gives_each_set_the_same_weight_and_keeps_frequent_labels() -> None:
    large, small = drawn(900, 4), drawn(100, 5, offers=0.9)
    made = baseline_of(MANIFEST, {"large": large, "small": small, "empty": drawn(900, 4).taken(np.zeros(0, np.int64))})
    assert made.photos == {"large": 900, "small": 100}
    shares: Counter[int] = Counter()
    for one in (large, small):
        for first in naive_first(one.heads["h"]):
            shares[first] += 1 / len(one) / 2  # type: ignore[assignment]
    mine = made.heads["h"]
    kept = [name for name in mine.labels if name not in (NONE, OTHER)]
    assert len(kept) <= KEPT_LABELS
    best = sorted((-share, f"l{i}") for i, share in shares.items() if i >= 0)[:KEPT_LABELS]
    assert set(kept) == {name for share, name in best if -share >= 0.01}
    for name in kept:
        assert mine.labels[name] == pytest.approx(shares[int(name[1:])], abs=1e-6)
    assert mine.labels[NONE] == pytest.approx(shares[-1], abs=1e-6)
    assert sum(mine.labels.values()) == pytest.approx(1, abs=1e-4)
    assert sum(mine.scores) == pytest.approx(1, abs=1e-4)
    assert set(made.domains) == {"shop", "street", NONE}
    with pytest.raises(ValueError, match="no photo"):
        baseline_of(MANIFEST, {})


def test_the_index_by_hand() -> None:
    assert psi({"a": 0.5, "b": 0.5}, {"a": 0.5, "b": 0.5}) == 0
    assert psi({"a": 0.2, "b": 0.8}, {"a": 0.8, "b": 0.2}) == pytest.approx(2 * 0.6 * math.log(4))
    assert psi({"a": 1.0}, {"b": 1.0}) == pytest.approx(2 * (1 - FLOOR) * math.log(1 / FLOOR))


def test_the_index_is_the_divergence_in_both_directions() -> None:
    """Its twin is another formula: KL(a, b) + KL(b, a)."""
    draw = random.Random(6)
    for _ in range(50):
        a, b = ([draw.random() + 0.02 for _ in range(14)] for _ in range(2))
        a, b = [x / sum(a) for x in a], [x / sum(b) for x in b]
        kl = sum(p * math.log(p / q) for p, q in zip(a, b, strict=True))
        back = sum(q * math.log(q / p) for p, q in zip(a, b, strict=True))
        assert psi(dict(enumerate(a)), dict(enumerate(b))) == pytest.approx(kl + back)


def test_chance_alone_stays_far_below_the_limit_of_the_alert() -> None:
    """Two samples of one distribution: the mean is (bins - 1)(1/n + 1/m), and hardly a sample reaches the limit."""
    rng = np.random.default_rng(7)
    shares = rng.dirichlet(np.full(14, 3.0))
    n = rules.LEAST_PHOTOS
    found = []
    for _ in range(300):
        a, b = rng.multinomial(n, shares) / n, rng.multinomial(n, shares) / n
        found.append(psi(dict(enumerate(a.tolist())), dict(enumerate(b.tolist()))))
    assert np.mean(found) == pytest.approx(13 * 2 / n, rel=0.15)
    assert max(found) < rules.PSI_LIMIT


def test_the_rules_have_the_same_floor() -> None:
    assert rules.FLOOR == FLOOR
