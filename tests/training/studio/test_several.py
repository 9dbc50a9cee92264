"""Photos of several products: the same bytes each time, and boxes around exactly what can be seen of each."""

from __future__ import annotations

import numpy as np
import pytest

from schemas.errors import Invalid
from training.studio import make_product, render, render_several
from training.studio._in_view import products_in_view
from training.studio._photo import draw
from training.studio._several import _scene


def products(count: int, first: int = 0) -> list:
    return [make_product(first + number) for number in range(count)]


def test_the_same_arguments_give_the_same_bytes_and_others_do_not() -> None:
    first, again = (render_several(products(3), 0, (64, 48)) for _ in range(2))
    assert np.array_equal(first.pixels, again.pixels)
    assert first.products == again.products
    for other in (render_several(products(3), 1, (64, 48)), render_several(products(3, 9), 0, (64, 48))):
        assert not np.array_equal(first.pixels, other.pixels)


def test_boxes_are_within_the_photo_and_belong_to_the_products() -> None:
    for count in (1, 4, 8):
        photo = render_several(products(count), count, (96, 64))
        assert 1 <= len(photo.products) <= count
        assert {one.product.identity for one in photo.products} <= set(range(count))
        for one in photo.products:
            x0, y0, x1, y1 = one.box
            assert 0 <= x0 < x1 <= 96
            assert 0 <= y0 < y1 <= 64
            assert 0 < one.seen <= 1


def test_a_box_is_the_span_of_its_pixels() -> None:
    """By a loop over rows and columns of the drawing."""
    rng = np.random.default_rng(3)
    scene = _scene(rng, products(5), 160, 160)
    _, owners = draw(rng, scene, 160, 160)
    for one in products_in_view(scene, owners, (160, 160)):
        number = next(i for i, placed in enumerate(scene.objects) if placed.product is one.product)
        rows = [y for y in range(160) if (owners[y] == number).any()]
        columns = [x for x in range(160) if (owners[:, x] == number).any()]
        assert one.box == (min(columns), min(rows), max(columns) + 1, max(rows) + 1)


def test_what_stands_behind_is_seen_less() -> None:
    seen = [one.seen for count in range(3, 8) for one in render_several(products(count, 50), count, (64, 64)).products]
    assert max(seen) > 0.95
    assert min(seen) < 0.9


def test_a_photo_of_one_product_knows_the_others_in_view() -> None:
    photos = [render(make_product(identity), 0, size=(64, 64)) for identity in range(8)]
    others = [other for photo in photos for other in photo.others]
    assert others
    assert all(other.product.identity >= 10**9 for other in others)


@pytest.mark.parametrize(("count", "size", "error"), [(0, (64, 64), "no_products"), (2, (8, 64), "bad_size")])
def test_what_cannot_be_drawn_is_refused(count: int, size: tuple[int, int], error: str) -> None:
    with pytest.raises(Invalid) as caught:
        render_several(products(count), 0, size)
    assert caught.value.error == error
