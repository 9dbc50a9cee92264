"""Search → click → message, against a naive twin that looks at the whole log at once."""

from __future__ import annotations

import csv
import gzip
import json
import random
from collections import Counter, defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from schemas.errors import ConfigError
from schemas.query_text import clean_query
from training.weak import ChainSettings, PairSettings, clean_log
from training.weak.search_chains import LogEvent, Pair

CHAIN = ChainSettings(click_window_s=100.0, message_window_s=1000.0)


def search(time: float, query: str, buyer: str = "b") -> LogEvent:
    return LogEvent(time=time, buyer=buyer, event="search", query=query)


def click(time: float, listing: str, image: str = "", buyer: str = "b") -> LogEvent:
    return LogEvent(time=time, buyer=buyer, event="click", listing=listing, image=image or f"{listing}.jpg")


def message(time: float, listing: str, buyer: str = "b") -> LogEvent:
    return LogEvent(time=time, buyer=buyer, event="message", listing=listing)


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


def lines(events: Iterable[LogEvent]) -> bytes:
    plain: list[dict[str, Any]] = [
        {"time": e.time, "buyer": e.buyer, "event": e.event, "query": e.query, "listing": e.listing, "image": e.image}
        for e in events
    ]
    return b"".join(json.dumps(event).encode() + b"\n" for event in plain)


def table(file: Path) -> list[dict[str, str]]:
    with file.open(newline="", encoding="utf-8") as text:
        return list(csv.DictReader(text))


@pytest.mark.parametrize(("min_images", "min_buyers"), [(1, 1), (3, 1), (1, 2), (4, 2)])
def test_a_log_becomes_a_table(tmp_path: Path, min_images: int, min_buyers: int) -> None:
    events = random_log(7, 1200)
    (tmp_path / "1.ndjson").write_bytes(lines(events[:900]) + b"\nno json\n")
    with gzip.open(tmp_path / "2.ndjson.gz", "wb") as file:
        file.write(lines(events[900:]))
    out = tmp_path / "pairs.csv"
    logs = [tmp_path / "1.ndjson", tmp_path / "2.ndjson.gz"]
    report = clean_log(logs, out, CHAIN, PairSettings(min_images=min_images, min_buyers=min_buyers))

    buyers: dict[tuple[str, str], set[str]] = defaultdict(set)
    for pair in naive(events):
        buyers[pair.query, pair.photo].add(pair.buyer)
    enough = {pair: who for pair, who in buyers.items() if len(who) >= min_buyers}
    images = Counter(query for query, _ in enough)
    kept = {pair: who for pair, who in enough.items() if images[pair[0]] >= min_images}
    rows = table(out)
    assert {(q, row["path"]) for row in rows for q in row["queries"].split("|")} == set(kept)
    assert [row["path"] for row in rows] == sorted({image for _, image in kept})
    assert all(int(row["buyers"]) == sum(len(w) for (_, i), w in kept.items() if i == row["path"]) for row in rows)
    assert report.kept == {
        "queries": len({query for query, _ in kept}),
        "photos": len({image for _, image in kept}),
        "pairs": len(kept),
    }
    assert report.read["lines"] == 1201
    assert report.dropped["not_an_event"] == 1
    assert report.dropped.get("pair_of_few_buyers", 0) == len(buyers) - len(enough)
    assert report.dropped["pair_again"] == report.read["pairs"] - sum(map(len, buyers.values()))
    assert report.dropped.get("query_of_few_photos", 0) == len(images) - report.kept["queries"]
    assert {path.name for path in tmp_path.iterdir()} == {"1.ndjson", "2.ndjson.gz", "pairs.csv"}


def test_photos_that_are_not_there_are_dropped_before_queries_are_counted(tmp_path: Path) -> None:
    events = [
        event
        for n in range(4)
        for event in (search(10 * n, "mug"), click(10 * n + 1, f"l{n}"), message(10 * n + 2, f"l{n}"))
    ]
    (tmp_path / "log").write_bytes(lines(events))
    (tmp_path / "photos").mkdir()
    for n in range(3):
        (tmp_path / f"photos/l{n}.jpg").touch()
    out = tmp_path / "pairs.csv"
    report = clean_log([tmp_path / "log"], out, CHAIN, PairSettings(min_images=3), photos=tmp_path / "photos")
    assert [row["path"] for row in table(out)] == ["photos/l0.jpg", "photos/l1.jpg", "photos/l2.jpg"]
    assert (report.dropped, report.kept["queries"]) == ({"photo_not_there": 1}, 1)
    report = clean_log([tmp_path / "log"], out, CHAIN, PairSettings(min_images=4), photos=tmp_path / "photos")
    assert (report.dropped, table(out)) == ({"photo_not_there": 1, "query_of_few_photos": 1}, [])


