"""Translates the driver's errors: ConfigError if a person must change something, otherwise Transient."""

from __future__ import annotations

import re
import ssl

from cassandra import (  # type: ignore[import-untyped]
    AuthenticationFailed,
    DriverException,
    InvalidRequest,
    OperationTimedOut,
    Unauthorized,
)
from cassandra.cluster import NoHostAvailable  # type: ignore[import-untyped]
from cassandra.connection import (  # type: ignore[import-untyped]
    ConnectionBusy,
    ConnectionException,
    ProtocolError,
)
from cassandra.protocol import ErrorMessage  # type: ignore[import-untyped]

from schemas.errors import ConfigError, GroknetError, Transient
from workers.stores.cassandra._settings import CassandraSettings

DRIVER_ERRORS = (
    DriverException,
    NoHostAvailable,
    ConnectionException,
    ConnectionBusy,
    ProtocolError,
    ErrorMessage,
    OSError,
)
_TLS = re.compile(r"\[SSL|certificate|tlsv1", re.IGNORECASE)  # the driver reports TLS errors as plain text
CONNECTING = "connecting"
MIGRATE = "run `groknet store migrate`"


def meaning(error: BaseException, settings: CassandraSettings, doing: str) -> GroknetError:
    """Our error for an error of the driver (`DRIVER_ERRORS`). `doing` says what was tried."""
    for cause in _causes(error):
        refused = _refused(cause, settings, doing)
        if refused is not None:
            return refused
    if isinstance(error, NoHostAvailable):
        reasons = sorted({_reason(cause) for cause in _causes(error) if cause is not error})
        why = f" ({'; '.join(reasons)})" if reasons else ""
        reset = not settings.tls and any(isinstance(cause, ConnectionResetError) for cause in _causes(error))
        hint = ", or add tls=true where it asks for TLS" if reset else ""
        return Transient(
            "store",
            "no_node",
            f"store.url: no Cassandra node of {settings.places} takes a request{why};"
            f" start it, or correct the address{hint}",
        )
    why = _reason(error)
    return Transient("store", _code(error), f"{doing}: Cassandra at {settings.places}: {why}; it is tried again later")


def _refused(error: BaseException, settings: CassandraSettings, doing: str) -> ConfigError | None:
    if isinstance(error, AuthenticationFailed):
        who = f"user {settings.user!r}" if settings.user else "a client without a user"
        return ConfigError(
            f"store.url: Cassandra at {settings.places} refuses {who}; correct USER:PASSWORD@ or password_file="
        )
    if isinstance(error, Unauthorized):
        return ConfigError(
            f"store.url: user {settings.user!r} may not do this in keyspace {settings.keyspace}: {error}; grant it"
        )
    if isinstance(error, InvalidRequest):
        return ConfigError(
            f"store.url: keyspace {settings.keyspace} at {settings.places} does not fit this build:"
            f" {_server_text(error)}; {MIGRATE} ({doing})"
        )
    # After connecting, this error comes from a node that is starting or stopping, not from a wrong configuration.
    return _misspoken(error, settings) if doing == CONNECTING else None


def _misspoken(error: BaseException, settings: CassandraSettings) -> ConfigError | None:
    if isinstance(error, ssl.SSLError) or _TLS.search(str(error)):
        return ConfigError(
            f"store.url: TLS with Cassandra at {settings.places} fails: {_reason(error)};"
            " correct ca_file= and tls_name=, or leave out tls=true if the nodes do not use TLS"
        )
    if isinstance(error, ProtocolError):
        return ConfigError(
            f"store.url: the server at {settings.places} does not use the configured protocol: {error};"
            " it must be Cassandra 4.0 or newer, with tls=true where it asks for TLS"
        )
    return None


def _causes(error: BaseException) -> list[BaseException]:
    """The errors of the single nodes if the error covers several nodes, otherwise the error itself."""
    errors = getattr(error, "errors", None)
    found = list(errors.values()) if isinstance(errors, dict) else []
    return [cause for cause in found if isinstance(cause, BaseException)] or [error]


def _reason(error: BaseException) -> str:
    text = str(error)
    if isinstance(error, ConnectionRefusedError):
        return "connection refused"
    if isinstance(error, OperationTimedOut):
        return "no answer in time"
    return text.partition("Last error: ")[2] or text or type(error).__name__


def _server_text(error: BaseException) -> str:
    """The server's own message, without what the driver adds to it."""
    text = str(error)
    return text.partition('message="')[2].removesuffix('"') or text


def _code(error: BaseException) -> str:
    """The error code of an error: `write_timeout` for WriteTimeout."""
    name = type(error).__name__.removesuffix("Message").removesuffix("Error")
    return "".join(f"_{c.lower()}" if c.isupper() else c for c in name).lstrip("_")
