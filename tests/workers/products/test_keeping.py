"""What is published and stored of a plan, and that a plan which was cut short is carried out again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from schemas.errors import Transient
from schemas.products import first_id
from schemas.topics import PRODUCTS, topics_for
from tests.contract.backends import locked_file
from tests.workers.indexer.hash_topic import EPOCH, stream_at
from tests.workers.products.running import published, sent
from workers.declared import registry_of
from workers.products.keeping import Keeper
from workers.products.naming import Book, Changes
from workers.stores import Store, build_store
from workers.streams import Producer, Stream, TopicSpec

TIMES = {"a": 1_700_000_000_000_001, "b": 1_700_000_000_000_002}


@pytest.fixture
def stream(tmp_path: Path) -> Stream:
    made = stream_at(tmp_path)
    admin = made.admin()
    topic = next(one for one in topics_for(EPOCH) if one.name == PRODUCTS)
    admin.ensure_topics([TopicSpec(topic.name, topic.partitions, True, topic.retention_ms)])
    admin.close()
    return made


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with closing(build_store(f"sqlite://{tmp_path}/store.db")) as made:
        yield made


@pytest.fixture
def producer(stream: Stream) -> Iterator[Producer]:
    with closing(stream.producer()) as made:
        yield made


def counted(change: str) -> float:
    return registry_of("products").get_sample_value("groknet_product_changes_total", {"change": change}) or 0.0


def test_every_change_is_published_stored_and_counted(stream: Stream, store: Store, producer: Producer) -> None:
    keeper, book = Keeper(store, producer), Book()
    before = {change: counted(change) for change in ("joined", "moved", "left", "merged", "ended")}

    def keep(groups: list[str], gone: dict[str, int]) -> None:
        changes = book.named(groups, TIMES, gone)
        keeper.keep(book, changes, gone)
        book.take(changes)

    keep(["a", "b"], {})
    assert {name: one.product_id for name, one in published(stream).items()} == {
        name: first_id(name, time) for name, time in TIMES.items()
    }
    keep(["ab"], {})
    assert {one.product_id for one in published(stream).values()} == {first_id("a", TIMES["a"])}
    assert store.members(first_id("a", TIMES["a"])) == ["a", "b"]
    keep([], {"a": 9, "b": 9})
    assert (published(stream), list(store.all_memberships()), list(store.all_products())) == ({}, [], [])
    after = {change: counted(change) - before[change] for change in before}
    assert after == {"joined": 2, "moved": 1, "left": 2, "merged": 1, "ended": 2}


def test_no_change_costs_no_message(stream: Stream, store: Store, producer: Producer) -> None:
    Keeper(store, producer).keep(Book(), Changes(), {})
    assert sent(stream) == 0


def test_a_store_that_is_away_leaves_the_plan_to_be_made_again(
    stream: Stream, producer: Producer, tmp_path: Path
) -> None:
    with closing(build_store(f"sqlite://{tmp_path}/own.db")) as own:
        own._writer._db.execute("PRAGMA busy_timeout = 50")  # type: ignore[attr-defined]
        keeper, book = Keeper(own, producer), Book()
        changes = book.named(["ab"], TIMES)
        with locked_file(tmp_path / "own.db"), pytest.raises(Transient):
            keeper.keep(book, changes, {})
        assert book.named(["ab"], TIMES).memberships == changes.memberships
        keeper.keep(book, changes, {})
        assert own.members(first_id("a", TIMES["a"])) == ["a", "b"]
        assert len(published(stream)) == 2
