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
    three = {"shown-00", "shown-01", "late"}
    assert as_one(links) == {name: three - {name} for name in three}, "two others have it: it is a logo no longer"


def held(live: dict[str, HashMessage]) -> Links:
    """Links that took nothing but these listings."""
    links = Links(EPOCH, radius=RADIUS, most_copies=COMMON, most_visits=1)
    for one in live.values():
        links.put(one)
    return links


@pytest.mark.parametrize("gone", [range(197), range(199, 2, -1), [*range(3, 200, 2), *range(4, 200, 2)]])
def test_crowded_photos_count_again_when_few_are_left(gone: list[int]) -> None:
    """Of 200 copies the first 63 count. Whichever go, the three that stay are linked as if they had come alone."""
    links = Links(EPOCH, radius=4, most_copies=5, most_visits=20)
    for n in range(200):
        links.put(message(f"shown-{n:03}", (1 << 200) - 1))
    touched: set[str] = set()
    for n in gone:
        touched |= links.remove(f"shown-{n:03}", BIRTH + 1) or set()
    left = {f"shown-{n:03}" for n in range(200)} - {f"shown-{n:03}" for n in gone}
    assert len(left) in (3, 6)
    assert as_one(links) == {name: left - {name} for name in left}
    assert left <= touched, "their products are looked at again"


@pytest.mark.parametrize("seed", range(4))
def test_after_a_crowd_has_come_and_gone_the_links_are_those_of_all_pairs(seed: int) -> None:
    """160 listings show a logo among their photos, some twice; edits and removals leave fewer than 64 photos of it."""
    draw = random.Random(seed)
    shop = Shop(draw, places=4, spread=4)
    links = Links(EPOCH, radius=RADIUS, most_copies=COMMON, most_visits=1)
    logo = draw.getrandbits(256)
    for number in range(160):
        made = shop.message(number)
        extra = [ImageHash(image_id=f"x{n}", hash=f"{logo ^ n:064x}") for n in range(draw.choice((1, 1, 2)))]
        made = renamed(made, images=[*made.images, *extra])
        shop.live[made.listing_id] = made
        links.put(made)
    order = draw.sample(range(160), 150)
    for turn, number in enumerate(order):
        made = shop.message(number)
        if draw.random() < 0.1 and turn < 100:  # an edit: the logo is another photo from now on
            extra = [ImageHash(image_id="y", hash=f"{logo:064x}")]
            made = renamed(made, images=[*made.images, *extra])
            shop.live[made.listing_id] = made
            links.put(made)
        else:
            links.remove(made.listing_id, made.event_time)
            shop.live.pop(made.listing_id, None)
    logos = sum(image.image_id[0] != "i" for one in shop.live.values() for image in one.images)
    assert logos < 64
    assert as_one(links) == as_one(held(shop.live))
    assert as_one(links) == naive_links(shop.live, RADIUS, COMMON)


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
