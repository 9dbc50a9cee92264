"""The join itself, without the look before a write: mutations in any order, as often as you like, end in one state."""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence

import msgspec
import pytest

from schemas.errors import Invalid, Transient
from schemas.events import ListingEvent
from schemas.predictions import RemovalMarker, StoredListing
from tests.contract.cassandra_keyspace import run_cql
from tests.contract.test_store_contract import dump, effects, event, naive, random_events, timeless
from workers.stores.base import Latest, Put
from workers.stores.cassandra import CassandraStore
from workers.stores.cassandra import _cells as cells

pytestmark = pytest.mark.services


def blind(
    store: CassandraStore,
    item: ListingEvent,
    model: str = "m1",
    bad: Sequence[str] = (),
    *,
    written_at: int = 1,
    clears: bool = True,
) -> None:
    """Write or remove as a writer would whose look was stale: whatever the store has; without `clears` it dies before
    its second step."""
    planner = store._planner
    if item.removed:
        join(store, planner._gone(item))
        return
    listing, thumbnails = effects(item, model, bad)
    version = cells.VersionCell(cells.rank_of(listing, cells.key_of(item.order)), stored_at=7, written_at=written_at)
    parts = planner._live(listing, version, event_is_there=False)
    join(store, parts + planner._photos(item.listing_id, item.order, thumbnails))
    if clears:
        join(store, planner._older(item.listing_id, item.order))


def join(store: CassandraStore, parts: list) -> None:
    assert store._join([parts], store._deadline()) == [None]


@pytest.mark.parametrize("seed", range(6))
def test_blind_writes_in_any_order_end_where_the_largest_event_does(store: CassandraStore, seed: int) -> None:
    rng = random.Random(seed)
    events = random_events(rng, 60)
    events += events[::2]
    rng.shuffle(events)
    for item in events:
        blind(store, item, clears=rng.random() < 0.5)
    assert dump(store, "abc") == naive(events)


def test_every_order_of_a_tie_an_update_and_a_removal(store: CassandraStore) -> None:
    """Equal times (two digests and a removal), the microsecond before and the one after: all 120 orders."""
    events = [
        event("l", 5, ["a", "b"]),
        event("l", 5, ["c"]),
        event("l", 5, ()),
        event("l", 4, ["a", "d"]),
        event("l", 6, ["b"]),
    ]
    for number, order in enumerate(itertools.permutations(events)):
        for item in order:
            blind(store, msgspec.structs.replace(item, listing_id=f"l{number}"))
    expected = naive([msgspec.structs.replace(item, listing_id=f"l{n}") for n in range(120) for item in events])
    assert dump(store, "abcd") == expected


def test_every_order_of_a_tie_alone(store: CassandraStore) -> None:
    live = [event("l", 5, ["a", "b"]), event("l", 5, ["a", "c"]), event("l", 5, ["a"], title="x")]
    with_removal = [*live, event("l", 5, ())]
    orders = [*itertools.permutations(live), *itertools.permutations(with_removal)]
    for number, order in enumerate(orders):
        for item in order:
            blind(store, msgspec.structs.replace(item, listing_id=f"l{number:02d}"))
    found = dump(store, "abc")
    for number, order in enumerate(orders):
        same = [msgspec.structs.replace(item, listing_id=f"l{number:02d}") for item in order]
        assert {f"l{number:02d}": found[f"l{number:02d}"]} == naive(same)


def test_runs_of_one_event_end_in_the_best_one_wholly(store: CassandraStore) -> None:
    now = event("l", 5, ["a", "b", "c"])
    runs = [["a", "b", "c"], ["a", "b"], ["c"], ["b"], []]
    either: dict[tuple, set] = {}
    for number, order in enumerate([*itertools.permutations(runs), *itertools.permutations(runs[1:4])]):
        item = msgspec.structs.replace(now, listing_id=f"l{number:03d}")
        for bad in order:
            blind(store, item, bad=bad)
        found = store.get([item.listing_id])[item.listing_id]
        best = min(order, key=len)
        equals = [bad for bad in order if len(bad) == len(best)]
        wanted = {tuple(bad): effects(item, bad=bad)[0] for bad in equals}
        winner = tuple(image.image_id for image in found.summary.bad_images)
        assert msgspec.structs.replace(found, stored_at=0) == wanted[winner]
        either.setdefault(tuple(sorted(map(tuple, equals))), set()).add(winner)
    assert all(len(winners) == 1 for winners in either.values())  # equally good ones: one of them in every order


def test_model_versions_of_one_event_do_not_meet(store: CassandraStore) -> None:
    old, new = event("l", 5, ["a", "b"]), event("l", 6, ["b"])
    writes = [(old, "m1"), (old, "m2"), (new, "m1"), (new, "m3")]
    for number, order in enumerate(itertools.permutations(writes)):
        name = f"l{number:02d}"
        for at, (item, model) in enumerate(order, start=1):
            blind(store, msgspec.structs.replace(item, listing_id=name), model, written_at=at)
        latest = store.latest([name])[name]
        assert latest.model_versions == {"m1", "m3"}
        last = max(("m1", "m3"), key=lambda m: order.index((new, m)))
        found = [store.get([name], model).get(name) for model in ("m1", "m2", "m3")]
        item = msgspec.structs.replace(new, listing_id=name)
        assert [None if one is None else timeless(one) for one in found] == [
            effects(item, "m1")[0],
            None,
            effects(item, "m3")[0],
        ]
        assert store.get([name])[name].model_version == last


