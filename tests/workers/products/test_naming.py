"""Ids: what wins, what becomes an alias, and what stays, on worked examples and on random histories."""

from __future__ import annotations

import random
from collections.abc import Collection, Sequence

import pytest

from schemas.products import Membership, Product, first_id
from workers.products.naming import Book, Changes


class Clerk:
    """A book with what it was told: groups as text ("ab c" are two groups), times by listing."""

    def __init__(self, **times: int) -> None:
        self.times = times
        self.book = Book()

    def name(self, groups: str, gone: str = "") -> Changes:
        changes = self.book.named(groups.split(), self.times, gone)
        self.book.take(changes)
        return changes

    def id_of(self, listing: str) -> str:
        return self.book.memberships[listing].product_id

    def born(self, listing: str) -> str:
        return first_id(listing, self.times[listing])

    def stands_for(self, product_id: str) -> str:
        survivor = self.book.products[product_id].survivor
        return product_id if survivor is None else self.stands_for(survivor)


def test_a_group_has_the_id_of_its_oldest_listing_whatever_came_first() -> None:
    early = Clerk(a=3, b=1, c=2)
    early.name("a b c")
    assert [early.id_of(one) for one in "abc"] == [early.born(one) for one in "abc"]
    merged = early.name("abc")
    assert {early.id_of(one) for one in "abc"} == {early.born("b")}
    assert early.stands_for(early.born("a")) == early.stands_for(early.born("c")) == early.born("b")
    assert merged.products.keys() == {early.born("a"), early.born("c")}
    late = Clerk(a=3, b=1, c=2)
    for groups in ("ac", "abc"):
        late.name(groups)
    assert [late.id_of(one) for one in "abc"] == [early.id_of(one) for one in "abc"]
    assert late.stands_for(late.born("c")) == late.born("b")
    assert late.born("a") not in late.book.products, "an id that nobody has seen needs no alias"


def test_of_two_products_of_one_time_the_smaller_id_stays() -> None:
    clerk = Clerk(a=5, b=5)
    clerk.name("ab")
    assert clerk.id_of("a") == min(clerk.born("a"), clerk.born("b"))


def test_a_divided_product_keeps_its_id_with_the_founder_and_an_alias_lives_again() -> None:
    clerk = Clerk(a=1, b=2, c=3, d=4)
    clerk.name("ab cd")
    clerk.name("abcd")
    assert clerk.stands_for(clerk.born("c")) == clerk.born("a")
    clerk.name("ab cd")
    assert [clerk.id_of(one) for one in "abcd"] == [clerk.born(one) for one in "aacc"]
    assert clerk.book.products[clerk.born("c")].survivor is None
    clerk.name("a b cd")
    assert clerk.id_of("b") == clerk.born("b")


def test_the_id_outlives_its_founder_and_passes_to_who_is_known_for_longest() -> None:
    clerk = Clerk(a=1, b=3, c=2)
    clerk.name("abc")
    clerk.name("bc", gone="a")
    assert {clerk.id_of(one) for one in "bc"} == {clerk.born("a")}
    assert clerk.book.products[clerk.born("a")].founder == "c"
    clerk.name("b c")
    assert (clerk.id_of("c"), clerk.id_of("b")) == (clerk.born("a"), clerk.born("b"))


def test_a_founder_whose_photos_become_something_else_leaves_the_id_behind() -> None:
    clerk = Clerk(a=1, b=2, c=3)
    clerk.name("abc")
    for edited, groups, names in (("a", "bc a", "aa"), ("b", "c b a", "a")):
        clerk.times[edited] = 9
        changes = clerk.book.named(groups.split(), clerk.times, edited=edited)
        clerk.book.take(changes)
        kept = groups.split()[0]
        assert [clerk.id_of(one) for one in kept] == [first_id("a", 1)] * len(names)
        assert clerk.id_of(edited) == (first_id("a", 9) if edited == "a" else first_id("b", 2))
        assert not clerk.book.named(groups.split(), clerk.times)
    clerk = Clerk(a=1, b=2)
    clerk.name("ab")
    clerk.book.take(clerk.book.named(["ab"], clerk.times, edited="a"))
    assert clerk.book.products[first_id("a", 1)].founder == "a", "an edit that changes no group changes nothing"


def test_a_listing_that_comes_back_founds_something_new() -> None:
    clerk = Clerk(a=1, b=2)
    clerk.name("ab")
    old = clerk.id_of("a")
    clerk.name("b", gone="a")
    clerk.times["a"] = 9
    clerk.name("a b")
    assert (clerk.id_of("b"), clerk.id_of("a")) == (old, first_id("a", 9))
    clerk.name("ab")
    assert clerk.id_of("a") == old


def test_when_the_last_listing_leaves_product_and_aliases_end() -> None:
    clerk = Clerk(a=1, b=2, c=3)
    clerk.name("a b c")
    clerk.name("ab c")
    clerk.name("b c", gone="a")
    assert clerk.book.products[clerk.born("b")].founder == "b"
    changes = clerk.name("c", gone="b")
    assert changes.ended == {clerk.born("a"), clerk.born("b")}
    assert changes.left == {"b"}
    assert set(clerk.book.products) == {clerk.born("c")}
    assert len(clerk.book) == 1


def test_an_alias_whose_founder_left_goes_with_the_product_that_it_stands_for() -> None:
    clerk = Clerk(a=1, b=2, c=3)
    clerk.name("a b c")
    clerk.name("abc")
    clerk.name("ac", gone="b")
    assert clerk.stands_for(clerk.born("b")) == clerk.born("a")
    clerk.times["b"] = 9
    clerk.name("ac b")
    assert clerk.id_of("b") == first_id("b", 9)
    assert clerk.stands_for(first_id("b", 2)) == first_id("a", 1)


