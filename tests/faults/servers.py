"""Real servers for one fault schedule after the other: topics and keyspace are new each time, the processes are not."""

from __future__ import annotations

import itertools
import os
import time
from pathlib import Path

from kafka.admin import ConfigResource, KafkaAdminClient

from deploy.local import Services, ServicesSettings
from deploy.local.system.ports import free_ports
from schemas.errors import Transient
from schemas.topics import DEAD_LETTERS
from tests.contract import cassandra_keyspace
from tests.faults.ladder import SLOWNESS

SESSION_S = 2.0 * SLOWNESS
STORE_TIMEOUT_S = 2 * SLOWNESS  # a node that is paused is noticed within a schedule's seconds
GONE_S = 30.0 * SLOWNESS


def settings() -> ServicesSettings:
    """Ports of their own: while a broker is down, other servers that start would take the usual one, and be taken for
    it. A member that was killed is missed after 2 s, not 6: brokers allow no less unless told."""
    kafka, cassandra = itertools.islice(free_ports(["127.0.0.1"], Path(f"faults-{os.getpid()}"), ()), 2)
    return ServicesSettings(
        kafka_port=kafka,
        cassandra_port=cassandra,
        java_options=("-XX:TieredStopAtLevel=1",),
        kafka_options={"group.min.session.timeout.ms": "1000"},
        start_timeout_s=120 * SLOWNESS,
    )


def stream_url(services: Services) -> str:
    """Where taggers and indexers stream; servers of other settings allow no session below 6 s."""
    return f"kafka://{services.bootstrap}?session_s={SESSION_S}"


def fresh_store_url(services: Services) -> str:
    """A keyspace of its own, with its tables."""
    deadline = time.monotonic() + GONE_S
    while True:
        url = cassandra_keyspace.fresh_url(services)
        try:
            cassandra_keyspace.make(url)
            break
        except Transient:  # a node that has just started, on busy cores
            if time.monotonic() > deadline:
                raise
    return url.replace("timeout_s=30", f"timeout_s={STORE_TIMEOUT_S:g}")


def remove_topics(services: Services) -> None:
    """Every topic of ours goes, and with it the offsets that groups have committed in it."""
    admin = KafkaAdminClient(bootstrap_servers=services.bootstrap)
    try:
        ours = [name for name in admin.list_topics() if name.startswith("listings.")]
        if ours:
            admin.delete_topics(ours)
        deadline = time.monotonic() + GONE_S
        while any(name.startswith("listings.") for name in admin.list_topics()):
            assert time.monotonic() < deadline, "topics that were deleted are still there"
            time.sleep(0.1)
    finally:
        admin.close()


def refuse_dead_letters(services: Services, refuse: bool) -> None:
    """Make the broker refuse whatever is written to the dead-letter topic, or take it again."""
    admin = KafkaAdminClient(bootstrap_servers=services.bootstrap)
    try:
        configs = {"max.message.bytes": "1" if refuse else "1048588"}
        admin.alter_configs([ConfigResource("TOPIC", DEAD_LETTERS, configs=configs)])
    finally:
        admin.close()
