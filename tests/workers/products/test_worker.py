"""The worker over a real stream and a real store: what it writes and publishes, after restarts, outages and losses."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from schemas.envelope import header
from schemas.errors import Transient
from schemas.events import ListingEvent
from schemas.hashes import HashMessage
from schemas.products import PRODUCT_TYPE, Membership, Product, ProductMessage, decode_product, encode_product, first_id
from schemas.topics import PRODUCTS
from tests.contract.backends import locked_file
from tests.workers.indexer.hash_topic import EPOCH, Publisher, stream_at
from tests.workers.indexer.running import until
from tests.workers.products.running import published, running, sent
from tests.workers.products.shop import Shop, naive_groups, renamed
from tests.workers.test_catching_up import Clock
from workers.http.serving import Health
from workers.products import ProductsSettings, build_products
from workers.products.lease import SETTING
from workers.stores import Store, build_store
from workers.streams import Stream
from workers.watching.declared import registry_of

RULES = {"radius_bits": 10, "most_copies": 5}


@pytest.fixture
def stream(tmp_path: Path) -> Stream:
    return stream_at(tmp_path)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with closing(build_store(f"sqlite://{tmp_path}/store.db")) as made:
        yield made


@pytest.fixture
def publisher(stream: Stream) -> Iterator[Publisher]:
    with Publisher(stream, EPOCH) as made:
        yield made


class Town:
    """A shop whose events are published; `live` is what should be grouped."""

    def __init__(self, publisher: Publisher, store: Store, seed: int) -> None:
        self.shop = Shop(random.Random(seed), places=5)
        self.publisher, self.store = publisher, store

    def send(self, count: int) -> None:
        draw = self.shop.draw
        for _ in range(count):
            made = renamed(self.shop.message(draw.randrange(40)), epoch=EPOCH)
            if draw.random() < 0.2:
                self.remove(made)
            else:
                self.publisher.put(made)
                self.shop.live[made.listing_id] = made
        self.publisher.flush()

    def remove(self, made: HashMessage) -> None:
        gone = ListingEvent(event_id="gone", listing_id=made.listing_id, event_time=made.event_time, type="removed")
        self.store.remove(gone)
        self.publisher.raw(made.listing_id, None, made.event_time)
        self.shop.live.pop(made.listing_id, None)

    def expected(self) -> set[frozenset[str]]:
        return naive_groups(self.shop.live, RULES["radius_bits"], RULES["most_copies"])


def groups(store: Store) -> set[frozenset[str]]:
    names = {one.product_id for one in store.all_memberships()}
    return {frozenset(store.members(name)) for name in names}


def ids(store: Store) -> dict[str, str]:
    return {one.listing_id: one.product_id for one in store.all_memberships()}


def check(stream: Stream, store: Store) -> None:
    """Topic and store say the same, every product has its founder, and no alias has members."""
    founded = {one.product_id: one.founded for one in store.all_products()}
    said = {name: (one.product_id, one.founded) for name, one in published(stream).items()}
    assert said == {name: (product_id, founded[product_id]) for name, product_id in ids(store).items()}
    for one in store.all_products():
        assert (one.founder in store.members(one.product_id)) == (one.survivor is None)


@pytest.mark.parametrize("seed", range(2))
def test_products_follow_the_topic_through_restarts_and_a_rebuild(
    stream: Stream, store: Store, publisher: Publisher, seed: int
) -> None:
    town = Town(publisher, store, seed)
    for _ in range(3):
        town.send(40)  # some of it while no worker runs
        with running(stream, store, **RULES):
            until(lambda: groups(store) == town.expected())
            town.send(40)
            until(lambda: groups(store) == town.expected())
        check(stream, store)
    before, messages = ids(store), sent(stream)
    products = {one.product_id: one for one in store.all_products()}
    with running(stream, store, **RULES):
        pass
    assert ids(store) == before
    assert {one.product_id: one for one in store.all_products()} == products
    assert sent(stream) == messages, "what is the same is not published again"


def test_a_removal_while_nobody_looked_and_compaction_of_its_tombstone_leave_nothing(
    stream: Stream, store: Store, publisher: Publisher, tmp_path: Path
) -> None:
    town = Town(publisher, store, 3)
    town.send(30)
    with running(stream, store, **RULES):
        until(lambda: groups(store) == town.expected())
    gone = sorted(town.shop.live)[:3]
    for name in gone:
        town.shop.time += 1
        town.remove(renamed(town.shop.live[name], event_time=town.shop.time))
    anew = stream_at(tmp_path / "anew")  # a topic without the tombstones
    with Publisher(anew, EPOCH) as other:
        for made in town.shop.live.values():
            other.put(made)
        other.flush()
        with running(anew, store, **RULES):
            until(lambda: groups(store) == town.expected())
    assert not ids(store).keys() & set(gone)


def test_listings_that_a_new_epoch_lacks_keep_their_product(stream: Stream, store: Store, tmp_path: Path) -> None:
    """While a back-fill runs, the topic of the new epoch has a part of the listings; the store has them all."""
    from tests.contract.test_store_contract import effects, event

    shop = Shop(random.Random(5), places=1, spread=1)
    names = ("a", "b", "c")
    for number, name in enumerate(names):
        store.write(*effects(event(name, number + 1)))
    made = {}
    for name in names:
        while len((one := shop.message(0)).images) != 1 or one.category is not None:
            pass
        made[name] = renamed(one, listing_id=name, epoch=EPOCH)
    with Publisher(stream, EPOCH) as publisher:
        for one in made.values():
            publisher.put(one)
        publisher.flush()
        with running(stream, store, **RULES):
            until(lambda: groups(store) == {frozenset(names)})
    before = ids(store)
    other = "ffffffffffff"
    with Publisher(stream, other) as publisher:
        publisher.put(renamed(made["b"], epoch=other))
        publisher.flush()
        with running(stream, store, other, **RULES):
            assert ids(store) == before
            for name in ("c", "a"):
                publisher.put(renamed(made[name], epoch=other))
            publisher.flush()
            until(lambda: len(store.members(before["a"])) == 3)
    assert ids(store) == before


def test_the_worker_waits_for_the_store_and_goes_on_without_a_restart(
    stream: Stream, store: Store, publisher: Publisher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workers.sqlite.BUSY_TIMEOUT_S", 0.2)
    with closing(build_store(f"sqlite://{tmp_path}/own.db")) as own:
        town = Town(publisher, own, 7)
        town.send(20)
        impatient = own._writer._db  # type: ignore[attr-defined]
        impatient.execute("PRAGMA busy_timeout = 200")
        with running(stream, own, **RULES) as health:
            until(lambda: groups(own) == town.expected())
            with locked_file(tmp_path / "own.db"):
                for made in [renamed(town.shop.message(n + 50), epoch=EPOCH) for n in range(5)]:
                    publisher.put(made)
                    town.shop.live[made.listing_id] = made
                publisher.flush()
                until(lambda: "store" in health.degraded)
                assert health.live
                assert health.ready
            until(lambda: groups(own) == town.expected() and not health.degraded)
        check(stream, own)


def test_messages_have_headers_of_their_type_and_unusable_records_are_skipped(
    stream: Stream, store: Store, publisher: Publisher
) -> None:
    shop = Shop(random.Random(1), places=1, spread=1)
    while not (made := renamed(shop.message(1), epoch=EPOCH)).images:
        pass
    publisher.raw("l-999", b"{}", 1)
    publisher.raw("l-999", None, None)
    publisher.put(renamed(made, listing_id="stranger", epoch="ffffffffffff"))
    publisher.put(made)
    publisher.flush()
    with running(stream, store, **RULES):
        until(lambda: set(ids(store)) == {made.listing_id})
    admin = stream.admin()
    (record,) = admin.read(PRODUCTS)
    admin.close()
    assert header(record.headers, "ce_type") == PRODUCT_TYPE
    assert header(record.headers, "ce_partitionkey") == made.listing_id
    assert record.key == made.listing_id.encode()


def test_what_was_published_and_never_stored_leaves_the_topic(
    stream: Stream, store: Store, publisher: Publisher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The store takes no writes while a plan is published; before it does again, one of the listings is removed."""
    monkeypatch.setattr("workers.sqlite.BUSY_TIMEOUT_S", 0.2)
    shop = Shop(random.Random(3), places=1, spread=1)
    while not (some := renamed(shop.message(1), epoch=EPOCH)).images:
        pass
    with closing(build_store(f"sqlite://{tmp_path}/own.db")) as own:
        own._writer._db.execute("PRAGMA busy_timeout = 200")  # type: ignore[attr-defined]
        with running(stream, own, **RULES) as health:
            with locked_file(tmp_path / "own.db"):
                for name in ("a", "c"):
                    publisher.put(renamed(some, listing_id=name, epoch=EPOCH))
                publisher.flush()
                until(lambda: published(stream).keys() == {"a", "c"} and "store" in health.degraded)
                publisher.raw("c", None, some.event_time + 1)
                publisher.flush()
            until(lambda: published(stream).keys() == {"a"} and set(dict(own_ids(own))) == {"a"})


