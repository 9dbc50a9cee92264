"""Writes the lock files again: `python -m deploy.local.downloads.relock`, after a version below has changed.

It needs the extra `services` and a Maven repository, and takes a minute.
"""

from __future__ import annotations

import argparse
import hashlib
import tempfile
from pathlib import Path

from deploy.local.downloads.jars import Jar, jar_from_file, write_lock

SERVERS = {
    # 4.4.0 does not resolve whole. log4j-slf4j-impl binds the server's slf4j 1.7 to its log4j 2, else it logs nothing.
    "kafka": ("org.apache.kafka:kafka_2.13:4.3.1", "org.apache.logging.log4j:log4j-slf4j-impl:2.25.4"),
    "cassandra": ("org.apache.cassandra:cassandra-all:5.0.9",),
}
"""Server to the coordinates `group:artifact:version` that its lock is resolved from."""


def resolve(coordinates: tuple[str, ...], folder: Path) -> list[Jar]:
    """Download the jars that some coordinates need at run time into `folder`, and return them sorted by coordinate."""
    from jgo.maven import MavenContext

    context = MavenContext(repo_cache=folder, timeout=60)
    found: dict[tuple[str, str, str], Jar] = {}
    for coordinate in coordinates:  # one by one: resolved together, each would manage the versions of the others
        inputs, others = context.resolver.resolve([context.create_dependency(coordinate)])
        for entry in (dependency.artifact for dependency in [*inputs, *others]):
            key = (entry.groupId, entry.artifactId, entry.classifier)
            if entry.packaging == "jar" and key not in found:
                found[key] = jar_from_file(*key[:2], entry.version, entry.classifier, entry.resolve())
    return [found[key] for key in sorted(found)]


def main() -> None:
    """Resolve every server, and write its lock into this folder."""
    for server, coordinates in SERVERS.items():
        with tempfile.TemporaryDirectory() as folder:
            jars = resolve(coordinates, Path(folder))
        path = Path(__file__).with_name(f"{server}.lock")
        write_lock(path, coordinates, jars)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()[:12]
        print(f"{path.name}: {len(jars)} jars, {sum(jar.size for jar in jars) / 1e6:.0f} MB, lock {digest}")


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__).parse_args()
    main()
