"""Which part of a photo `detect=nearest` answers for."""

from __future__ import annotations

import pytest

from workers.indexer.wire import Neighbour
from workers.search.find.finder import Found, nearest_part


def listings(*distances: int) -> list[Found]:
    photos = (Neighbour(listing_id=str(d), image_id="0", distance=d) for d in distances)
    return [Found(photo, None, 0.5) for photo in photos]


@pytest.mark.parametrize(
    ("parts", "best"),
    [
        ([listings(10), listings(75)], 1),  # a whole photo with a near listing is one product
        ([listings(10), listings(76)], 0),
        ([listings(60, 20), listings(30, 90), listings(80)], 0),
        ([listings(90), listings(120), listings(90)], 2),
        ([listings(88), listings(98)], 1),  # a box that is hardly nearer may be near by chance
        ([listings(88), listings(99)], 0),
        ([listings(90), listings(86), listings(86), listings(99)], 1),
        ([listings(), listings(140), listings()], 1),
        ([listings(), listings()], 1),
        ([listings(99)], 0),
    ],
)
def test_the_whole_photo_counts_unless_it_is_far_and_a_part_is_clearly_nearer(
    parts: list[list[Found]], best: int
) -> None:
    assert nearest_part(parts, whole_bits=75, nearer_by=10) == best
