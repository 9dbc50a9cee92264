"""What every store promises: event time decides, never arrival order; effects come and go together."""

from __future__ import annotations

import random
import threading
from collections.abc import Mapping, Sequence

import msgspec
import pytest

from schemas.events import SURPLUS, ImageRef, ListingEvent, Price
from schemas.predictions import BadImage, ImageRow, Prediction, RemovalMarker, StoredListing, Summary
from tests.contract.backends import StoreBackend, start
from workers.stores import Store
from workers.stores.base import Change, Latest, Put, Removal, Run

_WRITE = """
import sys
from tests.contract.backends import StoreBackend
from tests.contract.test_store_contract import event, effects
url, first, step = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
store = StoreBackend(url).build()
for time in range(first, 60, step):
    for number in range(5):
        store.write(*effects(event(f"listing-{number}", time + 1, ["a", f"b{time}"])))
store.close()
"""

_WRITE_UNTIL_KILLED = """
import sys
from tests.contract.backends import StoreBackend
from tests.contract.test_store_contract import event, effects
store = StoreBackend(sys.argv[1]).build()
number = 0
while True:
    store.write(*effects(event(f"listing-{number}", 1, ["a", "b"])))
    number += 1
    print(number, flush=True)
"""

Effects = tuple[StoredListing, dict[str, bytes]]
Dump = dict[str, tuple[StoredListing | RemovalMarker, dict[str, bytes]]]


def event(listing_id: str, time: int, images: Sequence[str] = ("a",), *, title: str | None = None) -> ListingEvent:
    """An event; no images: a removal."""
    return ListingEvent(
        event_id=f"{listing_id}-{time}",
        listing_id=listing_id,
        event_time=time,
        type="updated" if images else "removed",
        images=[ImageRef(image_id=i, url=f"https://example.org/{i}") for i in images],
        title=title,
    )


def effects(of: ListingEvent, model_version: str = "m1", bad: Sequence[str] = ()) -> Effects:
    """What a tagger would store of an event: a function of the event and the model version alone."""
    good = [image.image_id for image in of.images if image.image_id not in bad]
    rng = random.Random(f"{of.order}{model_version}")
    applies = rng.choice([None, [], ["category"]])  # None: of a bundle without applicability
    margins = rng.choice([None, rng.randbytes(256)])  # of older rows
    embedding = rng.choice([None, rng.randbytes(400)])  # None: a row of before, or the tagger keeps none
    rows = [
        ImageRow(
            image_id=i,
            predictions={"category": [Prediction(label="chair", probability=rng.random(), offered=True)]},
            hash=rng.randbytes(32).hex(),
            applies=applies,
            margins=margins,
            embedding=embedding,
        )
        for i in good
    ]
    summary = Summary(
        status="partial" if bad and good else "dead" if bad else "complete" if good else "empty",
        predictions=rows[0].predictions if rows else {},
        bad_images=[BadImage(image_id=i, stage="fetch", error="http_404") for i in bad],
        applies=applies if rows else None,
    )
    listing = StoredListing(
        listing_id=of.listing_id,
        event_time=of.event_time,
        model_version=model_version,
        epoch="0123456789ab",
        event=of,
        summary=summary,
        images=rows,
        stored_at=0,
    )
    return listing, {i: f"{of.digest}-{of.event_time}-{i}".encode() for i in good}


def apply(store: Store, item: ListingEvent, model_version: str = "m1") -> None:
    if item.removed:
        store.remove(item)
    else:
        store.write(*effects(item, model_version))


def change(item: ListingEvent) -> Change:
    return Removal(item) if item.removed else Put(*effects(item))


def timeless(listing: StoredListing | RemovalMarker) -> StoredListing | RemovalMarker:
    """Without `stored_at`, which is not part of the state."""
    if isinstance(listing, RemovalMarker):
        return listing
    return msgspec.structs.replace(listing, stored_at=0)


def dump(store: Store, image_ids: Sequence[str], model_version: str | None = None) -> Dump:
    result: Dump = {}
    for listing in store.scan(model_version):
        found = {i: store.thumbnail(listing.listing_id, i) for i in image_ids}
        result[listing.listing_id] = timeless(listing), {i: body for i, body in found.items() if body is not None}
    return result


