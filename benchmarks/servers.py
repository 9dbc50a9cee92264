"""Helpers for benchmarks on real servers: a new keyspace, and the topics of a bundle."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from deploy.local import Services
from schemas.topics import topics_for
from workers.streams.base import Stream, TopicSpec


@dataclass(frozen=True, slots=True)
class Keyspace:
    """A migrated keyspace and the address of its first node."""

    url: str
    name: str
    node: tuple[str, int]


def new_keyspace(services: Services, home: Path) -> Keyspace:
    """Create a keyspace with the command that an operator would use. `home` is any folder."""
    host, port, name = services.contact_points[0], services.cassandra_port, f"bench_{time.time_ns()}"
    found = Keyspace(f"cassandra://{host}:{port}/{name}", name, (host, port))
    subprocess.run(
        [sys.executable, "-m", "groknet", "store", "migrate", "--home", str(home)],
        env=os.environ | {"GROKNET__STORE__URL": found.url},
        check=True,
        capture_output=True,
    )
    return found


def make_topics(stream: Stream, epoch: str) -> None:
    """Create every topic of groknet."""
    admin = stream.admin()
    topics = topics_for(epoch)
    admin.ensure_topics([TopicSpec(t.name, t.partitions, t.cleanup == "compact", t.retention_ms) for t in topics])
    admin.close()
