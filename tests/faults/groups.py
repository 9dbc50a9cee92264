"""What Kafka itself says about the taggers' groups: what they have committed, and who has which live partitions."""

from __future__ import annotations

from typing import Any

from kafka.admin import KafkaAdminClient

from schemas.topics import UPLOADED
from workers.streams.base import Partition, StreamAdmin

LIVE_GROUP = "tagger"
GROUPS = (LIVE_GROUP, "tagger-retry")
"""The live topic's group and the retry topics'. Older taggers read all three topics as group `tagger`."""


def committed(admin: StreamAdmin, topic: str) -> dict[Partition, int]:
    """The next offset of each partition: the larger of what both groups have committed there."""
    found: dict[Partition, int] = {}
    for group in GROUPS:
        for partition, offset in admin.committed(group, topic).items():
            found[partition] = max(offset, found.get(partition, 0))
    return found


def live_shares(client: KafkaAdminClient) -> dict[str, int]:
    """Live partitions by member of the group; none while it is not stable. Raises errors of kafka-python."""
    group: dict[str, Any] = client.describe_groups([LIVE_GROUP])[LIVE_GROUP]
    if group["group_state"] != "Stable":
        return {}
    return {member["member_id"]: _live(member["member_assignment"]) for member in group["members"]}


def _live(assignment: Any) -> int:
    if not assignment:
        return 0
    assigned = assignment["assigned_partitions"] if isinstance(assignment, dict) else assignment.assigned_partitions
    places = [(a["topic"], a["partitions"]) if isinstance(a, dict) else (a.topic, a.partitions) for a in assigned]
    return sum(len(partitions) for topic, partitions in places if topic == UPLOADED)


def even(shares: dict[str, int], members: int) -> bool:
    """True when so many members have shares within one of each other."""
    return len(shares) == members and max(shares.values()) - min(shares.values()) <= 1
