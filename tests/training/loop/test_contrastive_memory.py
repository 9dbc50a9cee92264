"""The memory against a deque: the last entries, whatever the sizes of the batches; and what counts as the same."""

from __future__ import annotations

from collections import deque

import pytest
import torch

from training.loop.contrastive_memory import Memory


@pytest.mark.parametrize("size", [1, 5, 16])
def test_it_holds_the_last_entries(size: int) -> None:
    draw = torch.Generator().manual_seed(size)
    memory, twin = Memory(size, 3), deque(maxlen=size)
    for _ in range(40):
        n = int(torch.randint(1, size + 1, (1,), generator=draw))
        numbers, products = torch.randint(0, 1000, (2, n), generator=draw)
        codes = torch.randn(n, 3, generator=draw)
        memory.add(numbers, products, codes)
        twin.extend(zip(numbers.tolist(), products.tolist(), codes.tolist(), strict=True))
        held = zip(memory.numbers.tolist(), memory.products.tolist(), memory.codes.tolist(), strict=True)
        assert sorted(one for one in held if one[0] >= 0) == sorted(twin)


def test_the_same_photo_the_same_product_and_empty_entries_are_no_negatives() -> None:
    memory = Memory(4, 1)
    memory.add(torch.tensor([1, 2, 3]), torch.tensor([7, -1, 8]), torch.zeros(3, 1))
    same = memory.same(torch.tensor([1, 9, 9, 9]), torch.tensor([-1, 8, -1, 5]))
    #          photo 1 of 7, photo 2 of none, photo 3 of 8, empty
    assert same.tolist() == [
        [True, False, False, True],  # the same photo
        [False, False, True, True],  # the same product
        [False, False, False, True],  # two photos without a product are not of one product
        [False, False, False, True],
    ]


def test_codes_are_kept_without_their_gradients_and_come_back_from_a_checkpoint() -> None:
    memory, again = Memory(3, 2), Memory(3, 2)
    memory.add(torch.tensor([1, 2]), torch.tensor([1, 2]), torch.ones(2, 2, dtype=torch.float64, requires_grad=True))
    assert not memory.codes.requires_grad
    again.load_state_dict(memory.state_dict())
    for one in (memory, again):
        one.add(torch.tensor([3, 4]), torch.tensor([3, 4]), torch.full((2, 2), 5.0))
    assert again.numbers.tolist() == memory.numbers.tolist() == [4, 2, 3]
    assert torch.equal(again.codes, memory.codes)
