"""Options and helpers of every client that fetches records."""

from __future__ import annotations

from typing import Any

from workers.streams.base import Partition, Record

FETCH_OPTIONS = {
    "auto_offset_reset": "earliest",
    "enable_auto_commit": False,
    "allow_auto_create_topics": False,
    "fetch_max_bytes": 16 * 1024 * 1024,  # of one broker's answer; at most two answers are in memory
    "metrics_enabled": False,  # workers have their own metrics; the client's cost 10 % of a poll
}


def release_parked(client: Any) -> None:
    """Let the next poll of a consumer of kafka-python hand out what it parked for partitions that are resumed by now.

    kafka-python 3.0.12 parks the rest of a fetch when its partition is paused. It takes the rest up again only while
    `_next_partition_records` is None, but the fetch that it finished last stays there, empty. Until the parked rest is
    taken up, the partition is not fetched either, not even after it moved to another member and came back.
    Call this before each poll, in the thread that polls: only `poll` changes these attributes. See
    docs/explanation/kafka-client.md.
    """
    fetcher = client._fetcher
    if not fetcher._next_partition_records:  # None, or a fetch that has been taken whole
        fetcher._next_partition_records = None


def record_of(partition: Partition, item: Any) -> Record:
    """Turn a record of kafka-python into a `Record`."""
    headers = tuple((name, value or b"") for name, value in item.headers) if item.headers else ()
    return Record(partition, item.offset, item.timestamp, item.key, item.value, headers)
