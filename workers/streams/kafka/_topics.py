"""Describes the existing topics, compares them with the specification, and prepares new ones."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kafka import errors  # type: ignore[import-untyped]
from kafka.admin import ConfigResource, KafkaAdminClient  # type: ignore[import-untyped]

from schemas.errors import ConfigError
from schemas.topics import AFTER_FAILURE
from workers.streams.base import TopicSpec
from workers.streams.kafka._connect import open_client, translated
from workers.streams.kafka._settings import KafkaSettings

_SPREAD_S = 3.0  # brokers learn of a new topic one after another, within a second
_WANTED_REPLICAS = 3
# An index that is restored from a snapshot must find the removals since that snapshot.
_TOMBSTONES_KEPT_MS = 7 * 24 * 3600 * 1000
_DEFAULT_MAX_BYTES = 1_048_588  # of a record with its headers; Kafka's default
_ROOM_FOR_HEADERS = 64 * 1024
_UNKNOWN_TOPIC = 3  # error code of the protocol
_FORBIDDEN_TOPIC = 29


@dataclass(frozen=True, slots=True)
class TopicFacts:
    """The configuration of an existing topic. If it may not be read, Kafka's defaults stand in for it."""

    partitions: int
    compacted: bool
    retention_ms: int | None
    max_message_bytes: int


def describe(client: Any, names: Collection[str]) -> dict[str, TopicFacts]:
    """Those of these topics that exist. Raises errors of kafka-python."""
    found: dict[str, int] = {}
    for topic in client.describe_topics(list(names)):
        if topic["error_code"] == _FORBIDDEN_TOPIC:
            raise errors.TopicAuthorizationFailedError(topic["name"])
        if topic["error_code"] != _UNKNOWN_TOPIC and topic["partitions"]:
            found[topic["name"]] = len(topic["partitions"])
    if not found:
        return {}
    resources = [ConfigResource("TOPIC", name) for name in found]
    configs = client.describe_configs(resources, config_filter="all").get("topic", {})
    return {name: _facts(partitions, configs.get(name, {})) for name, partitions in found.items()}


def _facts(partitions: int, config: Mapping[str, Mapping[str, str]]) -> TopicFacts:
    values = {key: entry["value"] for key, entry in config.items()}
    policy = values.get("cleanup.policy", "delete").replace(" ", "").split(",")
    retention_ms = int(values.get("retention.ms", -1)) if "delete" in policy else -1
    return TopicFacts(
        partitions=partitions,
        compacted="compact" in policy,
        retention_ms=None if retention_ms < 0 else retention_ms,
        max_message_bytes=int(values.get("max.message.bytes", _DEFAULT_MAX_BYTES)),
    )


def await_topics(client: Any, names: Collection[str]) -> dict[str, TopicFacts]:
    """Wait some seconds until all these topics exist. Raises ConfigError if one is missing, and errors of
    kafka-python."""
    deadline = time.monotonic() + _SPREAD_S
    while True:
        found = describe(client, names)
        missing = sorted(set(names) - found.keys())
        if not missing:
            return found
        if time.monotonic() >= deadline:
            raise ConfigError(f"topic {missing[0]!r} does not exist; create it with `groknet topics apply`")
        time.sleep(0.2)


def require_topics(settings: KafkaSettings, names: Collection[str]) -> dict[str, TopicFacts]:
    """Do the same as `await_topics` with a new client. Raises ConfigError or Transient."""
    client, _ = open_client(KafkaAdminClient, settings)
    try:
        with translated(settings, "looking topics up"):
            return await_topics(client, names)
    finally:
        client.close()


def check(spec: TopicSpec, facts: TopicFacts) -> None:
    """Raise ConfigError with the remedy if a topic differs from its specification."""
    if facts.partitions != spec.partitions:
        raise ConfigError(
            f"topic {spec.name!r} has {facts.partitions} partitions, wanted {spec.partitions}: the number decides where"
            " keys go, so set it to the topic's number, or choose a new name"
        )
    have = (facts.compacted, facts.retention_ms)
    if have[0] == spec.compacted and have != (spec.compacted, spec.retention_ms) and spec.name in AFTER_FAILURE:
        raise ConfigError(
            f"topic {spec.name!r} keeps its records for {facts.retention_ms} ms, wanted {spec.retention_ms}; set it"
            " with `groknet topics apply`"
        )
    if have != (spec.compacted, spec.retention_ms):
        wanted = ",".join(f"{key}=[{value}]" for key, value in _kept(spec).items())
        raise ConfigError(
            f"topic {spec.name!r} has (compacted, retention_ms) {have}, wanted {(spec.compacted, spec.retention_ms)};"
            f" set it with kafka-configs --alter --entity-type topics --entity-name {spec.name} --add-config {wanted}"
        )


def set_retention(client: Any, topic: str, retention_ms: int) -> None:
    """Change one setting of a topic, and leave the others. Raises errors of kafka-python, and ConfigError if it is
    refused."""
    await_topics(client, [topic])
    client.alter_configs([ConfigResource("TOPIC", topic, {"retention.ms": str(retention_ms)})], incremental=True)


def creation(specs: Sequence[TopicSpec], brokers: int, replicas: int | None) -> dict[str, dict[str, Any]]:
    """The request that creates topics in a cluster of `brokers`. A write needs at least half of the replicas."""
    copies = replicas or min(_WANTED_REPLICAS, brokers)
    return {
        spec.name: {
            "num_partitions": spec.partitions,
            "replication_factor": copies,
            "configs": {
                **_kept(spec),
                **_tombstones(spec),
                **_sizes(spec),
                "min.insync.replicas": str((copies + 1) // 2),
            },
        }
        for spec in specs
    }


def _kept(spec: TopicSpec) -> dict[str, str]:
    if not spec.compacted:
        return {"cleanup.policy": "delete", "retention.ms": str(-1 if spec.retention_ms is None else spec.retention_ms)}
    if spec.retention_ms is None:
        return {"cleanup.policy": "compact"}
    return {"cleanup.policy": "compact,delete", "retention.ms": str(spec.retention_ms)}


def _tombstones(spec: TopicSpec) -> dict[str, str]:
    return {"delete.retention.ms": str(_TOMBSTONES_KEPT_MS)} if spec.compacted else {}


def _sizes(spec: TopicSpec) -> dict[str, str]:
    """Retry and dead-letter topics take larger records: a failed event is sent there whole, with more headers."""
    larger = {"max.message.bytes": str(_DEFAULT_MAX_BYTES + _ROOM_FOR_HEADERS)}
    return larger if spec.name in AFTER_FAILURE else {}
