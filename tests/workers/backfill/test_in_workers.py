"""A back-fill whose photos are computed by workers, against one that computes in its own process."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from schemas.errors import Transient
from schemas.events import ImageRef
from schemas.hashes import decode_hashes
from schemas.predictions import StoredListing
from schemas.topics import hash_topic
from tests.workers.backfill.test_backfill import BASE_US, NEW, NOBODY, Town, inline
from training.bulk import Engine, bulk_map
from workers.backfill import BackfillSettings, Progress, Setup, tag_part
from workers.backfill.tagging import Outcome, Part, Tag, Tagged

pytestmark = pytest.mark.slow  # workers start
SETTINGS = BackfillSettings(listings_per_s=0.0, in_place_tries=1, listings_at_once=2)


def setup_of(town: Town) -> Setup:
    return Setup(
        bundle=str(town.home / "new"),
        backend="onnxruntime",
        max_batch=town.engine.max_batch,
        detector="",
        detect_backend="onnxruntime",
        detect_batch=1,
        hidden_heads=(),
        keep_embedding=False,
        intake=town.intake,
        settings=SETTINGS,
    )


def by_workers(town: Town, engine: Engine = "pool", ahead: int | None = 2) -> Tag:
    return partial(bulk_map, partial(tag_part, setup=setup_of(town)), workers=2, engine=engine, ahead=ahead)


def dies_once(part: Part, *, setup: Setup, mark: Path) -> list[Outcome]:
    """As `tag_part`, but the first process that gets the listing shop/5 dies when it has computed it."""
    outcomes = tag_part(part, setup=setup)
    if "shop/5" in str(part) and not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return outcomes


def by_dying_workers(town: Town, engine: Engine = "pool") -> Tag:
    work = partial(dies_once, setup=setup_of(town), mark=town.home / "mark")
    return partial(bulk_map, work, workers=2, engine=engine, ahead=2)


def fill_up(town: Town) -> None:
    """Twelve listings: three photos or fewer, one removed, one bad photo, one lost, one whose host is away."""
    (town.home / "kept.jpg").write_bytes(inline(7).data or b"")
    for number in range(8):
        town.add(f"shop/{number}", 1, [inline(10 * number + place, str(place)) for place in range(1 + number % 3)])
    town.remove("shop/3", 5)
    town.add("shop/away", 1, [ImageRef(image_id="a", url=f"http://{NOBODY}/a.jpg"), inline(1, "b")])
    town.add("shop/empty", 1, [])
    town.add("shop/half", 1, [inline(90, "good"), ImageRef(image_id="bad", data=b"<html>")])
    town.add("shop/lost", 1, [ImageRef(image_id="l", url=(town.home / "gone.jpg").as_uri())])


def result_of(town: Town) -> dict[str, Any]:
    """What the store and the topic hold of the new epoch, without times."""
    stored = {}
    for state in town.store.scan("tiny-2"):
        if isinstance(state, StoredListing) and state.epoch == NEW:
            photos = [image.image_id for image in state.images]
            thumbnails = [town.store.thumbnail(state.listing_id, photo) for photo in photos]
            stored[state.listing_id] = (state.event, state.summary, state.images, thumbnails)
    admin = town.stream.admin()
    try:
        messages = [(record.key, decode_hashes(record.value)) for record in admin.read(hash_topic(NEW)) if record.value]
    finally:
        admin.close()
    return {"stored": stored, "messages": messages, "held": town.held()}


def run(town: Town, tag: Tag | None = None, stop_at: int = 10**9) -> Progress:
    """A back-fill of what is missing, in this process or by `tag`, that is stopped at so many listings."""
    stop = threading.Event()
    back_fill = town.backfill(listings_at_once=2) if tag is None else town.backfill_by(tag, SETTINGS)
    return back_fill.run(stop, lambda now: stop.set() if now.seen >= stop_at else None)


@pytest.fixture
def towns(tmp_path: Path) -> Iterator[tuple[Town, Town]]:
    """Two stores of the same listings."""
    made = []
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        made.append(Town(tmp_path / name))
    for town in made:
        fill_up(town)
    yield made[0], made[1]
    for town in made:
        town.close()


def same_events(results: dict[str, Any]) -> dict[str, Any]:
    """Without the paths of the town in events."""
    stored = {name: values[1:] for name, values in results["stored"].items()}
    return results | {"stored": stored}


def counts(progress: Progress) -> dict[str, int]:
    names = ("total", "done", "removed", "lost", "failed")
    return {name: getattr(progress, name) for name in names}


def test_workers_store_and_publish_what_one_process_does(towns: tuple[Town, Town]) -> None:
    one, other = towns
    here, there = run(one), run(other, by_workers(other))
    assert counts(here) == counts(there) == {"total": 11, "done": 9, "removed": 0, "lost": 1, "failed": 1}
    assert [line.partition(":")[0] for line in here.named] == [line.partition(":")[0] for line in there.named]
    assert same_events(result_of(other)) == same_events(result_of(one))
    assert len(result_of(one)["stored"]["shop/2"][2]) == 3


def test_a_worker_that_is_killed_costs_its_part_and_nothing_is_published_twice(towns: tuple[Town, Town]) -> None:
    one, other = towns
    run(one)
    assert run(other, by_dying_workers(other)).done == 9
    assert (other.home / "mark").exists()
    assert same_events(result_of(other)) == same_events(result_of(one))
    assert other.messages() == 9


def test_a_run_that_was_stopped_goes_on_with_other_workers_and_does_nothing_twice(towns: tuple[Town, Town]) -> None:
    one, other = towns
    run(one)
    first = run(other, by_workers(other), stop_at=4)
    assert (first.seen, first.total) == (4, 11)
    assert sorted(other.held()) == ["shop/0", "shop/1", "shop/2", "shop/4"]
    other.remove("shop/0", 9)
    second = run(other, by_workers(other))
    assert (second.total, second.done, second.removed) == (8, 5, 1)
    held = {name: 1 for name in one.held() if name != "shop/0"}
    assert other.held() == held
    assert other.messages() == 9 + 1  # each listing once, and the removal


def test_parts_are_handed_out_no_faster_than_the_rate(towns: tuple[Town, Town]) -> None:
    """Without workers, so that nothing but the rate takes time."""
    handed: list[float] = []

    def tag(parts: Any) -> Iterator[list[Outcome]]:
        for part in list(parts):  # all ahead of the first result, as a round of Ray
            handed.append(time.monotonic())
            yield [Transient("fetch", "away", "away") for _ in part.events]

    began = time.monotonic()
    towns[0].backfill_by(tag, BackfillSettings(listings_per_s=20.0, listings_at_once=2)).run(
        threading.Event(), lambda _: None
    )
    assert handed[0] - began >= 11 / 20, "all eleven listings are taken before the first result"


def test_a_part_gives_an_outcome_for_each_listing_in_order(towns: tuple[Town, Town]) -> None:
    town = towns[0]
    states = {state.listing_id: state for state in town.store.scan() if isinstance(state, StoredListing)}
    events = [states[f"shop/{name}"].event for name in ("away", "half", "empty")]
    part = Part(events)
    away, half, empty = tag_part(part, setup=setup_of(town))
    assert str(part) == "shop/away, shop/half, shop/empty"
    assert isinstance(away, Transient)
    assert isinstance(half, Tagged)
    assert (list(half.rows), list(half.thumbnails), list(half.bad)) == (["good"], ["good"], ["bad"])
    assert empty == Tagged({}, {}, {})
    assert events[0].event_time == BASE_US + 1
