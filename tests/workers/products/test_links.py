"""The links of listings after every change are those of a comparison of all pairs, whatever the order."""

from __future__ import annotations

import random

import pytest

from schemas.hashes import HashMessage, ImageHash
from tests.workers.products.shop import BIRTH, EPOCH, Shop, naive_links, renamed
from workers.products.links import Links

RADIUS, COMMON = 10, 4


def message(name: str, *photos: int, time: int = BIRTH) -> HashMessage:
    images = [ImageHash(image_id=f"i{n}", hash=f"{photo:064x}") for n, photo in enumerate(photos)]
    return HashMessage(
        listing_id=name,
        event_time=time,
        epoch=EPOCH,
        model_version="m",
        state="active",
        category=None,
        images=images,
    )


def as_one(links: Links) -> dict[str, set[str]]:
    return {name: links.linked(name) for name in links}


@pytest.mark.parametrize("seed", range(6))
def test_links_are_those_of_all_pairs_after_every_change(seed: int) -> None:
    """Additions, edits, removals and stale messages. What `put` and `remove` name covers every link that changed."""
    draw = random.Random(seed)
    shop, links = Shop(draw), Links(EPOCH, radius=RADIUS, most_copies=COMMON, most_visits=1000)
    before: dict[str, set[str]] = {}
    for _ in range(80):
        made = shop.message(draw.randrange(24))
        name = made.listing_id
        if draw.random() < 0.25:
            touched = links.remove(name, made.event_time)
            shop.live.pop(name, None)
            assert links.put(renamed(made, event_time=made.event_time - 1)) is None, "older than the removal"
        else:
            touched = links.put(made)
            shop.live[name] = made
        after = naive_links(shop.live, RADIUS, COMMON)
        assert as_one(links) == after
        assert touched is not None
        changed = {one for one in {*before, *after} if before.get(one, set()) != after.get(one, set())}
        assert changed <= touched | set().union(*(after.get(one, set()) for one in touched))
        lost = {one for one in changed if before.get(one, set()) - after.get(one, set())}
        assert lost - {name} <= touched, "who loses a link is named, because nothing leads there any more"
        before = after


def test_a_shared_logo_links_nothing_and_one_photo_of_three_is_too_little() -> None:
    links = Links(EPOCH, radius=4, most_copies=2, most_visits=1000)
    logo = (1 << 200) - 1
    spread = [((1 << 60) - 1) << (20 * n) for n in range(9)]  # at least 40 bits apart
    for n in range(2):
        links.put(message(f"few-{n}", logo, spread[n]))
    assert links.linked("few-0") == {"few-1"}, "one of two photos is half of them"
    links.put(message("three-0", spread[3], spread[4], spread[5]))
    links.put(message("three-1", spread[3], spread[6], spread[7]))
    assert links.linked("three-0") == set()
    for n in range(2, 4):
        links.put(message(f"few-{n}", logo, spread[n]))
    assert links.linked("few-0") == set(), "more than two other listings have it: it is a logo"
    links.remove("few-3", BIRTH + 1)
    assert links.linked("few-0") == {"few-1", "few-2"}, "now it is not"


def test_a_photo_counts_by_its_first_box_and_listings_without_photos_are_not_held() -> None:
    links = Links(EPOCH, radius=4, most_copies=2, most_visits=1000)
    boxed = [
        ImageHash(image_id="a", hash="0" * 64, box=(0.0, 0.0, 0.5, 0.5)),
        ImageHash(image_id="a", hash="f" * 64, box=(0.5, 0.0, 1.0, 0.5)),
    ]
    links.put(renamed(message("boxed"), images=boxed))
    links.put(message("first", 1))
    links.put(message("second", (1 << 256) - 1))
    assert links.linked("boxed") == {"first"}
    links.put(message("boxed", time=BIRTH + 1))
    assert ("boxed" in links, links.linked("first"), len(links)) == (False, set(), 2)
    assert (links.knows("boxed"), links.knows("stranger")) == (True, False)


def test_a_photo_that_very_many_show_is_not_counted_and_joins_nothing_as_before() -> None:
    """64 near copies are asked for at first; of a logo that more have, a listing visits no more than these."""
    links = Links(EPOCH, radius=4, most_copies=2, most_visits=10)
    logo, own = (1 << 200) - 1, [((1 << 60) - 1) << (20 * n) for n in range(2)]
    for n in range(90):
        links.put(message(f"shown-{n:02}", logo, *own[: n < 2]))
    assert links.linked("shown-00") == {"shown-01"}, "by their own photo"
    links.put(message("late", logo, own[1]))
    assert links.linked("late") == set()
    for n in range(2, 85):
        links.remove(f"shown-{n:02}", BIRTH + 1)
    for name in ("late", *(f"shown-{n}" for n in range(85, 90))):
        assert links.linked(name) == set(), "what came late still shows it, so it is a logo"
    for n in range(85, 90):
        links.remove(f"shown-{n}", BIRTH + 1)
    assert (links.linked("shown-00"), links.linked("late")) == ({"shown-01"}, set())
    links.put(message("late", logo, own[0], time=BIRTH + 1))
    assert links.linked("late") == {"shown-00", "shown-01"}


@pytest.mark.parametrize("most_visits", [1, 1_000])
def test_the_links_are_the_same_where_the_bound_is_not_reached(most_visits: int) -> None:
    draw = random.Random(11)
    shop = Shop(draw)
    links = Links(EPOCH, radius=RADIUS, most_copies=COMMON, most_visits=most_visits)
    for number in range(60):  # of 100 photos, none has 64 near copies
        made = shop.message(number)
        shop.live[made.listing_id] = made
        links.put(made)
    assert as_one(links) == naive_links(shop.live, RADIUS, COMMON)
