"""A plan of detection decides the hashes, so every part of it makes another epoch."""

from __future__ import annotations

import msgspec
import pytest

from schemas.boxes import MOST_BOXES, DetectPlan

PLAN = DetectPlan(mode="all", detector_id="0123456789ab", padding=0.0, threshold=0.5, most_boxes=3)


def test_every_part_of_a_plan_makes_another_epoch() -> None:
    changes = [{"mode": "subject"}, {"detector_id": "f" * 12}, {"padding": 0.1}, {"threshold": 0.4}, {"most_boxes": 4}]
    plans = [PLAN, *(msgspec.structs.replace(PLAN, **change) for change in changes)]
    epochs = [plan.epoch_of("0a1b2c3d4e5f") for plan in plans]
    assert len({*epochs, PLAN.epoch_of("ffffffffffff")}) == len(plans) + 1
    assert all(len(epoch) == 12 and int(epoch, 16) >= 0 for epoch in epochs)
    assert PLAN.epoch_of("0a1b2c3d4e5f") == msgspec.structs.replace(PLAN).epoch_of("0a1b2c3d4e5f")


@pytest.mark.parametrize(
    ("field", "value"),
    [("mode", "off"), ("detector_id", "xyz"), ("padding", 1.5), ("threshold", -0.1), ("most_boxes", MOST_BOXES + 1)],
)
def test_a_plan_out_of_bounds_is_refused(field: str, value: object) -> None:
    plain = msgspec.to_builtins(PLAN)
    assert msgspec.convert(plain, DetectPlan) == PLAN
    with pytest.raises(msgspec.ValidationError, match=field):
        msgspec.convert({**plain, field: value}, DetectPlan)
