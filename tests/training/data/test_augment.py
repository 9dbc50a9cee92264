"""Views of photos: their form, their seed, erased boxes, and that hue stays."""

from __future__ import annotations

import pytest
import torch

from training.data.augment import augment
from training.recipe import Augment, View

torch.set_num_threads(1)


@pytest.mark.parametrize("view", [Augment().weak, Augment().strong, View(erase=1.0)])
def test_views_have_their_form_and_come_again_from_their_seed(view: View) -> None:
    photos = torch.randint(0, 256, (3, 40, 40, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    first = augment(photos, view, 24, torch.Generator().manual_seed(5))
    again = augment(photos, view, 24, torch.Generator().manual_seed(5))
    assert first.shape == (3, 3, 24, 24)
    assert torch.equal(first, again)
    assert 0 <= float(first.min()) <= float(first.max()) <= 255


def test_erasing_puts_one_box_of_the_mean_colour_into_the_photos_it_chooses() -> None:
    generator = torch.Generator().manual_seed(2)
    photos = torch.randint(0, 256, (40, 48, 48, 3), dtype=torch.uint8, generator=generator)
    still = {"least_area": 1.0, "degrees": 0.0, "light": 0.0, "flip": 0.0}
    seen = {
        share: augment(photos, View(**still, erase=share), 48, torch.Generator().manual_seed(7)) for share in (0, 0.5)
    }
    changed = (seen[0] != seen[0.5]).any(1)  # [n, h, w]
    chosen = changed.flatten(1).any(1)
    assert 10 <= int(chosen.sum()) <= 30
    for photo, erased, box in zip(seen[0][chosen], seen[0.5][chosen], changed[chosen], strict=True):
        rows, columns = box.any(1).nonzero().flatten(), box.any(0).nonzero().flatten()
        top, bottom, left, right = int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1
        assert 0.01 < (bottom - top) * (right - left) / 48**2 < 0.25
        inside = erased[:, top:bottom, left:right]
        assert torch.allclose(inside, photo.mean().expand_as(inside), atol=1e-3)


def test_a_grey_photo_stays_grey_in_every_view() -> None:
    photos = torch.full((4, 40, 40, 3), 90, dtype=torch.uint8)
    views = augment(photos, Augment().strong, 32, torch.Generator().manual_seed(1))
    assert float((views.amax(1) - views.amin(1)).max()) < 1e-3  # hue is a label, and is left alone