def naive(events: Sequence[ListingEvent]) -> Dump:
    """The twin: of each listing the largest event is all there is."""
    newest: dict[str, ListingEvent] = {}
    for item in events:
        if item.listing_id not in newest or newest[item.listing_id].order < item.order:
            newest[item.listing_id] = item
    result: Dump = {}
    for listing_id, item in sorted(newest.items()):
        if item.removed:
            result[listing_id] = RemovalMarker(listing_id=listing_id, event_time=item.event_time), {}
        else:
            result[listing_id] = effects(item)
    return result


def random_events(rng: random.Random, count: int) -> list[ListingEvent]:
    """Few listings and few times, so that ties of time, duplicates and removals abound."""
    photos = ["a", "b", "c"]
    return [
        event(
            f"listing-{rng.randrange(6)}",
            rng.randrange(1, 9),
            rng.sample(photos, rng.randrange(1, 4)) if rng.random() < 0.75 else (),
            title=rng.choice([None, "x", "y"]) if rng.random() < 0.5 else None,
        )
        for _ in range(count)
    ]


@pytest.mark.parametrize("seed", range(8))
def test_every_order_of_arrival_ends_in_the_same_state(store_backend: StoreBackend, seed: int) -> None:
    rng = random.Random(seed)
    events = random_events(rng, rng.randrange(1, 60))
    events += [event(e.listing_id, e.event_time, (), title=e.title) if e.removed else e for e in events[::3]]
    expected = naive(events)
    rng.shuffle(events)
    store = store_backend.build()
    for item in events:
        apply(store, item)
    assert dump(store, "abc") == expected
    assert list(dump(store, "abc")) == sorted(expected)
    again = list(store.scan())
    for item in reversed(events):
        apply(store, item)
    assert list(store.scan()) == again  # stored_at included
    store.close()
    reopened = store_backend.build()
    assert list(reopened.scan()) == again
    reopened.close()


def test_a_listing_comes_back_as_written(store_backend: StoreBackend) -> None:
    store = store_backend.build()
    listing, thumbnails = effects(event("l", 5, ["b", "a", "c"]), bad=["a"])
    latest = store.write(listing, thumbnails)
    assert (latest.order, latest.removed, latest.model_versions) == (listing.event.order, False, {"m1"})
    assert store.latest(["l", "unknown"]) == {"l": latest}
    found = store.get(["l", "unknown"])
    assert {k: timeless(v) for k, v in found.items()} == {"l": listing}
    assert found["l"].stored_at > 1_600_000_000_000_000  # the store's clock, UTC microseconds
    assert [row.image_id for row in found["l"].images] == ["b", "c"]
    assert store.thumbnail("l", "b") == thumbnails["b"]
    assert store.thumbnail("l", "a") is None
    assert store.thumbnail("unknown", "b") is None
    given = msgspec.structs.replace(effects(event("m", 5))[0], stored_at=77)
    store.write(given, {})
    assert store.get(["m"])["m"] == given
    store.close()
    store.close()


def test_an_update_that_drops_a_photo_drops_its_row_and_thumbnail(store_backend: StoreBackend) -> None:
    store = store_backend.build()
    store.write(*effects(event("l", 1, ["a", "b"])))
    store.write(*effects(event("l", 2, ["b"])))
    assert [row.image_id for row in store.get(["l"])["l"].images] == ["b"]
    assert store.thumbnail("l", "a") is None
    assert store.thumbnail("l", "b") == effects(event("l", 2, ["b"]))[1]["b"]
    store.close()


def test_an_older_event_changes_nothing_and_learns_what_is_newer(store_backend: StoreBackend) -> None:
    store = store_backend.build()
    newest = store.write(*effects(event("l", 9, ["a"])))
    before = list(store.scan())
    assert store.write(*effects(event("l", 8, ["a", "b"]), "m2")) == newest
    assert store.remove(event("l", 8, ())) == newest
    assert list(store.scan()) == before
    assert store.thumbnail("l", "b") is None
    store.close()


