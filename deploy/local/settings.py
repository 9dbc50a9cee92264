"""The settings of the services, and their state."""

from __future__ import annotations

from typing import Literal

import msgspec

Protocol = Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"]
FORMAT = 1
"""Version of HOME/services.json."""


class ServicesSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Every choice. None means the home's own value, or for a new home the default in the description."""

    brokers: int | None = None
    """0, 1 or 3 Kafka brokers; 1."""
    nodes: int | None = None
    """0, 1 or 3 Cassandra nodes; 1. Three need the addresses 127.0.0.2 and 127.0.0.3, which Linux has."""
    kafka_port: int | None = None
    """Client port of the first broker; the others follow. 9092 if it is free, otherwise a free one."""
    cassandra_port: int | None = None
    """Client port of every node; 9042 if it is free, otherwise a free one."""
    kafka_heap_mb: int | None = None
    """Heap of each broker; 512, or 320 with three brokers (0.26 and 0.24 GB resident at rest)."""
    cassandra_heap_mb: int = 640
    """Heap of each node. With 640 a node has 0.9 GB resident."""
    kafka_protocol: Protocol | None = None
    """Protocol of the client listener; PLAINTEXT. SASL has the mechanisms PLAIN, SCRAM-SHA-256 and SCRAM-SHA-512."""
    cassandra_auth: bool | None = None
    """Whether clients need a password; False. The user is `cassandra`, a superuser; the password is made at random."""
    cassandra_tls: bool | None = None
    """Whether the client port accepts only TLS; False."""
    kafka_options: dict[str, str] = {}
    """Entries that extend or replace those of server.properties."""
    cassandra_options: dict[str, object] = {}
    """Entries that extend or replace those of cassandra.yaml."""
    java_options: tuple[str, ...] = ()
    """Arguments that follow ours on each server's Java command line."""
    start_timeout_s: float = 120.0
    """Limit for the start of one server; usually 5 s, and ten times that on busy cores."""
    stop_timeout_s: float = 20.0
    """Time from TERM to KILL; a server usually takes 3 s."""


class Server(msgspec.Struct, kw_only=True):
    """One broker or node. Process, state and memory are those at the time of the status."""

    name: str
    """kafka-1, cassandra-1 and so on."""
    host: str
    ports: dict[str, int]
    """The port `client`, and the ports that servers use among themselves."""
    folder: str
    logs: list[str]
    pid: int | None = None
    started_at: str | None = None
    """ISO 8601, UTC."""
    state: Literal["down", "starting", "ready", "paused"] = "down"
    resident_bytes: int = 0


class Security(msgspec.Struct, kw_only=True):
    """What clients need to connect."""

    kafka_protocol: Protocol = "PLAINTEXT"
    kafka_user: str | None = None
    kafka_password: str | None = None
    cassandra_user: str | None = None
    cassandra_password: str | None = None
    cassandra_tls: bool = False
    ca_file: str | None = None
    """The PEM certificate to trust, with TLS."""
    store_password: str | None = None
    """The password of the servers' key store."""

    @property
    def kafka_tls(self) -> bool:
        """Whether Kafka's client listener uses TLS."""
        return self.kafka_protocol in {"SSL", "SASL_SSL"}


class ServicesState(msgspec.Struct, kw_only=True):
    """HOME/services.json, and `groknet services status --json`. The file has mode 600, because it holds passwords.

    In the file, process, state and memory are those of the last `up`, `start` or `down`.
    """

    format: int = FORMAT
    home: str
    cluster_id: str
    bootstrap: list[str]
    """The HOST:PORT of each broker."""
    contact_points: list[str]
    """The address of each node."""
    cassandra_port: int | None
    security: Security
    servers: list[Server]

    def server(self, name: str) -> Server | None:
        """Return the server with that name, or None."""
        return next((server for server in self.servers if server.name == name), None)
