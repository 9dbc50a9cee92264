"""The newest listings against a plain list: one entry each, the newest first, never more than the limit."""

from __future__ import annotations

import random

import pytest

from workers.indexer.recent import Recent, RecentListings


def entry(name: str, at: int = 1) -> Recent:
    return Recent(listing_id=name, event_time=at, uploaded_at=None, indexed_at=at)


@pytest.mark.parametrize("seed", range(5))
def test_any_order_of_notes_and_removals_is_what_a_list_keeps(seed: int) -> None:
    chance = random.Random(seed)
    recent, twin = RecentListings(4), []
    for at in range(300):
        name = chance.choice("abcdefg")
        if chance.random() < 0.25:
            recent.forget(name)
            twin = [one for one in twin if one.listing_id != name]
        else:
            recent.note(entry(name, at))
            twin = [*(one for one in twin if one.listing_id != name), entry(name, at)][-4:]
        n = chance.randrange(6)
        assert recent.newest(n) == list(reversed(twin))[:n]
        assert recent.get(name) == next((one for one in twin if one.listing_id == name), None)