def test_a_removal_takes_everything_and_leaves_a_marker(store_backend: StoreBackend) -> None:
    store = store_backend.build()
    for version in ("m1", "m2"):
        store.write(*effects(event("l", 1, ["a", "b"]), version))
    gone = event("l", 3, ())
    latest = store.remove(gone)
    assert (latest.order, latest.removed, latest.model_versions) == (gone.order, True, frozenset())
    assert store.remove(gone) == latest
    marker = RemovalMarker(listing_id="l", event_time=3)
    for version in (None, "m1", "m2"):
        assert store.get(["l"], version) == {"l": marker}
        assert list(store.scan(version)) == [marker]
    assert store.thumbnail("l", "a") is None
    assert store.write(*effects(event("l", 2, ["a"]))) == latest  # what comes late stays away
    assert store.get(["l"]) == {"l": marker}
    assert store.remove(event("never-seen", 4, ())).removed
    store.write(*effects(event("l", 4, ["a"])))  # listed again
    assert store.get(["l"])["l"].event_time == 4
    store.close()


def test_an_event_without_photos_takes_rows_and_thumbnails_and_is_kept(store_backend: StoreBackend) -> None:
    store = store_backend.build()
    for version in ("m1", "m2"):
        store.write(*effects(event("l", 1, ["a", "b"]), version))
    emptied = msgspec.structs.replace(
        event("l", 2), images=[], seller_id="s", price=Price(amount="1.50", currency="EUR")
    )
    latest = store.write(*effects(emptied))
    assert (latest.order, latest.removed) == (emptied.order, False)
    assert {name: run.status for name, run in latest.runs.items()} == {"m1": "empty"}
    assert store.latest(["l"])["l"].runs == latest.runs
    found = store.get(["l"])["l"]
    assert timeless(found) == effects(emptied)[0]
    assert [timeless(one) for one in store.scan()] == [timeless(found)]
    assert store.get(["l"], "m2") == {}
    assert store.thumbnail("l", "a") is None
    assert store.write(*effects(event("l", 1, ["a"]))) == latest  # what comes late stays away
    store.write(*effects(event("l", 3, ["c"])))
    assert [row.image_id for row in store.get(["l"])["l"].images] == ["c"]
    store.close()


def test_a_repair_counts_however_many_photos_are_beyond_those_that_are_used(store_backend: StoreBackend) -> None:
    """All runs of an event leave out the same photos, so these say nothing of how good a run is."""
    store = store_backend.build()
    many = event("l", 1, [str(n) for n in range(300)])
    surplus = [BadImage(image_id=image.image_id, stage="decode", error=SURPLUS) for image in many.surplus_images]

    def of(bad: Sequence[str]) -> Effects:
        listing, thumbnails = effects(msgspec.structs.replace(many, images=many.used_images), bad=bad)
        summary = msgspec.structs.replace(
            listing.summary, status="partial", bad_images=[*listing.summary.bad_images, *surplus]
        )
        return msgspec.structs.replace(listing, event=many, summary=summary), thumbnails

    for bad in (["3", "7"], ["7"], ["3", "7", "9"], []):
        store.write(*of(bad))
    found = store.get(["l"])["l"]
    assert timeless(found) == of([])[0]
    assert len(found.summary.bad_images) == 280
    store.close()


def test_at_equal_times_a_removal_wins_then_the_larger_digest(store_backend: StoreBackend) -> None:
    store = store_backend.build()
    small, large = sorted([event("l", 5, ["a"]), event("l", 5, ["b"])], key=lambda e: e.digest)
    for order in ([small, large], [large, small]):
        listing_id = f"l-{order[0].digest}"
        for item in order:
            apply(store, msgspec.structs.replace(item, listing_id=listing_id))
        assert store.latest([listing_id])[listing_id].order == large.order
        assert store.get([listing_id])[listing_id].event.images == large.images
        store.remove(event(listing_id, 5, ()))
        store.write(*effects(msgspec.structs.replace(large, listing_id=listing_id)))
        assert isinstance(store.get([listing_id])[listing_id], RemovalMarker)
    store.close()


