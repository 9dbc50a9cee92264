"""Chains of search, click and message against looking back over the whole log."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable

import pytest

from schemas.query_text import clean_query
from training.weak import ChainSettings
from training.weak.search_chains import Chains, LogEvent, Pair

CHAIN = ChainSettings(click_window_s=100.0, message_window_s=1000.0)


def search(time: float, query: str, buyer: str = "b") -> LogEvent:
    return LogEvent(time=time, buyer=buyer, event="search", query=query)


def click(time: float, listing: str, image: str = "", buyer: str = "b") -> LogEvent:
    return LogEvent(time=time, buyer=buyer, event="click", listing=listing, image=image or f"{listing}.jpg")


def message(time: float, listing: str, buyer: str = "b") -> LogEvent:
    return LogEvent(time=time, buyer=buyer, event="message", listing=listing)


def run(events: Iterable[LogEvent], settings: ChainSettings = CHAIN) -> tuple[list[Pair], dict[str, int]]:
    chains = Chains(settings)
    pairs = [pair for event in events if (pair := chains.feed(event))]
    chains.finish()
    return pairs, {reason: n for reason, n in chains.dropped.items() if n}


def test_all_three_make_a_pair() -> None:
    pairs, dropped = run([search(0, "Blue  MUG!"), click(100, "l"), message(1100, "l"), message(1101, "l")])
    assert pairs == [Pair("b", "blue mug", "l.jpg")]
    assert dropped == {"message_without_click": 1}


@pytest.mark.parametrize(
    ("events", "dropped"),
    [
        ([click(1, "l"), message(2, "l")], {"click_without_search": 1, "message_without_click": 1}),
        ([search(0, "a"), click(101, "l"), message(102, "l")], {"click_too_late": 1, "message_without_click": 1}),
        ([search(0, "a"), click(1, "l"), message(1002, "l")], {"message_too_late": 1}),
        ([search(0, "a"), click(1, "l"), message(2, "m")], {"message_without_click": 1, "click_without_message": 1}),
        (
            [search(0, "a"), click(1, "l"), message(2, "l", "c")],
            {"message_without_click": 1, "click_without_message": 1},
        ),
        ([search(5, "a"), click(4, "l"), message(6, "l")], {"out_of_order": 1, "message_without_click": 1}),
        ([search(0, "a"), click(1, "l", "../l.jpg")], {"click_without_photo": 1}),
        ([search(0, "a"), click(1, "l", "/l.jpg")], {"click_without_photo": 1}),
        (
            [search(0, "a"), search(1, "me@shop.se"), click(2, "l"), message(3, "l")],
            {"query_personal": 1, "click_without_search": 1, "message_without_click": 1},
        ),
    ],
)
def test_a_broken_chain_is_counted_by_where_it_broke(events: list[LogEvent], dropped: dict[str, int]) -> None:
    assert run(events) == ([], dropped)


def test_a_click_belongs_to_the_last_search_and_the_last_click_counts() -> None:
    events = [search(0, "a"), click(1, "l"), search(2, "b"), click(3, "l"), click(4, "m"), message(5, "l")]
    pairs, dropped = run(events)
    assert [pair.query for pair in pairs] == ["b"]
    assert dropped == {"click_again": 1, "click_without_message": 1}


def test_what_is_remembered_is_bounded() -> None:
    few = ChainSettings(buyers=2, clicks=3)
    searches = [search(0, "a", buyer=f"b{n}") for n in range(3)]
    pairs, dropped = run([*searches, click(1, "l", buyer="b0"), message(2, "l", buyer="b0")], few)
    assert pairs == []
    assert dropped == {"buyer_forgotten": 2, "click_without_search": 1, "message_without_click": 1}
    events = [search(0, "a"), *(click(1, f"l{n}") for n in range(5)), *(message(2, f"l{n}") for n in range(5))]
    pairs, dropped = run(events, few)
    assert [pair.photo for pair in pairs] == ["l2.jpg", "l3.jpg", "l4.jpg"]
    assert dropped == {"click_forgotten": 2, "message_without_click": 2}


@pytest.mark.parametrize(
    ("query", "clean"),
    [
        ("  Röd   MUGG ", ("röd mugg", "")),
        ("ｆｕｌｌ－ｗｉｄｔｈ", ("full width", "")),
        ("t-shirt, 100% cotton", ("t shirt 100 cotton", "")),
        ("a|b", ("a b", "")),
        ("snake_case", ("snake case", "")),
        ("...", ("", "query_empty")),
        ("", ("", "query_empty")),
        ("4711", ("", "query_without_letter")),
        ("call 070-123 45 67", ("", "query_personal")),
        ("me@shop.se", ("", "query_personal")),
        ("x" * 81, ("", "query_too_long")),
        ("iphone 13 128 gb", ("iphone 13 128 gb", "")),
    ],
)
def test_queries_in_one_form(query: str, clean: tuple[str, str]) -> None:
    assert clean_query(query) == clean


def naive(events: list[LogEvent]) -> list[Pair]:
    """For every message, look back through the whole log."""
    pairs = []
    for i, m in enumerate(events):
        if m.event != "message":
            continue
        mine = [(j, e) for j, e in enumerate(events[:i]) if e.buyer == m.buyer]
        since = max((j for j, e in mine if e.event == "message" and e.listing == m.listing), default=-1)
        best = None
        for j, e in mine:
            if j > since and e.event == "click" and e.listing == m.listing:
                before = [s for k, s in mine if k < j and s.event == "search"]
                if before and clean_query(before[-1].query)[0] and e.seconds - before[-1].seconds <= 100:
                    best = Pair(m.buyer, clean_query(before[-1].query)[0], e.image), e.seconds
        if best and m.seconds - best[1] <= 1000:
            pairs.append(best[0])
    return pairs


def random_log(seed: int, length: int = 400) -> list[LogEvent]:
    rng, time = random.Random(seed), 0.0
    events = []
    for _ in range(length):
        time += rng.choices([0, 1, 10, 60, 600], [4, 8, 8, 4, 1])[0]
        buyer, listing = rng.choice("xyz"), rng.choice("lmno")
        make = rng.choice([search, click, click, message])
        if make is search:
            events.append(search(time, rng.choice(["Mug", "mug", "red hat", "a@b.c", "?"]), buyer))
        elif make is click:
            events.append(click(time, listing, f"{listing}/{rng.randrange(3)}.jpg", buyer))
        else:
            events.append(message(time, listing, buyer))
    return events


@pytest.mark.parametrize("seed", range(5))
def test_streaming_equals_looking_back(seed: int) -> None:
    events = random_log(seed)
    pairs, dropped = run(events)
    assert pairs == naive(events)
    assert len(pairs) > 10
    kinds = Counter(event.event for event in events)
    assert kinds["message"] == len(pairs) + dropped["message_without_click"] + dropped.get("message_too_late", 0)
    lost = sum(n for reason, n in dropped.items() if reason.startswith("click_"))
    assert kinds["click"] == len(pairs) + dropped.get("message_too_late", 0) + lost  # every click is accounted for
