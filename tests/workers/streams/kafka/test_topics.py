"""How topics are made, by the number of brokers."""

from __future__ import annotations

import pytest

from schemas.topics import DEAD_LETTERS, UPLOADED, source_topics
from workers.streams import TopicSpec

pytest.importorskip("kafka")
pytestmark = pytest.mark.filterwarnings(
    "ignore:(read|open)_text is deprecated:DeprecationWarning"
)  # kafka-python 3.0.12


@pytest.mark.parametrize(
    ("brokers", "replicas", "copies", "in_sync"),
    [(1, None, 1, 1), (2, None, 2, 1), (3, None, 3, 2), (9, None, 3, 2), (9, 5, 5, 3), (3, 1, 1, 1)],
)
def test_a_write_needs_more_than_half_of_the_copies(
    brokers: int, replicas: int | None, copies: int, in_sync: int
) -> None:
    from workers.streams.kafka._topics import creation

    made = creation([TopicSpec("t", 4)], brokers, replicas)["t"]
    assert (made["num_partitions"], made["replication_factor"]) == (4, copies)
    assert made["configs"]["min.insync.replicas"] == str(in_sync)


def test_the_largest_event_fits_where_it_goes_after_failure() -> None:
    from workers.streams.kafka._topics import creation

    made = creation([TopicSpec(name, 8) for name in (*source_topics(), DEAD_LETTERS)], 1, None)
    sizes = {name: int(topic["configs"].get("max.message.bytes", 1_048_588)) for name, topic in made.items()}
    source = sizes.pop(UPLOADED)
    assert len(sizes) == 3
    assert all(size >= source + 50_000 for size in sizes.values())
