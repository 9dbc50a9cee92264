"""Opening clients of kafka-python, and saying what its errors mean here."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from kafka import errors  # type: ignore[import-untyped]
from kafka.net.compat import KafkaNetClient  # type: ignore[import-untyped]

from schemas.errors import ConfigError, GroknetError, Transient
from workers.quiet_logs import quieten
from workers.servers import silenced
from workers.streams.kafka._diagnosis import unreachable
from workers.streams.kafka._settings import KafkaSettings

CONNECT_TIMEOUT_S = 7.0  # leaves time for a start on busy cores and the diagnosis within fifteen seconds
REQUEST_TIMEOUT_S = 10.0  # a paused broker is given up within this; leaders change in less
_SIGN_IN_TIMEOUT_S = 2.0
_SIGN_IN_TRIES = 3  # a broker that ends hangs up, too, but not three times
_SIGN_IN_AGAIN_S = 0.5
_COMMON = {
    "bootstrap_timeout_ms": int(CONNECT_TIMEOUT_S * 1000),
    "request_timeout_ms": int(REQUEST_TIMEOUT_S * 1000),
    "reconnect_backoff_max_ms": 1000,  # a broker that restarts is found again within a second
}


class _HungUp(errors.KafkaError):  # type: ignore[misc]
    """Hung up at the password: over TLS, kafka-python 3.0.12 misses the last word of the broker."""


_NO_MECHANISM = (errors.UnsupportedSaslMechanismError, errors.IllegalSaslStateError)
_REFUSED = (errors.SaslAuthenticationFailedError, _HungUp, *_NO_MECHANISM)

quieten(logging.getLogger("kafka"))
logging.getLogger("kafka.net.selector").setLevel(logging.ERROR)  # it warns of every task of 100 ms on busy cores


def open_client(kind: Callable[..., Any], settings: KafkaSettings, **options: Any) -> tuple[Any, Any]:
    """Open a client of kafka-python; returns it and its connections, which have `wakeup`.

    Raises:
        ConfigError: the broker refuses user or password, or does not speak as configured.
        Transient: no broker answers.
    """
    opened: list[Any] = []

    def connections(**configs: Any) -> Any:
        opened.append(KafkaNetClient(**configs))
        return opened[-1]

    shared = {**_COMMON, **settings.client_options()}
    if settings.sasl:
        _sign_in(settings, shared)
    wanted = {**shared, **options, "kafka_client": connections}
    try:
        with silenced("kafka.net"):
            return kind(**wanted), opened[0]
    except errors.KafkaError as error:
        for connection in opened:
            connection.close()  # its thread would live on
        if isinstance(error, errors.KafkaTimeoutError):
            raise unreachable(settings, CONNECT_TIMEOUT_S) from None
        raise meaning(error, settings, "connecting") from error


def _sign_in(settings: KafkaSettings, options: dict[str, Any]) -> None:
    """Raises ConfigError when user and password are refused: a client would try them over and over, and not say so."""
    refusal: BaseException | None = None
    for _ in range(_SIGN_IN_TRIES):
        refusal = _refusal(options)
        if not isinstance(refusal, _HungUp):
            break
        time.sleep(_SIGN_IN_AGAIN_S)
    if refusal is not None:
        raise meaning(refusal, settings, "signing in")


def _refusal(options: dict[str, Any]) -> BaseException | None:
    """None when a broker lets us in, or none answers."""
    connections = KafkaNetClient(**options)
    refusal: BaseException | None = None
    try:
        for broker in connections.cluster.bootstrap_brokers():
            connection = connections._manager.get_connection(broker.node_id, refresh_metadata_on_err=False)
            connections.poll(timeout_ms=int(_SIGN_IN_TIMEOUT_S * 1000), future=connection.init_future)
            if connection.init_future.succeeded():
                return None
            error = connection.init_future.exception
            if isinstance(error, errors.KafkaConnectionError) and connection.broker_version_data is not None:
                error = _HungUp(str(error))
            if isinstance(error, _REFUSED):
                refusal = error
        return refusal
    finally:
        connections.close()


@contextmanager
def translated(settings: KafkaSettings, doing: str) -> Iterator[None]:
    """Turn kafka-python's errors into ours: ConfigError where somebody must change something, else Transient."""
    try:
        yield
    except errors.KafkaError as error:
        raise meaning(error, settings, doing) from error


def meaning(error: BaseException, settings: KafkaSettings, doing: str) -> GroknetError:
    """Our error for one of kafka-python's."""
    servers = ",".join(settings.servers)
    if isinstance(error, _REFUSED):
        user = f"refuses user {settings.user!r} with {settings.mechanism}; correct user=, password= (or password_file=)"
        none = f"does not take {settings.security} with {settings.mechanism}; correct security="
        said = none if isinstance(error, _NO_MECHANISM) else user
        return ConfigError(f"stream.url: Kafka at {servers} {said} and mechanism=")
    if isinstance(error, errors.AuthorizationError):
        who = f"user {settings.user!r}" if settings.user else "a client without a user"
        return ConfigError(f"stream.url: Kafka at {servers} forbids {who}: {error}; grant it on the brokers ({doing})")
    if isinstance(error, errors.InvalidTopicError):
        return ConfigError(f"topic name: {error}; use letters, digits, '.', '_' and '-'")
    if isinstance(error, errors.UnsupportedVersionError):
        return ConfigError(f"stream.url: Kafka at {servers} is too old ({error}); 2.5 is the oldest that will do")
    if isinstance(error, errors.InvalidSessionTimeoutError):
        return ConfigError(
            "stream.url: session_s is outside what the brokers allow (group.min.session.timeout.ms and"
            " group.max.session.timeout.ms); 6 to 1800 is usual"
        )
    return Transient("stream", _code(error), f"{doing}: Kafka at {servers}: {error}; tried again later")


def _code(error: BaseException) -> str:
    """KafkaTimeoutError as kafka_timeout."""
    name = type(error).__name__.removeprefix("Kafka").removesuffix("Error")
    return "kafka" + "".join(f"_{c.lower()}" if c.isupper() else c for c in name)
