"""Reads the URL `cassandra://USER:PASSWORD@HOST:PORT,HOST:PORT/KEYSPACE?option=value` and checks it."""

from __future__ import annotations

import re
import ssl
from typing import Annotated, Literal
from urllib.parse import unquote

import msgspec
from msgspec import Meta

from schemas.errors import ConfigError
from workers.servers import read_options, read_password, read_servers, tls_context

_KEY = "store.url"
_SHAPE = "cassandra://HOST:PORT,HOST:PORT/KEYSPACE?option=value"
_KEYSPACE = re.compile(r"[a-z][a-z0-9_]{0,47}")
_DEFAULT_PORT = 9042
_FROM_PLACE = {"servers", "keyspace", "user", "password"}


class CassandraSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Options of the URL. Keep a password in `password_file` rather than in the URL. It is never printed."""

    servers: tuple[tuple[str, int], ...]
    """Host and port of some nodes. The client learns the others from them."""
    keyspace: str
    user: str = ""
    password: str = ""
    password_file: str = ""
    """A file whose first line is the password."""
    consistency: Literal["local_quorum", "quorum"] = "local_quorum"
    """The consistency of reads and writes. With less than a quorum, a read could miss an earlier write."""
    datacenter: str = ""
    """The local datacenter. If it is empty, it is that of the first node that answers."""
    tls: bool = False
    """Whether connections are encrypted."""
    ca_file: str = ""
    """PEM file of the authorities to trust. If it is empty, the system's authorities are trusted."""
    cert_file: str = ""
    """PEM file of this client's certificate, if nodes ask for one."""
    key_file: str = ""
    """PEM of its key, where it is not in `cert_file`."""
    tls_name: str = ""
    """The name in every node's certificate. If it is empty, each certificate must have its node's address."""
    in_flight: Annotated[int, Meta(ge=1, le=4096)] = 128
    """The number of requests under way at once, over all threads. One node answers no more requests a second with 512
    than with 128."""
    timeout_s: Annotated[float, Meta(ge=0.1, le=300)] = 10.0
    """The deadline of one call of the store in seconds, including retries and the wait for its turn."""
    max_listing_bytes: Annotated[int, Meta(ge=100_000, le=64 * 1024 * 1024)] = 4 * 1024 * 1024
    """The largest size of one event with its rows and thumbnails. Cassandra refuses a write above half a commit-log
    segment: 16 MiB by default, 8 MiB in the local services. An event that comes through Kafka has at most 1 MB."""
    replicas: Annotated[int, Meta(ge=1, le=15)] | None = None
    """Replicas in a keyspace that `groknet store migrate` creates. By default one for a single node, otherwise
    three."""

    def __repr__(self) -> str:
        return f"CassandraSettings({self.places}/{self.keyspace})"

    @property
    def places(self) -> str:
        """HOST:PORT of all servers, separated by commas, for messages."""
        return ",".join(f"{host}:{port}" for host, port in self.servers)

    def secret(self) -> str:
        """The password. Raises ConfigError if its file cannot be read."""
        return read_password(self.password_file, _KEY) if self.password_file else self.password

    def tls_context(self) -> ssl.SSLContext | None:
        """The TLS context with trusted authorities and own certificate; None without `tls`. Raises ConfigError if a
        file cannot be used."""
        if not self.tls:
            return None
        return tls_context(_KEY, ca_file=self.ca_file, cert_file=self.cert_file, key_file=self.key_file)


def parse_cassandra_url(url: str) -> CassandraSettings:
    """Read the URL. User and password are percent-encoded in it.

    Raises:
        ConfigError: an address or an option is wrong, or two options contradict each other.
    """
    place, _, query = url.removeprefix("cassandra://").partition("?")
    who, _, where = place.rpartition("@")
    servers, _, keyspace = where.partition("/")
    user, _, password = who.partition(":")
    if not _KEYSPACE.fullmatch(keyspace):
        raise ConfigError(
            f"store.url: keyspace {keyspace!r} is wrong; use at most 48 of a-z, 0-9 and _, and write {_SHAPE}"
        )
    given = {
        **read_options(query, _KEY, known=_known(), never=_FROM_PLACE),
        "servers": [(host.strip("[]"), port) for host, port in _servers(servers)],
        "keyspace": keyspace,
        "user": unquote(user),
        "password": unquote(password),
    }
    try:
        settings = msgspec.convert(given, CassandraSettings, strict=False)
    except msgspec.ValidationError as error:
        raise ConfigError(f"store.url: {error}; options: {_known()}") from None
    _check(settings)
    return settings


def _known() -> str:
    return ", ".join(name for name in CassandraSettings.__struct_fields__ if name not in _FROM_PLACE)


def _servers(text: str) -> tuple[tuple[str, int], ...]:
    return read_servers(text, _KEY, default_port=_DEFAULT_PORT, shape=_SHAPE)


def _check(settings: CassandraSettings) -> None:
    if bool(settings.user) != bool(settings.password or settings.password_file):
        raise ConfigError("store.url: give both user and password: USER:PASSWORD@, or USER@ with password_file=")
    if settings.password and settings.password_file:
        raise ConfigError("store.url: give the password in the URL or in password_file=, not both")
    files = [name for name in ("ca_file", "cert_file", "key_file", "tls_name") if getattr(settings, name)]
    if files and not settings.tls:
        raise ConfigError(f"store.url: {files[0]}= needs tls=true")