def test_every_cell_is_written_at_its_events_time(store: CassandraStore, url: str) -> None:
    at = 1_700_000_000_000_001
    store.write(*effects(event("l", at, ["a"])))
    heads, bodies, photos = run_cql(
        url,
        "SELECT writetime(newest), writetime(event), writetime(event_time), event_time FROM {ks}.listings"
        " WHERE listing_id = 'l' AND model_version = ''",
        "SELECT writetime(body) FROM {ks}.listings WHERE listing_id = 'l' AND model_version = 'm1'",
        "SELECT writetime(photo) FROM {ks}.thumbnails WHERE listing_id = 'l'",
    )
    assert heads == [(at, at, at, at)]
    assert bodies == [(at,), (at,)]
    assert photos == [(at,)]


def test_after_a_removal_nothing_of_the_listing_lies_in_any_table(store: CassandraStore, url: str) -> None:
    for model in ("m1", "m2"):
        store.write(*effects(event("l", 5, ["a", "b"]), model))
    gone = event("l", 6, ())
    store.remove(gone)
    rows, photos = run_cql(url, "SELECT * FROM {ks}.listings", "SELECT * FROM {ks}.thumbnails WHERE listing_id = 'l'")
    marker = f"removed:{gone.digest}"
    assert [[value for value in row if value] for row in rows] == [["l", 6, marker]]
    assert photos == []


def test_an_update_leaves_nothing_of_the_older_event_behind(store: CassandraStore, url: str) -> None:
    for model in ("m1", "m2"):
        store.write(*effects(event("l", 5, ["a", "b"]), model))
    store.write(*effects(event("l", 6, ["b", "c"])))
    rows, photos = run_cql(
        url,
        "SELECT model_version, image_id, versions FROM {ks}.listings WHERE listing_id = 'l'",
        "SELECT image_id FROM {ks}.thumbnails WHERE listing_id = 'l'",
    )
    assert [(model, image) for model, image, _ in rows] == [("", ""), ("m1", ""), ("m1", "b"), ("m1", "c")]
    assert list(rows[0][2]) == ["m1"]
    assert photos == [("b",), ("c",)]


def test_the_same_state_at_a_later_time_is_another_event(store: CassandraStore) -> None:
    """A folder that was touched: equal digests. What another model version said of the older one is not served."""
    older, later = event("l", 5, ["a"]), event("l", 6, ["a"])
    assert older.digest == later.digest
    blind(store, older, "m2")
    blind(store, later, "m1", clears=False)
    assert store.latest(["l"])["l"].model_versions == {"m1"}
    assert store.get(["l"], "m2") == {}
    assert store.thumbnail("l", "a") == effects(later)[1]["a"]


def test_half_a_listing_is_never_served(store: CassandraStore, url: str) -> None:
    """What no write of ours leaves behind: a row that somebody deleted by hand."""
    store.write(*effects(event("l", 5, ["a", "b"])))
    where = "WHERE listing_id = 'l' AND model_version = 'm1' AND image_id = "
    run_cql(url, f"DELETE FROM {{ks}}.listings USING TIMESTAMP 5 {where} 'b'")
    for read in (lambda: store.get(["l"]), lambda: store.get(["l"], "m1"), lambda: list(store.scan())):
        with pytest.raises(Transient, match=r"listing l: .*repair"):
            read()
    store.write(*effects(event("l", 6, ["a"])))  # the next event mends it
    assert isinstance(store.get(["l"])["l"], StoredListing)
    store.remove(event("l", 7, ()))
    assert store.get(["l"]) == {"l": RemovalMarker(listing_id="l", event_time=7)}


def test_a_listing_too_large_for_one_mutation_is_refused_before_it_is_sent(store: CassandraStore) -> None:
    listing, _ = effects(event("l", 5, ["a"]))
    with pytest.raises(Invalid, match="max_listing_bytes") as caught:
        store.write(listing, {"a": bytes(5_000_000)})
    assert caught.value.error == "listing_too_large"
    assert store.get(["l"]) == {}
    other, thumbnails = effects(event("m", 5, ["a"]))
    outcomes = store.apply([Put(listing, {"a": bytes(5_000_000)}), Put(other, thumbnails)])
    assert [type(outcome) for outcome in outcomes] == [Invalid, Latest]
    assert timeless(store.get(["l", "m"])["m"]) == other
    store.write(listing, {"a": bytes(3_000_000)})  # well above what Cassandra allows a batch of several partitions
    assert store.thumbnail("l", "a") == bytes(3_000_000)