def test_listings_that_are_not_read_yet_keep_their_product_and_their_claim_waits() -> None:
    """While another epoch is filled, a part of the listings is not in its topic yet."""
    clerk = Clerk(a=1, b=2, c=3)
    clerk.name("abc")
    clerk.name("bc")  # `a` is neither here nor gone
    assert {clerk.id_of(one) for one in "abc"} == {first_id("a", 1)}
    clerk.times["a"] = 7
    clerk.name("bc a")
    assert {clerk.id_of(one) for one in "bc"} == {first_id("a", 1)}
    assert clerk.id_of("a") == first_id("a", 7), "another listing founds that product now"


def divided(draw: random.Random, listings: Collection[str]) -> list[list[str]]:
    """A random partition, with a few large parts."""
    groups: dict[int, list[str]] = {}
    for one in sorted(listings):
        groups.setdefault(min(draw.randrange(8), draw.randrange(8)), []).append(one)
    return list(groups.values())


def check(book: Book, groups: Sequence[Collection[str]]) -> None:
    """What is always true of a book."""
    assert {frozenset(book.members(name)) for name in {m.product_id for m in book.memberships.values()}} == {
        frozenset(group) for group in groups
    }
    for name, product in book.products.items():
        assert product.product_id == name
        if product.survivor is None:
            assert product.founder in book.members(name), "it has listings, and its founder is one of them"
        else:
            older = book.products[product.survivor]
            assert (older.founded, older.product_id) < (product.founded, name)
            assert not book.members(name)
    for listing, membership in book.memberships.items():
        assert membership.listing_id == listing
        assert book.products[membership.product_id].founded <= membership.since


@pytest.mark.parametrize("seed", range(8))
def test_random_histories_keep_every_rule_and_naming_again_changes_nothing(seed: int) -> None:
    draw = random.Random(seed)
    book, live, clock = Book(), {}, 100
    ever: set[str] = set()
    for _ in range(60):
        clock += 10
        gone = [one for one in live if draw.random() < 0.08]
        for one in gone:
            del live[one]
        for number in draw.sample(range(30), 3):
            live[f"l{number}"] = clock + draw.randrange(10)  # new, or edited
        gone = [one for one in gone if one not in live]
        before = {frozenset(book.members(n)): n for n, p in book.products.items() if p.survivor is None}
        groups = divided(draw, live)
        changes = book.named(groups, live, gone)
        assert not changes.ended & changes.products.keys()
        book.take(changes)
        check(book, groups)
        for group in groups:  # a product whose listings did not change keeps its id
            if (name := before.get(frozenset(group))) is not None:
                assert book.memberships[group[0]].product_id == name
        assert not book.named(groups, live), "a fixed point"
        assert not book.named(divided_again(draw, groups), live), "in whatever order"
        again = Book(book.products.values(), book.memberships.values())
        assert not again.named(groups, live), "after a restart"
        ever |= {name for name, product in book.products.items() if product.survivor is None}
    assert len(ever) > 30


def divided_again(draw: random.Random, groups: list[list[str]]) -> list[list[str]]:
    """The same groups in another order."""
    mixed = [draw.sample(group, len(group)) for group in groups]
    return draw.sample(mixed, len(mixed))


@pytest.mark.parametrize("seed", range(4))
def test_without_removals_the_order_of_arrival_does_not_matter(seed: int) -> None:
    """Ids after the last step are those of all listings at once, however they came and however they were grouped."""
    draw = random.Random(seed)
    times = {f"l{n}": draw.randrange(50) for n in range(20)}
    groups = divided(draw, times)
    whole = Book()
    whole.take(whole.named(groups, times))
    expected = {one: m.product_id for one, m in whole.memberships.items()}
    book, order = Book(), draw.sample(sorted(times), len(times))
    for end in range(2, len(order) + 1, 2):
        known = set(order[:end])
        parts = [part for group in groups if (part := [one for one in group if one in known])]
        book.take(book.named(parts, times))
    assert {one: m.product_id for one, m in book.memberships.items()} == expected
    for name, product in book.products.items():
        if product.survivor is not None:
            end = book.products[product.survivor]
            while end.survivor is not None:
                end = book.products[end.survivor]
            assert expected[product.founder] == end.product_id, "an old id answers with the product of its founder"
        assert name.startswith("p-")


def test_after_a_crash_between_two_writes_the_ids_are_the_same() -> None:
    """A merge of which only the products were written, and a removal of which only the membership was deleted."""
    times = {"a": 1, "b": 2, "c": 3}
    book = Book()
    book.take(book.named(["a", "bc"], times))
    merged = book.named(["abc"], times)
    half = Book([*({**book.products, **merged.products}).values()], book.memberships.values())
    half.take(half.named(["abc"], times))
    book.take(merged)
    assert (half.products, half.memberships) == (book.products, book.memberships)
    left = Membership(listing_id="a", product_id=first_id("a", 1), since=1)
    assert book.memberships["a"] == left
    half = Book(book.products.values(), [m for m in book.memberships.values() if m.listing_id != "a"])
    half.take(half.named(["bc"], times))
    book.take(book.named(["bc"], times, ["a"]))
    assert (half.products, half.memberships) == (book.products, book.memberships)
    assert book.products[first_id("a", 1)] == Product(product_id=first_id("a", 1), founded=1, founder="b")