def test_splits_are_of_the_photo_alone(tmp_path: Path) -> None:
    events = [
        event
        for n in range(300)
        for event in (search(10 * n, "mug"), click(10 * n + 1, f"l{n}"), message(10 * n + 2, f"l{n}"))
    ]
    (tmp_path / "log").write_bytes(lines(events))
    clean_log([tmp_path / "log"], tmp_path / "a.csv", CHAIN, PairSettings(validation=0.2))
    counts = Counter(row["split"] for row in table(tmp_path / "a.csv"))
    assert 40 < counts["val"] < 80  # 60 expected of 300, standard deviation 7
    assert 4 < counts["test"] < 28  # 15 expected, standard deviation 4


def test_times_of_two_kinds_and_damage_that_is_named(tmp_path: Path) -> None:
    (tmp_path / "log").write_text(
        '{"time": "1970-01-01T01:00:00+01:00", "buyer": "b", "event": "search", "query": "mug", "more": 1}\n'
        '{"time": 1, "buyer": "b", "event": "click", "listing": "l", "image": "l.jpg"}\n'
        '{"time": "1970-01-01T00:00:02Z", "buyer": "b", "event": "message", "listing": "l"}\n'
        '{"time": "1970-01-01T00:00:02", "buyer": "b", "event": "message", "listing": "l"}\n'
        '{"time": 3, "buyer": "", "event": "message", "listing": "l"}\n'
        '{"time": 3, "buyer": "b", "event": "wave"}\n'
    )
    report = clean_log([tmp_path / "log"], tmp_path / "out.csv", CHAIN, PairSettings(min_images=1))
    assert (report.read["pairs"], report.dropped) == (1, {"not_an_event": 3})
    whole = gzip.compress(lines(random_log(1)))
    (tmp_path / "cut.gz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ConfigError, match=r"cut\.gz: damaged"):
        clean_log([tmp_path / "cut.gz"], tmp_path / "out.csv", CHAIN, PairSettings())
    with pytest.raises(ConfigError, match="no such file"):
        clean_log([tmp_path / "none"], tmp_path / "out.csv", CHAIN, PairSettings())
    (tmp_path / "mine.csv").write_text("path,split\n")
    with pytest.raises(ConfigError, match="not made by this command"):
        clean_log([tmp_path / "log"], tmp_path / "mine.csv", CHAIN, PairSettings())


def chain(query: str, buyer: str, photo: str, at: float = 0) -> list[LogEvent]:
    """A search, a click and a message that make one pair."""
    return [search(at, query, buyer), click(at + 1, photo, photo, buyer), message(at + 2, photo, buyer)]


def labels_of(tmp_path: Path, events: Iterable[LogEvent], **settings: int) -> tuple[dict[str, str], dict[str, int]]:
    """The queries of each photo, and what was dropped."""
    log = tmp_path / "log.ndjson"
    log.write_bytes(lines(events))
    report = clean_log([log], tmp_path / "out.csv", CHAIN, PairSettings(**({"min_images": 1} | settings)))
    return {row["path"]: row["queries"] for row in table(tmp_path / "out.csv")}, report.dropped


def test_spellings_of_one_query_are_one_label_with_the_most_frequent_name(tmp_path: Path) -> None:
    forms = ["cafe", "café", "Café", "CAFÉ", "kettle"]
    events = [event for n, form in enumerate(forms) for event in chain(form, f"b{n}", f"{n}.jpg")]
    found, _ = labels_of(tmp_path, events)
    assert found == {"0.jpg": "café", "1.jpg": "café", "2.jpg": "café", "3.jpg": "café", "4.jpg": "kettle"}
    assert labels_of(tmp_path, events, min_images=4)[0].keys() == {"0.jpg", "1.jpg", "2.jpg", "3.jpg"}


def test_queries_of_few_people_and_programs_are_dropped(tmp_path: Path) -> None:
    events = [event for n in range(3) for event in chain("mug", f"b{n}", f"{n}.jpg")]
    events += chain("my own words", "b1", "own.jpg", at=10)
    events += [event for n in range(20) for event in chain("mug", "program", f"p{n}.jpg", at=10 * n)]
    found, dropped = labels_of(tmp_path, events, min_query_buyers=2, most_pairs=10)
    assert found == {f"{n}.jpg": "mug" for n in range(3)}
    assert dropped == {"buyer_is_a_program": 1, "query_of_few_buyers": 1}


def test_rare_words_are_cut_out_and_the_rest_counts(tmp_path: Path) -> None:
    queries = ["blue mug", "blue mug", "blue mug xq77", "xq78", "蓝色杯子", "蓝色杯子", "蓝色杯子 特", "mug teapot"]
    events = [event for n, query in enumerate(queries) for event in chain(query, f"b{n}", f"{n}.jpg")]
    found, dropped = labels_of(tmp_path, events, min_term_buyers=2)
    blue, cups = "blue mug", "蓝色杯子"
    assert found == dict(
        zip((f"{n}.jpg" for n in (0, 1, 2, 4, 5, 7)), (blue, blue, blue, cups, cups, "mug"), strict=True)
    )
    assert dropped == {"query_with_rare_words": 4}
