"""Batches: every photo once a pass, the same after a resume, and photos of one product together."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from training.data.batch_order import Stream, in_groups


def test_every_pass_has_every_photo_once_and_any_step_can_be_drawn_alone() -> None:
    index = np.arange(100, 117)
    stream = Stream(index, 5, 3, None, 1)
    drawn = np.concatenate([stream.slice(step) for step in range(17)])
    for part in np.split(drawn, 5):
        assert sorted(part) == list(index)
    assert Stream(index, 5, 3, None, 1).slice(11).tolist() == drawn[55:60].tolist()
    assert Stream(index, 5, 4, None, 1).slice(0).tolist() != drawn[:5].tolist()


@pytest.mark.parametrize("size", [2, 3])
def test_a_group_has_one_product_and_every_photo_comes(size: int) -> None:
    draw = np.random.default_rng(5)
    products = np.array([4, 4, 4, 4, 4, 9, 2, 2, 2, 7, 7, -1, -1])
    order = in_groups(draw.permutation(len(products)), products, size, draw)
    groups = order.reshape(-1, size)
    assert all(len(set(products[group].tolist())) == 1 for group in groups)
    assert set(order.tolist()) == set(range(len(products)))
    sizes = Counter(products.tolist())
    for product, times in Counter(products[groups[:, 0]].tolist()).items():
        assert times == -(-sizes[product] // size), "no more groups than its photos fill"
    for group in groups:
        own = sizes[int(products[group[0]])]
        assert len(set(group.tolist())) == min(size, own), "a photo comes twice only where there are too few"


def test_batches_of_groups_come_again_from_their_step() -> None:
    products = np.repeat(np.arange(6), 3)
    stream = Stream(np.arange(18), 4, 1, products, 2)
    drawn = [stream.slice(step) for step in range(14)]
    for batch in drawn:
        assert products[batch[0]] == products[batch[1]]
        assert products[batch[2]] == products[batch[3]]
    assert Stream(np.arange(18), 4, 1, products, 2).slice(13).tolist() == drawn[13].tolist()
    assert set(np.concatenate(drawn[:6]).tolist()) == set(range(18))  # 24 places a pass
