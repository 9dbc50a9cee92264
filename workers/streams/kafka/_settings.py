"""How to reach Kafka: the URL `kafka://HOST:PORT,HOST:PORT?option=value`, read and checked before anything connects."""

from __future__ import annotations

import re
import ssl
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import parse_qsl, unquote

import msgspec
from msgspec import Meta

from schemas.errors import ConfigError

Security = Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"]
Mechanism = Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"]

_SERVER = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]+\]|[^\s\[\]:/@]+)(?::(?P<port>\d{1,5}))?")
_DEFAULT_PORT = 9092
_SECRET = re.compile(r"(?i)([?&][^=&]*password=)[^&]*")


class KafkaSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Options of the URL; a secret is better kept in `password_file` than in the URL, and is never printed."""

    servers: tuple[str, ...]
    """HOST:PORT of some brokers, from which the client learns of the others."""
    security: Security = "PLAINTEXT"
    mechanism: Mechanism = "SCRAM-SHA-512"
    """Of SASL."""
    user: str = ""
    password: str = ""
    password_file: str = ""
    """A file whose first line is the password."""
    ca_file: str = ""
    """PEM of the authorities to trust with TLS; empty: the system's."""
    cert_file: str = ""
    """PEM of this client's certificate, where brokers ask for one."""
    key_file: str = ""
    session_s: Annotated[float, Meta(ge=1, le=1800)] = 20.0
    """A member that was killed is noticed after this; brokers allow 6 s to 30 min by default."""
    max_poll_s: Annotated[float, Meta(ge=0.2, le=86_400)] = 300.0
    """A member that does not poll for this long leaves; the time that all members have to join a rebalance."""
    replicas: Annotated[int, Meta(ge=1, le=15)] | None = None
    """Copies of each partition of topics that are made; none: three where there are three brokers, else all."""

    def __repr__(self) -> str:
        return f"KafkaSettings({self.security}, {', '.join(self.servers)})"

    @property
    def sasl(self) -> bool:
        """True when a user and a password are asked for."""
        return self.security.startswith("SASL")

    @property
    def tls(self) -> bool:
        """True when the connection is encrypted."""
        return self.security.endswith("SSL")

    def tls_context(self) -> ssl.SSLContext:
        """Trust and certificate for TLS; raises ConfigError when a file cannot be used."""
        try:
            context = ssl.create_default_context(cafile=self.ca_file or None)
            if self.cert_file:
                context.load_cert_chain(self.cert_file, self.key_file or None)
        except (OSError, ssl.SSLError) as error:
            files = ", ".join(name for name in (self.ca_file, self.cert_file, self.key_file) if name)
            raise ConfigError(f"stream.url: {files}: {error}; ca_file, cert_file and key_file are PEM files") from None
        return context

    def client_options(self) -> dict[str, Any]:
        """Options of kafka-python that every client of this cluster shares. Raises ConfigError as `tls_context`."""
        options: dict[str, Any] = {"bootstrap_servers": list(self.servers), "security_protocol": self.security}
        if self.tls:
            options["ssl_context"] = self.tls_context()
        if self.sasl:
            options["sasl_mechanism"] = self.mechanism
            options["sasl_plain_username"] = self.user
            options["sasl_plain_password"] = self._secret()
        return options

    def _secret(self) -> str:
        if not self.password_file:
            return self.password
        try:
            return Path(self.password_file).read_text(encoding="utf-8").partition("\n")[0].rstrip("\r")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"stream.url: password_file {self.password_file} cannot be read: {error}") from None


def parse_kafka_url(url: str) -> KafkaSettings:
    """Read `kafka://HOST:PORT,HOST:PORT?option=value`.

    Raises:
        ConfigError: an address or an option is wrong, or options do not fit each other.
    """
    rest = url.removeprefix("kafka://")
    places, _, query = rest.partition("?")
    options = parse_qsl(query, keep_blank_values=True)
    names = [name for name, _ in options]
    for name in names:
        if names.count(name) > 1 or name == "servers":
            raise ConfigError(f"stream.url: option {name!r} is given twice or not an option; options: {_known()}")
    try:
        settings = msgspec.convert(
            {**dict(options), "servers": _servers(places.rstrip("/"))}, KafkaSettings, strict=False
        )
    except msgspec.ValidationError as error:
        raise ConfigError(f"stream.url: {error}; options: {_known()}") from None
    _check(settings)
    return settings


def hide_password(url: str) -> str:
    """The URL, fit to be printed."""
    return _SECRET.sub(r"\1***", url)


def _known() -> str:
    return ", ".join(name for name in KafkaSettings.__struct_fields__ if name != "servers")


def _servers(places: str) -> tuple[str, ...]:
    if "@" in places:
        raise ConfigError(
            "stream.url: user and password go into options: kafka://HOST:PORT?user=NAME&password_file=PATH"
        )
    found = []
    for place in unquote(places).split(","):
        match = _SERVER.fullmatch(place.strip())
        port = int(match["port"] or _DEFAULT_PORT) if match else 0
        if match is None or not 0 < port < 65536:
            raise ConfigError(f"stream.url: {place!r} is not HOST:PORT; write kafka://HOST:PORT,HOST:PORT?option=value")
        found.append(f"{match['host']}:{port}")
    return tuple(found)


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