def own_ids(store: Store) -> list[tuple[str, str]]:
    return [(one.listing_id, one.product_id) for one in store.all_memberships()]


def test_a_start_corrects_what_a_crash_left_on_the_topic(stream: Stream, store: Store, publisher: Publisher) -> None:
    """The process before it died between publishing and writing, and the listing was removed meanwhile."""
    shop = Shop(random.Random(4), places=1, spread=1)
    while not (some := renamed(shop.message(1), epoch=EPOCH)).images:
        pass
    publisher.put(renamed(some, listing_id="a", epoch=EPOCH))
    publisher.flush()
    with running(stream, store, **RULES):
        until(lambda: published(stream).keys() == {"a"})
    right = published(stream)["a"]
    with closing(stream.producer()) as producer:
        for name in ("a", "c"):
            wrong = ProductMessage(listing_id=name, product_id="p-" + "0" * 20, founded=right.founded)
            producer.send(PRODUCTS, name.encode(), encode_product(wrong), ())
        producer.send(PRODUCTS, b"foreign", b"no message", ())
        producer.flush(10)
    with running(stream, store, **RULES):
        pass
    admin = stream.admin()
    newest = {record.key: record.value for record in admin.read(PRODUCTS)}
    admin.close()
    assert {key for key, value in newest.items() if value is not None} == {b"a"}
    assert published_last(newest[b"a"]) == right


