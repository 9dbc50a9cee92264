"""Reads the URL `kafka://USER:PASSWORD@HOST:PORT,HOST:PORT?option=value`, and checks it before anything connects."""

from __future__ import annotations

import re
import ssl
from typing import Annotated, Any, Literal
from urllib.parse import unquote

import msgspec
from msgspec import Meta

from schemas.errors import ConfigError
from workers.servers import read_options, read_password, read_servers, tls_context

Security = Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"]
Mechanism = Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"]

_KEY = "stream.url"
_SHAPE = "kafka://USER:PASSWORD@HOST:PORT,HOST:PORT?option=value"
_DEFAULT_PORT = 9092
_SECRET = re.compile(r"(?i)([?&][^=&]*password=)[^&]*|(?<=://)([^/?@:]*:)[^/?]*(?=@)")


class KafkaSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Options of the URL. Keep a password in `password_file` rather than in the URL. It is never printed."""

    servers: tuple[str, ...]
    """HOST:PORT of some brokers. The client learns the others from them."""
    security: Security = "PLAINTEXT"
    """How clients connect: SSL is TLS, SASL asks for user and password."""
    mechanism: Mechanism = "SCRAM-SHA-512"
    """How SASL checks the password."""
    user: str = ""
    """With SASL; may stand before @ instead."""
    password: str = ""
    """With SASL; may stand before @ instead, percent-encoded in both places."""
    password_file: str = ""
    """A file whose first line is the password."""
    ca_file: str = ""
    """PEM file of the authorities to trust with TLS. If it is empty, the system's authorities are trusted."""
    cert_file: str = ""
    """PEM file of this client's certificate, if brokers ask for one."""
    key_file: str = ""
    """PEM of its key, where it is not in `cert_file`."""
    session_s: Annotated[float, Meta(ge=1, le=1800)] = 20.0
    """A killed member is noticed after this many seconds. Brokers allow 6 s to 30 min by default."""
    max_poll_s: Annotated[float, Meta(ge=0.2, le=86_400)] = 300.0
    """A member leaves the group if it does not poll for this many seconds. All members have this long to join a
    rebalance."""
    replicas: Annotated[int, Meta(ge=1, le=15)] | None = None
    """Replicas of each partition of a created topic. By default one for each broker, at most three."""

    def __repr__(self) -> str:
        return f"KafkaSettings({self.security}, {', '.join(self.servers)})"

    @property
    def sasl(self) -> bool:
        """True if a user and a password are needed."""
        return self.security.startswith("SASL")

    @property
    def tls(self) -> bool:
        """True if the connection is encrypted."""
        return self.security.endswith("SSL")

    def tls_context(self) -> ssl.SSLContext:
        """The TLS context with trusted authorities and own certificate. Raises ConfigError if a file cannot be used."""
        return tls_context(_KEY, ca_file=self.ca_file, cert_file=self.cert_file, key_file=self.key_file)

    def client_options(self) -> dict[str, Any]:
        """The options of kafka-python that all clients of this cluster share. Raises ConfigError as `tls_context`."""
        options: dict[str, Any] = {"bootstrap_servers": list(self.servers), "security_protocol": self.security}
        if self.tls:
            options["ssl_context"] = self.tls_context()
        if self.sasl:
            options["sasl_mechanism"] = self.mechanism
            options["sasl_plain_username"] = self.user
            options["sasl_plain_password"] = self._secret()
        return options

    def _secret(self) -> str:
        return read_password(self.password_file, _KEY) if self.password_file else self.password


def parse_kafka_url(url: str) -> KafkaSettings:
    """Read `kafka://USER:PASSWORD@HOST:PORT,HOST:PORT?option=value`; user and password are percent-encoded in it.

    Both may be options instead: `user=`, and `password=` or `password_file=`.

    Raises:
        ConfigError: an address or an option is wrong, or two options contradict each other.
    """
    rest = url.removeprefix("kafka://")
    places, _, query = rest.partition("?")
    who, _, where = places.rstrip("/").rpartition("@")
    options = read_options(query, _KEY, known=_known(), never={"servers"})
    user, _, password = who.partition(":")
    for name, value in (("user", unquote(user)), ("password", unquote(password))):
        if value and name in options:
            raise ConfigError(f"stream.url: {name} is given before @ and as an option; leave one of them out")
        options |= {name: value} if value else {}
    try:
        settings = msgspec.convert({**options, "servers": _servers(where)}, KafkaSettings, strict=False)
    except msgspec.ValidationError as error:
        raise ConfigError(f"stream.url: {error}; options: {_known()}") from None
    _check(settings)
    return settings


def hide_password(url: str) -> str:
    """The URL with its password replaced by `***`, for logs and messages."""
    return _SECRET.sub(r"\1\2***", url)


def _known() -> str:
    return ", ".join(name for name in KafkaSettings.__struct_fields__ if name != "servers")


def _servers(places: str) -> tuple[str, ...]:
    found = read_servers(unquote(places), _KEY, default_port=_DEFAULT_PORT, shape=_SHAPE)
    return tuple(f"{host}:{port}" for host, port in found)


def _check(settings: KafkaSettings) -> None:
    given = {name for name in ("user", "password", "password_file") if getattr(settings, name)}
    if settings.sasl and ("user" not in given or len(given) != 2):
        raise ConfigError(
            f"stream.url: security={settings.security} needs user= and one of password= or password_file="
        )
    if given and not settings.sasl:
        raise ConfigError(f"stream.url: {min(given)}= needs security=SASL_SSL or security=SASL_PLAINTEXT")
    if (settings.ca_file or settings.cert_file or settings.key_file) and not settings.tls:
        raise ConfigError("stream.url: ca_file=, cert_file= and key_file= need security=SSL or security=SASL_SSL")
