"""Groups and ids after random additions, edits and removals, against the naive twin, in batches of every size."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence

import msgspec
import pytest

from schemas.errors import Transient
from schemas.hashes import HashMessage
from tests.workers.products.shop import BIRTH, EPOCH, Shop, distance, naive_groups
from workers.products.grouping import Grouping, Labels
from workers.products.naming import Book
from workers.products.settings import ProductsSettings

SETTINGS = ProductsSettings(radius_bits=10, most_copies=5, most_differences=0, batch=3)


def nothing(_: Sequence[str]) -> dict[str, Labels]:
    return {}


def settle(grouping: Grouping) -> None:
    while grouping.unsettled:
        grouping.done(grouping.plan())


def groups_of(book: Book) -> set[frozenset[str]]:
    return {frozenset(book.members(one.product_id)) for one in book.memberships.values()}


def ids_of(book: Book) -> dict[str, str]:
    return {one.listing_id: one.product_id for one in book.memberships.values()}


def grouped(messages: Iterable[HashMessage], book: Book | None = None) -> Grouping:
    made = Grouping(SETTINGS, EPOCH, book or Book(), nothing)
    for message in messages:
        made.put(message)
    settle(made)
    return made


@pytest.mark.parametrize("seed", range(5))
def test_groups_are_those_of_the_live_listings_however_they_came(seed: int) -> None:
    draw = random.Random(seed)
    shop = Shop(draw)
    grouping = Grouping(SETTINGS, EPOCH, Book(), nothing)
    for step in range(120):
        made = shop.message(draw.randrange(25))
        if draw.random() < 0.25:
            grouping.remove(made.listing_id, made.event_time)
            shop.live.pop(made.listing_id, None)
        else:
            grouping.put(made)
            shop.live[made.listing_id] = made
        if step % 40 == 39:
            settle(grouping)
            expected = naive_groups(shop.live, SETTINGS.radius_bits, SETTINGS.most_copies)
            assert groups_of(grouping.book) == expected
            assert any(len(group) > 1 for group in expected)
            again = draw.sample(sorted(shop.live), len(shop.live))
            rebuilt = grouped((shop.live[name] for name in again), copy_of(grouping.book))
            assert ids_of(rebuilt.book) == ids_of(grouping.book), "a rebuild in another order gives the same ids"
            assert rebuilt.book.products == grouping.book.products


def copy_of(book: Book) -> Book:
    """As a process that starts reads it from the store."""
    return Book(list(book.products.values()), list(book.memberships.values()))


def test_labels_keep_listings_apart_and_are_read_again_after_an_edit() -> None:
    shop = Shop(random.Random(1), places=1, spread=1)
    labels: dict[str, Labels] = {"l-000": {"kind": frozenset({"mug"})}, "l-001": {"kind": frozenset({"bowl"})}}
    asked: list[list[str]] = []

    def labels_of(names: Sequence[str]) -> dict[str, Labels]:
        asked.append(list(names))
        return {name: labels[name] for name in names if name in labels}

    grouping = Grouping(SETTINGS, EPOCH, Book(), labels_of)
    one, other, third = (with_one_photo(shop, number) for number in range(3))
    grouping.put(one)
    settle(grouping)
    assert asked == [], "a listing without near copies costs no read of the store"
    grouping.put(other)
    settle(grouping)
    assert groups_of(grouping.book) == {frozenset({"l-000"}), frozenset({"l-001"})}
    labels["l-001"] = {"kind": frozenset({"mug"})}
    grouping.put(third)
    settle(grouping)
    assert frozenset({"l-000", "l-001"}) not in groups_of(grouping.book)
    grouping.put(with_one_photo(shop, 1))
    settle(grouping)
    assert groups_of(grouping.book) == {frozenset({"l-000", "l-001", "l-002"})}


def with_one_photo(shop: Shop, number: int) -> HashMessage:
    while len((made := shop.message(number)).images) != 1 or made.category is not None:
        pass
    return made


def test_a_plan_that_could_not_be_carried_out_is_made_again() -> None:
    shop = Shop(random.Random(2), places=1, spread=1)
    away = [True]

    def labels_of(_: Sequence[str]) -> dict[str, Labels]:
        if away[0]:
            raise Transient("store", "away", "the store does not answer")
        return {}

    grouping = Grouping(SETTINGS, EPOCH, Book(), labels_of)
    for number in range(2):
        grouping.put(with_one_photo(shop, number))
    with pytest.raises(Transient):
        grouping.plan()
    assert not grouping.book.memberships
    away[0] = False
    lost = grouping.plan()
    assert grouping.plan().memberships == lost.memberships, "as if the first one had never been made"
    settle(grouping)
    assert groups_of(grouping.book) == {frozenset({"l-000", "l-001"})}


def test_who_left_while_nobody_looked_leaves_the_book() -> None:
    shop = Shop(random.Random(3), places=1, spread=1)
    first = grouped(with_one_photo(shop, number) for number in range(3))
    again = Grouping(SETTINGS, EPOCH, copy_of(first.book), nothing)
    again.put(with_one_photo(shop, 1))
    again.put(with_one_photo(shop, 2))
    again.leave("l-000", BIRTH)
    settle(again)
    assert ids_of(again.book) == {name: ids_of(first.book)[name] for name in ("l-001", "l-002")}


def test_each_plan_after_a_start_takes_at_most_a_batch_of_single_listings_edits_and_removals() -> None:
    """Listings without near copies: of these a plan has exactly those that it chose."""
    draw = random.Random(4)
    shop = Shop(draw, places=60, spread=1)
    grouping = Grouping(SETTINGS, EPOCH, Book(), nothing)
    for number in range(20):
        grouping.put(with_one_photo(shop, number))
    settle(grouping)
    anew = Grouping(SETTINGS, EPOCH, copy_of(grouping.book), nothing)
    for number in range(20):  # a topic that was not compacted: each listing twice, with another photo
        for _ in range(2):
            anew.put(with_one_photo(shop, number))
    for number in range(10):
        shop.time += 1
        anew.remove(f"l-{number:03}", shop.time)
    left: list[str] = []
    while anew.unsettled:
        before = anew.unsettled
        changes = anew.plan()
        anew.done(changes)
        assert len(changes.left) <= SETTINGS.batch
        assert before - anew.unsettled > 0
        left += changes.left
    assert sorted(left) == [f"l-{number:03}" for number in range(10)]
    assert sorted(anew.book.memberships) == [f"l-{number:03}" for number in range(10, 20)]


@pytest.mark.parametrize("compacted", [True, False])
def test_photos_that_changed_before_a_start_give_the_same_ids_whatever_the_topic_has_of_them(compacted: bool) -> None:
    shop = Shop(random.Random(6), places=2, spread=1)

    def photo(number: int, like: HashMessage | None = None) -> HashMessage:
        made = with_one_photo(shop, number)
        return made if like is None else msgspec.structs.replace(made, images=like.images)

    one = photo(0)
    other = photo(9)
    while distance(one.images[0].hash, other.images[0].hash) <= SETTINGS.radius_bits:
        other = photo(9)
    first = grouped([one, photo(1, like=one), photo(2, like=one)])
    (product,) = {*ids_of(first.book).values()}
    again = Grouping(SETTINGS, EPOCH, copy_of(first.book), nothing)
    edited = photo(0, like=other)
    for message in [edited] if compacted else [one, edited]:
        again.put(message)
    for number in (1, 2):
        again.put(photo(number, like=one))
    again.forget_edits()
    settle(again)
    assert ids_of(again.book)["l-000"] == product, "nobody saw the edit: the id stays with its founder"
    assert ids_of(again.book)["l-001"] == ids_of(again.book)["l-002"] != product
