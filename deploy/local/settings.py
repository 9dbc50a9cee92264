"""What can be chosen about the services, and what they say about themselves."""

from __future__ import annotations

from typing import Literal

import msgspec

Protocol = Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"]
FORMAT = 1
"""Version of HOME/services.json."""


class ServicesSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Every choice; None means: what the home has been made with, else the default in the comment."""

    brokers: int | None = None
    """0, 1 or 3 Kafka brokers; 1."""
    nodes: int | None = None
    """0, 1 or 3 Cassandra nodes; 1. Three need the addresses 127.0.0.2 and 127.0.0.3, which Linux has."""
    kafka_port: int | None = None
    """Of the first broker, the others follow; 9092 where it is free, else a free one."""
    cassandra_port: int | None = None
    """Of every node; 9042 where it is free, else a free one."""
    kafka_heap_mb: int | None = None
    """Of each broker; 512, or 320 when there are three (0.26 and 0.24 GB resident at rest)."""
    cassandra_heap_mb: int = 640
    """Of each node; at 640 a node is 0.9 GB resident."""
    kafka_protocol: Protocol | None = None
    """Of the listener for clients; PLAINTEXT. With SASL: mechanisms PLAIN, SCRAM-SHA-256 and SCRAM-SHA-512."""
    cassandra_auth: bool | None = None
    """True: a password is asked for (user and password `cassandra`, a superuser); False."""
    cassandra_tls: bool | None = None
    """True: TLS alone is taken on the client port; False."""
    kafka_options: dict[str, str] = {}
    """Added to, and instead of, what server.properties would have."""
    cassandra_options: dict[str, object] = {}
    """Added to, and instead of, what cassandra.yaml would have."""
    java_options: tuple[str, ...] = ()
    """Put behind ours on each server's command line."""
    start_timeout_s: float = 120.0
    """For one server; 5 s is usual, a machine with busy cores takes ten times that."""
    stop_timeout_s: float = 20.0
    """From TERM to KILL; 3 s is usual."""


class Server(msgspec.Struct, kw_only=True):
    """One broker or node. `ready` and below are of the moment in which the status was asked for."""

    name: str
    """kafka-1, cassandra-1 and so on."""
    host: str
    ports: dict[str, int]
    """`client`, and what the servers use among themselves."""
    folder: str
    logs: list[str]
    pid: int | None = None
    started_at: str | None = None
    """ISO 8601, UTC."""
    state: Literal["down", "starting", "ready", "paused"] = "down"
    resident_bytes: int = 0


class Security(msgspec.Struct, kw_only=True):
    """How clients get in."""

    kafka_protocol: Protocol = "PLAINTEXT"
    kafka_user: str | None = None
    kafka_password: str | None = None
    cassandra_user: str | None = None
    cassandra_password: str | None = None
    cassandra_tls: bool = False
    ca_file: str | None = None
    """PEM certificate to trust, where there is TLS."""
    store_password: str | None = None
    """Of the servers' key store."""

    @property
    def kafka_tls(self) -> bool:
        """True when Kafka's client listener speaks TLS."""
        return self.kafka_protocol in {"SSL", "SASL_SSL"}


class ServicesState(msgspec.Struct, kw_only=True):
    """HOME/services.json and `groknet services status --json`. The file has mode 600, as it holds passwords.

    In the file, process, state and memory are those of the last `up`, `start` or `down`.
    """

    format: int = FORMAT
    home: str
    cluster_id: str
    bootstrap: list[str]
    """HOST:PORT of each broker."""
    contact_points: list[str]
    """Address of each node."""
    cassandra_port: int | None
    security: Security
    servers: list[Server]

    def server(self, name: str) -> Server | None:
        """One of them."""
        return next((server for server in self.servers if server.name == name), None)