def test_model_versions_lie_side_by_side_for_the_same_event(store_backend: StoreBackend) -> None:
    store = store_backend.build()
    now = event("l", 5, ["a"])
    store.write(*effects(now, "m1"))
    assert store.write(*effects(now, "m2")).model_versions == {"m1", "m2"}
    for version in ("m1", "m2"):
        assert timeless(store.get(["l"], version)["l"]) == effects(now, version)[0]
        assert [timeless(x) for x in store.scan(version)] == [effects(now, version)[0]]
    assert store.get(["l"])["l"].model_version == "m2"
    store.write(*effects(now, "m1"))  # the same again is not "stored last"
    assert store.get(["l"])["l"].model_version == "m2"
    assert store.get(["l"], "m3") == {}
    assert list(store.scan("m3")) == []
    # rows of an older event are never served as current: m2 is absent until it has processed the newer one
    assert store.write(*effects(event("l", 6, ["a"]), "m1")).model_versions == {"m1"}
    assert store.get(["l"], "m2") == {}
    store.close()


def test_a_replay_may_improve_on_an_event_and_never_worsens_it(store_backend: StoreBackend) -> None:
    store = store_backend.build()
    now = event("l", 5, ["a", "b"])
    store.write(*effects(now, bad=["a", "b"]))
    first = store.get(["l"])["l"].stored_at
    store.write(*effects(now, bad=["a"]))
    assert store.get(["l"])["l"].summary.status == "partial"
    both = [effects(now, bad=["a"]), effects(now, bad=["b"])]
    store.write(*both[0])
    store.write(*both[1])
    either = timeless(store.get(["l"])["l"])
    store.write(*both[0])
    assert timeless(store.get(["l"])["l"]) == either  # equally good: one of them wins whatever the order
    store.write(*effects(now))
    store.write(*effects(now, bad=["b"]))
    assert timeless(store.get(["l"])["l"]) == effects(now)[0]
    assert store.get(["l"])["l"].stored_at == first
    assert store.thumbnail("l", "a") == effects(now)[1]["a"]
    store.close()


def test_many_are_read_at_once_and_scanned_in_order(store_backend: StoreBackend) -> None:
    store = store_backend.build()
    ids = [f"listing/{n:04d}" for n in range(700)]
    shuffled = random.Random(4).sample(ids, len(ids))
    _in_threads([lambda i=i: store.write(*effects(event(i, 1))) for i in shuffled], threads=8)
    assert [listing.listing_id for listing in store.scan()] == ids
    assert {k: timeless(v) for k, v in store.get(ids).items()} == {i: effects(event(i, 1))[0] for i in ids}
    assert set(store.latest(ids)) == set(ids)
    store.close()


@pytest.mark.parametrize("seed", range(4))
def test_changes_made_together_end_where_they_do_one_by_one(store_backend: StoreBackend, seed: int) -> None:
    rng = random.Random(seed)
    events = random_events(rng, 80)
    events += events[::3]
    store = store_backend.build()
    at = 0
    while at < len(events):
        some = events[at : at + rng.randrange(1, 30)]
        at += len(some)
        outcomes = store.apply([change(item) for item in some])
        newest = {
            name: max(e.order for e in events[:at] if e.listing_id == name) for name in {e.listing_id for e in some}
        }
        for item, outcome in zip(some, outcomes, strict=True):
            assert isinstance(outcome, Latest)
            assert item.order <= outcome.order <= newest[item.listing_id]
            assert outcome.removed == outcome.order[1]
        assert {name: latest.order for name, latest in store.latest(sorted(newest)).items()} == newest
    assert dump(store, "abc") == naive(events)
    assert store.apply([]) == []
    store.close()


def test_latest_names_the_run_that_is_stored(store_backend: StoreBackend) -> None:
    store = store_backend.build()
    now = event("l", 5, ["a", "b"])
    worse, better = effects(now, bad=["a"]), effects(now)
    other = effects(now, "m2", bad=["a", "b"])
    first = store.write(*worse)
    assert first.runs == {"m1": Run("partial", worse[0].run)}
    assert store.write(*other).runs == {**first.runs, "m2": Run("dead", other[0].run)}
    after = store.write(*better)
    assert after.runs["m1"] == Run("complete", better[0].run)
    assert store.latest(["l"]) == {"l": after}
    again = msgspec.structs.replace(better[0], summary=msgspec.structs.replace(better[0].summary, predictions={}))
    assert again.run != better[0].run
    assert store.write(again, {}) == after  # as good: what is there stays, and is named
    for version, run in after.runs.items():
        assert store.get(["l"], version)["l"].run == run.name
    assert store.remove(event("l", 6, ())).runs == {}
    store.close()


