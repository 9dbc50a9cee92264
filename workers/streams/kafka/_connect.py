"""Opens clients of kafka-python, and translates its errors."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from kafka import errors  # type: ignore[import-untyped]
from kafka.net.compat import KafkaNetClient  # type: ignore[import-untyped]

from schemas.errors import ConfigError, GroknetError, Transient
from workers.servers import silenced
from workers.streams.kafka._diagnosis import unreachable
from workers.streams.kafka._settings import KafkaSettings
from workers.watching.quiet_logs import quieten

CONNECT_TIMEOUT_S = 7.0  # leaves time for a start on busy cores, and for the diagnosis, within 15 s
REQUEST_TIMEOUT_S = 10.0  # after this a paused broker is given up; a leader changes in less time
_SIGN_IN_TIMEOUT_S = 2.0
_SIGN_IN_TRIES = 3  # a broker that shuts down also hangs up, but not three times
_SIGN_IN_AGAIN_S = 0.5
_COMMON = {
    "bootstrap_timeout_ms": int(CONNECT_TIMEOUT_S * 1000),
    "request_timeout_ms": int(REQUEST_TIMEOUT_S * 1000),
    "reconnect_backoff_max_ms": 1000,  # a restarted broker is found again within 1 s
}


class _HungUp(errors.KafkaError):  # type: ignore[misc]
    """The broker hung up after the password. Over TLS, kafka-python 3.0.12 misses the broker's last message."""


_NO_MECHANISM = (errors.UnsupportedSaslMechanismError, errors.IllegalSaslStateError)
_REFUSED = (errors.SaslAuthenticationFailedError, _HungUp, *_NO_MECHANISM)

quieten(logging.getLogger("kafka"))
logging.getLogger("kafka.net.selector").setLevel(logging.ERROR)  # on busy cores it warns of every task over 100 ms


def open_client(kind: Callable[..., Any], settings: KafkaSettings, **options: Any) -> tuple[Any, Any]:
    """Open a client of kafka-python. Returns the client and its connections, which have `wakeup`.

    Raises:
        ConfigError: the broker refuses the user or the password, or uses another protocol than configured.
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
            connection.close()  # otherwise its thread would continue
        if isinstance(error, errors.KafkaTimeoutError):
            raise unreachable(settings, CONNECT_TIMEOUT_S) from None
        raise meaning(error, settings, "connecting") from error


def _sign_in(settings: KafkaSettings, options: dict[str, Any]) -> None:
    """Raise ConfigError if user and password are refused. A client would try them again and again without an error."""
    refusal: BaseException | None = None
    for _ in range(_SIGN_IN_TRIES):
        refusal = _refusal(options)
        if not isinstance(refusal, _HungUp):
            break
        time.sleep(_SIGN_IN_AGAIN_S)
    if refusal is not None:
        raise meaning(refusal, settings, "signing in")


def _refusal(options: dict[str, Any]) -> BaseException | None:
    """Why a broker refuses the sign-in. None if it accepts it, or if no broker answers."""
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
    """Turn kafka-python's errors into ours: ConfigError if a person must change something, otherwise Transient."""
    try:
        yield
    except errors.KafkaError as error:
        raise meaning(error, settings, doing) from error


def meaning(error: BaseException, settings: KafkaSettings, doing: str) -> GroknetError:
    """Our error for an error of kafka-python. `doing` says what was tried."""
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
        return ConfigError(f"stream.url: Kafka at {servers} is too old ({error}); upgrade it to 2.5 or newer")
    if isinstance(error, errors.InvalidSessionTimeoutError):
        return ConfigError(
            "stream.url: session_s is outside the brokers' limits (group.min.session.timeout.ms and"
            " group.max.session.timeout.ms); choose a value between them, usually 6 to 1800"
        )
    return Transient("stream", _code(error), f"{doing}: Kafka at {servers}: {error}; it is tried again later")


def _code(error: BaseException) -> str:
    """The error code of an error: `kafka_timeout` for KafkaTimeoutError."""
    name = type(error).__name__.removeprefix("Kafka").removesuffix("Error")
    return "kafka" + "".join(f"_{c.lower()}" if c.isupper() else c for c in name)
