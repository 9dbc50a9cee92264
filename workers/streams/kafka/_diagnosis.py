"""Finds out why no broker could be reached, after the client has given up."""

from __future__ import annotations

import socket
import ssl

from schemas.errors import ConfigError, GroknetError, Transient
from workers.streams.kafka._settings import KafkaSettings

_PROBE_TIMEOUT_S = 2.0  # after the client's own ten seconds


class _Wrong(Exception):
    """A server answers, but it does not use the configured protocol."""


def unreachable(settings: KafkaSettings, waited_s: float) -> GroknetError:
    """The error to raise if the client found no broker within `waited_s` seconds.

    It is Transient if a broker may still start, and ConfigError if an address uses another protocol than configured.
    """
    reasons: list[str] = []
    for server in settings.servers:
        try:
            reasons.append(f"{server} {_probe(settings, server)}")
        except _Wrong as wrong:
            return ConfigError(f"stream.url: {server} {wrong}")
    where = "; ".join(reasons)
    text = f"stream.url: no Kafka broker answers within {waited_s:.0f} s: {where}; start it, or correct the address"
    return Transient("stream", "log_unreachable", text)


def _probe(settings: KafkaSettings, server: str) -> str:
    """What is wrong with an address. Raises _Wrong if the configuration is certainly wrong."""
    host, _, port = server.rpartition(":")
    host = host.strip("[]")
    try:
        connection = socket.create_connection((host, int(port)), _PROBE_TIMEOUT_S)
    except OSError as error:
        return f"cannot be connected to ({error.strerror or error})"
    with connection:
        try:
            speaks_tls = _speaks_tls(settings, host, connection)
        except TimeoutError:
            return "takes connections and is silent"
    if speaks_tls and not settings.tls:
        raise _Wrong(f"speaks TLS: write security={'SASL_SSL' if settings.sasl else 'SSL'} and ca_file=")
    if settings.tls and not speaks_tls:
        raise _Wrong(f"does not speak TLS: write security={'SASL_PLAINTEXT' if settings.sasl else 'PLAINTEXT'}")
    if settings.sasl:
        return f"does not take security={settings.security} with mechanism={settings.mechanism}"
    return f"does not answer as Kafka with security={settings.security}; it may ask for a password (security=SASL_SSL)"


def _speaks_tls(settings: KafkaSettings, host: str, connection: socket.socket) -> bool:
    context = settings.tls_context() if settings.tls else _any_certificate()
    try:
        with context.wrap_socket(connection, server_hostname=host):
            return True
    except ssl.SSLCertVerificationError as error:
        raise _Wrong(
            f"shows a certificate that is not trusted ({error.verify_message}): correct the host name or ca_file="
        ) from None
    except TimeoutError:
        raise
    except OSError:
        return False


def _any_certificate() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