@pytest.mark.parametrize("seed", range(3))
def test_what_a_change_says_is_newest_is_what_a_reader_finds(store_backend: StoreBackend, seed: int) -> None:
    rng = random.Random(seed)
    store = store_backend.build()
    for item in random_events(rng, 60):
        bad = [image.image_id for image in item.images if rng.random() < 0.3]
        removal = Removal(item) if item.removed else None
        (outcome,) = store.apply([removal or Put(*effects(item, rng.choice(["m1", "m2"]), bad))])
        assert store.latest([item.listing_id]) == {item.listing_id: outcome}
    store.close()


def test_threads_that_write_at_once_end_where_one_does(store_backend: StoreBackend) -> None:
    store = store_backend.build()
    events = random_events(random.Random(5), 200)
    _in_threads([lambda e=e: apply(store, e) for e in events], threads=6)
    assert dump(store, "abc") == naive(events)
    store.close()


def test_processes_that_write_at_once_end_where_one_does(store_backend: StoreBackend) -> None:
    store_backend.build().close()
    children = [start(_WRITE, store_backend.url, first, "2") for first in ("0", "1")]
    for child in children:
        assert child.wait(60) == 0
        child.stdout.close()
    store = store_backend.build()
    expected: Mapping[str, Effects] = {
        f"listing-{n}": effects(event(f"listing-{n}", 60, ["a", "b59"])) for n in range(5)
    }
    photos = ["a", *(f"b{n}" for n in range(60))]
    assert dump(store, photos) == expected
    store.close()


def test_what_was_acknowledged_survives_a_kill_and_nothing_is_half_there(store_backend: StoreBackend) -> None:
    child = start(_WRITE_UNTIL_KILLED, store_backend.url)
    for _ in range(20):
        child.stdout.readline()
    child.kill()
    acknowledged = [int(line) for line in child.stdout.read().splitlines() if line] or [20]
    child.wait()
    child.stdout.close()
    store = store_backend.build()
    found = dump(store, "ab")
    assert {f"listing-{n}" for n in range(acknowledged[-1])} <= set(found)
    assert found == {listing_id: effects(event(listing_id, 1, ["a", "b"])) for listing_id in found}
    store.close()


def test_a_misuse_is_refused(store_backend: StoreBackend) -> None:
    store = store_backend.build()
    listing, _ = effects(event("l", 1))
    with pytest.raises(ValueError, match="event_time"):
        store.write(msgspec.structs.replace(listing, event_time=2), {})
    with pytest.raises(ValueError, match="removed"):
        store.remove(listing.event)
    assert list(store.scan()) == []
    store.close()


def _in_threads(jobs: Sequence, threads: int) -> None:
    def work(mine: Sequence) -> None:
        for job in mine:
            job()

    workers = [threading.Thread(target=work, args=(jobs[n::threads],)) for n in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()


def test_a_photo_keeps_all_its_boxes_in_their_order_beside_a_whole_photo(store_backend: StoreBackend) -> None:
    """Rows of boxes come back as they were written, and a row without a box as a whole photo."""
    store = store_backend.build()
    listing, thumbnails = effects(event("l", 5, ["b", "a"]))
    first, whole = listing.images
    rng = random.Random(7)
    boxes = [
        msgspec.structs.replace(
            first,
            hash=rng.randbytes(32).hex(),
            predictions={"category": [Prediction(label="chair", probability=rng.random())]},
            box=tuple(round(edge, 4) for edge in (0.1 * i, 0.05, 0.1 * i + 0.3333, 1.0)),
            margins=bytes(range(i, 256)) + bytes(i) if i % 2 else None,
            embedding=rng.randbytes(400) if i % 3 else None,
        )
        for i in range(5)
    ]
    written = msgspec.structs.replace(listing, images=[*boxes, whole])
    assert store.write(written, thumbnails).runs["m1"] == Run("complete", written.run)
    found = store.get(["l"])["l"]
    assert timeless(found) == written
    assert [(row.image_id, row.box) for row in found.images] == [*(("b", box.box) for box in boxes), ("a", None)]
    assert timeless(next(iter(store.scan()))) == written
    assert store.thumbnail("l", "b") == thumbnails["b"]
    other = msgspec.structs.replace(written, images=[*boxes[:4], whole])
    assert other.run != written.run
    store.close()
