"""Slots: what one request and one client may hold, and what is given back."""

from __future__ import annotations

import pytest

from workers.http.problems import Problem
from workers.search.http.slots import Slots


def test_a_request_holds_a_unit_for_each_photo_and_product() -> None:
    slots = Slots(10, 6, "photos")
    with slots.held("a", 3) as clip:
        clip.more(2)
        assert clip.count == 5
        slots.check("a", 1)
        with pytest.raises(Problem) as refused:
            slots.check("a", 2)
        assert refused.value.status == 429
        with slots.held("b", 4), pytest.raises(Problem) as busy, slots.held("c", 2):
            pass
        assert busy.value.status == 503
    slots.check("a", 6)


def test_a_request_larger_than_a_clients_share_runs_alone() -> None:
    slots = Slots(8, 4, "photos")
    with slots.held("a", 9) as clip:
        clip.more(5)
        assert clip.count == 4
        with pytest.raises(Problem), slots.held("a", 1):
            pass
        slots.check("b", 4)
    with slots.held("a", 1), pytest.raises(Problem), slots.held("a", 9):
        pass
    slots.check("a", 4)  # what was refused is not held
