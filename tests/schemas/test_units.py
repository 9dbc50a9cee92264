"""Every bounded number takes its bounds, and refuses what lies beyond them."""

from __future__ import annotations

import math
from typing import Any

import msgspec
import pytest

from schemas import units

TINY = math.ulp(0.0)
BELOW_ONE = math.nextafter(1.0, 0.0)


@pytest.mark.parametrize(
    ("kind", "taken", "refused"),
    [
        (units.Count, [1, 10**12], [0, -1, 1.5]),
        (units.Whole, [0, 1], [-1, 0.5]),
        (units.Positive, [TINY, 1e300], [0.0, -TINY]),
        (units.NotNegative, [0.0, 7.5], [-TINY]),
        (units.Share, [0.0, 0.5, 1.0], [-TINY, math.nextafter(1.0, 2.0)]),
        (units.ShareBelowOne, [0.0, BELOW_ONE], [-TINY, 1.0]),
        (units.ValidationShare, [0.0, math.nextafter(0.5, 0.0)], [-TINY, 0.5]),
        (units.Seconds, [TINY, 3600.0], [0.0, -1.0]),
    ],
)
def test_bounds(kind: Any, taken: list[float], refused: list[float]) -> None:
    for value in taken:
        assert msgspec.convert(value, kind) == value
    for value in refused:
        with pytest.raises(msgspec.ValidationError):
            msgspec.convert(value, kind)