def published_last(value: bytes | None) -> ProductMessage:
    assert value is not None
    return decode_product(value)


def test_of_two_workers_one_waits_and_goes_on_when_the_other_ends(
    stream: Stream, store: Store, publisher: Publisher
) -> None:
    town = Town(publisher, store, 8)
    with running(stream, store, **RULES), running(stream, store, owner="two", waits=True, **RULES) as second:
        town.send(40)
        until(lambda: groups(store) == town.expected())
        assert (second.ready, second.live) == (False, True)
        assert second.waiting_for == "one, which writes the products of this store"
    check(stream, store)
    before = ids(store)
    with running(stream, store, owner="two", **RULES):
        town.send(20)
        until(lambda: groups(store) == town.expected())
        with running(stream, store, waits=True, **RULES) as second:
            pass
    check(stream, store)
    kept = {name: product for name, product in ids(store).items() if before.get(name) == product}
    assert kept


def test_after_another_worker_has_written_the_store_is_read_again(
    stream: Stream, store: Store, publisher: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that stood still wrote after this one took over, and then counted the version of the lease up."""
    monkeypatch.setattr("workers.products.lease.Lease.__init__.__defaults__", (0.3, time.monotonic))
    town = Town(publisher, store, 9)
    with running(stream, store, **RULES):
        town.send(40)
        until(lambda: groups(store) == town.expected())
        before = ids(store)
        store.drop_products([], sorted(before)[:3])
        while not ((found := store.setting(SETTING)) and store.put_setting(SETTING, found.value, found.version)):
            pass
        until(lambda: ids(store) == before)
    check(stream, store)


def shown(name: str) -> float | None:
    """What `/metrics` of a products worker shows."""
    return registry_of("products").get_sample_value(f"groknet_{name}")


def test_who_loses_the_lease_stands_by_is_not_stale_and_shows_no_products(
    stream: Stream, store: Store, publisher: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    renewals, seconds = Clock(), Clock()
    monkeypatch.setattr("workers.products.lease.Lease.__init__.__defaults__", (15.0, renewals))
    town = Town(publisher, store, 10)
    with running(stream, store, health=Health(clock=seconds), **RULES) as health:
        town.send(20)
        until(lambda: shown("product_listings") == sum(map(len, town.expected())) and groups(store) == town.expected())
        found = store.setting(SETTING)
        assert found is not None
        assert store.put_setting(SETTING, b"other", found.version)
        renewals.now += 6
        until(lambda: health.standby and health.waiting_for == "other, which writes the products of this store")
        assert not health.ready
        assert [shown(name) for name in ("products", "product_listings", "product_unsettled")] == [0, 0, 0]
        seconds.now += 25  # less than the heartbeat may take, so the worker stays live
        until(lambda: not health.heartbeat_age_s)
        seconds.now += 25
        until(lambda: not health.stale)
        renewals.now += 16  # the other one is gone
        until(lambda: health.ready)
        assert not health.standby
        assert shown("product_listings") == sum(map(len, town.expected()))


class Meddled:
    """The store itself; `meddle` is called before rows of listings are read, which is while a plan is made."""

    def __init__(self, store: Store, meddle: Callable[[], None]) -> None:
        self._store, self._meddle = store, meddle

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def get(self, listing_ids: list[str]) -> Any:
        self._meddle()
        return self._store.get(listing_ids)


def test_a_plan_is_dropped_if_another_worker_wrote_while_it_was_made(
    stream: Stream, store: Store, publisher: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other one, which had stood still, gives both listings the product that it had planned long before."""
    renewals = Clock()
    monkeypatch.setattr("workers.products.lease.Lease.__init__.__defaults__", (15.0, renewals))
    shop = Shop(random.Random(4), places=1, spread=1)
    while not (some := renamed(shop.message(1), epoch=EPOCH)).images:
        pass
    older = Product(product_id=first_id("a", 7), founded=7, founder="a")
    told: list[int] = []

    def member(name: str, since: int) -> Membership:
        return Membership(listing_id=name, product_id=older.product_id, since=since)

    def meddle() -> None:
        if not told:
            told.append(1)
            with closing(stream.producer()) as producer:
                for name in ("a", "b"):
                    one = ProductMessage(listing_id=name, product_id=older.product_id, founded=older.founded)
                    producer.send(PRODUCTS, name.encode(), encode_product(one), ())
                producer.flush(10)
            store.put_products([older], [member("a", 7), member("b", 8)])
            found = store.setting(SETTING)
            assert found is not None
            assert store.put_setting(SETTING, found.value, found.version)
            renewals.now += 6

    for name in ("a", "b"):
        publisher.put(renamed(some, listing_id=name, epoch=EPOCH))
    publisher.flush()
    meddled: Any = Meddled(store, meddle)
    with running(stream, meddled, **RULES):
        until(lambda: published(stream).keys() == {"a", "b"})
    assert told
    assert [one.product_id for one in store.all_products()] == [older.product_id], "nothing of the stale plan is stored"
    assert ids(store) == {"a": older.product_id, "b": older.product_id}
    assert sent(stream) == 2, "nothing of the stale plan is published"
    check(stream, store)


def test_the_worker_names_the_service_that_an_error_is_about(stream: Stream, store: Store) -> None:
    worker = build_products(ProductsSettings(), stream=stream, store=store, epoch=EPOCH, health=Health(), owner="one")
    for stage in ("store", "stream"):
        assert worker._who_is_away(Transient(stage, "timeout", "no answer")) == stage
    assert worker._who_is_away(Transient("sqlite", "database_unavailable", "locked")) == "stream"  # the store answers
