"""Records of paused partitions, which kafka-python 3.0.12 keeps and may never hand out: see docs/kafka-client.md."""

from __future__ import annotations

from typing import Any


def release_parked(client: Any) -> None:
    """Let the next poll of a consumer of kafka-python hand out what it parked for partitions that are resumed by now.

    The client parks the rest of a fetch when its partition is paused. It takes the rest up again only while
    `_next_partition_records` is None, but the fetch that it finished last stays there, empty. Until the parked rest is
    taken up, the partition is not fetched either, even after it has been assigned to somebody else and come back.
    Call it before each poll, in the thread that polls: only `poll` changes these attributes.
    """
    fetcher = client._fetcher
    if not fetcher._next_partition_records:  # None, or a fetch that has been taken whole
        fetcher._next_partition_records = None
