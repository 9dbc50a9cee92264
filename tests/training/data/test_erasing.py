"""Which parts of a view are erased: cells of a grid, and the place where the network looks."""

from __future__ import annotations

import torch

from training.data.augment import augment
from training.data.erasing import AREA, CELL_SHARE, CELLS, erase_cells, erase_salient
from training.recipe import View

torch.set_num_threads(1)


def seeded(number: int) -> torch.Generator:
    return torch.Generator().manual_seed(number)


def test_cells_are_whole_and_as_many_as_chance_gives() -> None:
    n, side = 200, 8 * CELLS
    photos = torch.rand(n, 3, side, side, generator=seeded(1))
    mean = photos.mean((1, 2, 3), keepdim=True)
    erased = erase_cells(photos, 0.5, seeded(2), mean)
    changed = (erased != photos).any(1).view(n, CELLS, 8, CELLS, 8)
    whole, touched = changed.all(4).all(2), changed.any(4).any(2)
    assert torch.equal(whole, touched), "a cell is filled whole or not at all"
    chosen = touched.flatten(1).any(1)
    assert 70 <= int(chosen.sum()) <= 130
    assert abs(float(whole[chosen].float().mean()) - CELL_SHARE) < 0.02
    assert torch.equal(torch.where(changed.reshape(n, 1, side, side), mean, photos), erased)


def test_the_salient_place_is_erased() -> None:
    photos = torch.rand(6, 3, 64, 64, generator=seeded(3))
    maps = torch.rand(6, 5, 4, 4, generator=seeded(4))
    places = [(0, 0), (3, 3), (1, 2), (2, 1), (0, 3), (3, 0)]
    for number, (row, column) in enumerate(places):
        maps[number, :, row, column] = 5.0
        maps[number, 0, 3 - row, 3 - column] = -50.0  # what is negative does not draw the eye
    erased = erase_salient(photos, maps, 1.0, seeded(5))
    for photo, after, (row, column) in zip(photos, erased, places, strict=True):
        changed = (photo != after).any(0)
        y, x = 16 * row + 8, 16 * column + 8  # the middle of the map's cell in pixels
        assert bool(changed[y - 1 : y + 1, x - 1 : x + 1].all())
        rows, columns = changed.any(1).nonzero().flatten(), changed.any(0).nonzero().flatten()
        assert len(rows) <= AREA[1] ** 0.5 * 64 + 2
        assert len(columns) <= AREA[1] ** 0.5 * 64 + 2
        assert torch.allclose(after[:, changed], photo.mean().expand_as(after[:, changed]), atol=1e-5)
    assert torch.equal(erase_salient(photos, maps, 0.0, seeded(5)), photos)


def test_a_view_asks_for_its_way() -> None:
    photos = torch.randint(0, 256, (8, 40, 40, 3), dtype=torch.uint8, generator=seeded(6))
    views = (View(), View(erase=1.0, erased="cells"), View(erase=1.0, erased="salient"))
    plain, cells, salient = (augment(photos, view, 32, seeded(7)) for view in views)
    assert not torch.equal(plain, cells)
    assert torch.equal(plain, salient), "the trainer erases by the network's map afterwards"
