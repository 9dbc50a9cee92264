"""Against a twin that follows the paper step by step, with sets and dictionaries."""

from __future__ import annotations

import math

import numpy as np
import pytest

from workers.search.find.rerank import RerankRule, hamming, k_reciprocal


def twin(distances: list[list[float]], rule: RerankRule) -> list[float]:
    n = len(distances)
    most = [max(*(row[j] for row in distances), 1.0) for j in range(n)]
    d = [[distances[j][i] / most[i] for j in range(n)] for i in range(n)]
    ranked = [sorted(range(n), key=lambda j, i=i: (d[i][j], j)) for i in range(n)]

    def reciprocal(p: int, k: int) -> set[int]:
        return {g for g in ranked[p][: k + 1] if p in ranked[g][: k + 1]}

    encodings = []
    for p in range(n):
        base = reciprocal(p, rule.k1)
        expanded = set(base)
        for q in base:
            half = reciprocal(q, round(rule.k1 / 2))
            if len(half & base) > 2 / 3 * len(half) + 1e-9:
                expanded |= half
        weights = {g: math.exp(-d[p][g]) for g in expanded}
        total = sum(weights.values())
        encodings.append({g: w / total for g, w in weights.items()})
    smooth = []
    for p in range(n):
        near = ranked[p][: rule.k2] if rule.k2 > 1 else [p]
        smooth.append({g: sum(encodings[q].get(g, 0.0) for q in near) / len(near) for g in range(n)})
    final = []
    for g in range(1, n):
        low = sum(min(smooth[0][i], smooth[g][i]) for i in range(n))
        high = sum(max(smooth[0][i], smooth[g][i]) for i in range(n))
        final.append((1 - rule.own) * (1 - low / high) + rule.own * d[0][g])
    return final


@pytest.mark.parametrize("n", [2, 3, 12, 40])
@pytest.mark.parametrize("rule", [RerankRule(), RerankRule(k1=5, k2=1), RerankRule(k1=3, k2=4, own=0.0)])
def test_it_is_the_paper(n, rule):
    rng = np.random.default_rng(n)
    centres = rng.integers(0, 256, (4, 32), dtype=np.uint8)
    codes = centres[rng.integers(0, 4, n)] ^ np.packbits(rng.random((n, 256)) < 0.1, axis=1)
    distances = hamming(codes)
    assert k_reciprocal(distances, rule) == pytest.approx(twin(distances.tolist(), rule), abs=1e-9)


def test_hamming_counts_bits():
    codes = np.random.default_rng(1).integers(0, 256, (7, 32), dtype=np.uint8)
    bits = np.unpackbits(codes, axis=1).astype(int)
    assert (hamming(codes) == abs(bits[:, None] - bits[None]).sum(2)).all()


def test_a_group_pulls_its_own_past_a_loner():
    """The query is of a group of ten; a loner stands as near to it as the farther members, but to it alone."""
    rng = np.random.default_rng(2)
    centre = rng.integers(0, 256, 32, dtype=np.uint8)
    group = centre ^ np.packbits(rng.random((10, 256)) < 0.08, axis=1)
    query = centre ^ np.packbits(rng.random(256) < 0.08)
    bits = np.unpackbits(query)
    bits[rng.choice(256, 33, replace=False)] ^= 1
    others = rng.integers(0, 256, (30, 32), dtype=np.uint8)
    distances = hamming(np.concatenate([query[None], group, np.packbits(bits)[None], others]))
    loner = 10
    assert (distances[0, 1:11] > distances[0, 1 + loner]).sum() >= 2, "by distance alone it beats some of the group"
    final = k_reciprocal(distances, RerankRule(k1=10, k2=3))
    assert (final[:10] < final[loner]).all()


def test_equal_photos_are_no_fault():
    assert np.isfinite(k_reciprocal(hamming(np.zeros((5, 32), np.uint8)))).all()
