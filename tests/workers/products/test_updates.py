"""Records of the hash topic: what is taken, what is older than what is known, and what is refused by which name."""

from __future__ import annotations

import pytest

from schemas.hashes import EVENT_TIME_HEADER, encode_hashes
from schemas.topics import hash_topic
from tests.workers.products.shop import BIRTH, EPOCH, renamed
from tests.workers.products.test_links import message
from workers.products.grouping import Grouping
from workers.products.naming import Book
from workers.products.settings import ProductsSettings
from workers.products.updates import Updates
from workers.streams import Partition, Record
from workers.watching.declared import registry_of

PLACE = Partition(hash_topic(EPOCH), 0)


def record(key: str, value: bytes | None, event_time: str | None = None) -> Record:
    headers = () if event_time is None else ((EVENT_TIME_HEADER, event_time.encode()),)
    return Record(PLACE, 0, 0, key.encode(), value, headers)


def counted(name: str, **labels: str) -> float:
    return registry_of("products").get_sample_value(name, labels) or 0.0


def test_newer_states_are_taken_and_older_ones_are_not() -> None:
    grouping, updates = Grouping(ProductsSettings(), EPOCH, Book(), lambda _: {}), Updates()
    before = {one: counted("groknet_events_total", stage="products", outcome=one) for one in ("applied", "superseded")}
    updates.take(grouping, record("a", encode_hashes(message("a", 1))))
    assert "a" in grouping.links
    updates.take(grouping, record("a", None, str(BIRTH + 5)))
    assert ("a" in grouping.links, grouping.gone) == (False, {"a": BIRTH + 5})
    updates.take(grouping, record("a", encode_hashes(message("a", 1, time=BIRTH + 4))))
    assert "a" not in grouping.links
    after = {one: counted("groknet_events_total", stage="products", outcome=one) - before[one] for one in before}
    assert after == {"applied": 2, "superseded": 1}


@pytest.mark.parametrize(
    ("bad", "error"),
    [
        (record("a", b"{"), "invalid_hash_message"),
        (record("b", encode_hashes(message("a", 1))), "key_mismatch"),
        (record("a", encode_hashes(renamed(message("a", 1), epoch="f" * 12))), "epoch"),
        (record("a", None), "no_event_time"),
        (record("a", None, "yesterday"), "no_event_time"),
        (record("a b", None, "1"), "invalid_key"),
    ],
)
def test_what_cannot_be_used_is_counted_by_its_reason_and_changes_nothing(bad: Record, error: str) -> None:
    grouping = Grouping(ProductsSettings(), EPOCH, Book(), lambda _: {})
    before = counted("groknet_product_refused_total", error=error)
    Updates().take(grouping, bad)
    assert counted("groknet_product_refused_total", error=error) == before + 1
    assert (len(grouping.links), grouping.unsettled) == (0, 0)
