"""Opens a session: token-aware, at a quorum, with few retries. It finds a paused or restarted node within seconds."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from cassandra import ConsistencyLevel, UnresolvableContactPoints  # type: ignore[import-untyped]
from cassandra.auth import PlainTextAuthProvider  # type: ignore[import-untyped]
from cassandra.cluster import (  # type: ignore[import-untyped]
    EXEC_PROFILE_DEFAULT,
    Cluster,
    ExecutionProfile,
    Session,
    _ControlReconnectionHandler,
)
from cassandra.policies import (  # type: ignore[import-untyped]
    ConstantSpeculativeExecutionPolicy,
    DCAwareRoundRobinPolicy,
    ExponentialReconnectionPolicy,
    RetryPolicy,
    TokenAwarePolicy,
)
from cassandra.pool import _HostReconnectionHandler  # type: ignore[import-untyped]
from cassandra.query import tuple_factory  # type: ignore[import-untyped]

from schemas.errors import ConfigError, GroknetError, Transient
from workers.servers import silenced
from workers.stores.cassandra._errors import CONNECTING, DRIVER_ERRORS, meaning
from workers.stores.cassandra._settings import CassandraSettings
from workers.watching.quiet_logs import quieten

_CONNECT_BUDGET_S = 10.0  # for all named nodes together, so that a wrong address is reported within 15 s
_RECONNECT_S = (0.5, 3.0)  # with the driver's own cap a recovered node would stay unused for ten minutes
_RECONNECT_TRIES = None  # no limit: by default the driver stops after 64 tries, which is three minutes
_HEARTBEAT_S = 5  # a paused node counts as down after twice this; the driver's default is a minute
_SECOND_TRY_S = 2.0  # after this another replica is asked as well; a healthy one answers in milliseconds
_MAX_RETRIES = 1

quieten(logging.getLogger("cassandra"))


def _try_again(_: Any, __: Exception, ___: float) -> bool:
    """Whether to look for a node again after an error: always.

    The driver would give a node up for good after one refused password. But a node that starts refuses everybody until
    it can read who may sign in, and a password may be changed and changed back.
    """
    return True


_HostReconnectionHandler.on_exception = _try_again
_ControlReconnectionHandler.on_exception = _try_again


class CappedRetries(RetryPolicy):  # type: ignore[misc]
    """Tries a failed request once more on another node, and then raises its error. The worker decides whether to wait.

    Every statement is idempotent, even a write that timed out, because timestamps decide. The driver's own policy
    would try one host after another without a limit.
    """

    def on_read_timeout(self, *args: Any, retry_num: int, **kwargs: Any) -> tuple[int, int | None]:
        """Too few replicas answered within the server's time limit."""
        return self._again(retry_num)

    def on_write_timeout(self, *args: Any, retry_num: int, **kwargs: Any) -> tuple[int, int | None]:
        """Too few replicas acknowledged within the server's time limit."""
        return self._again(retry_num)

    def on_unavailable(self, *args: Any, retry_num: int, **kwargs: Any) -> tuple[int, int | None]:
        """The coordinator knows too few live replicas. Another coordinator may know more."""
        return self._again(retry_num)

    def on_request_error(self, *args: Any, retry_num: int, **kwargs: Any) -> tuple[int, int | None]:
        """The node is overloaded or starting, or its connection broke."""
        return self._again(retry_num)

    def _again(self, retry_num: int) -> tuple[int, int | None]:
        if retry_num < _MAX_RETRIES:
            return self.RETRY_NEXT_HOST, None
        return self.RETHROW, None


def open_session(settings: CassandraSettings) -> Session:
    """Connect, without choosing a keyspace. `session.cluster.shutdown()` ends the session.

    Raises:
        ConfigError: user, password or TLS is refused, or a file that the URL names cannot be read.
        Transient: no node answers.
    """
    consistency = ConsistencyLevel.name_to_value[settings.consistency.upper()]
    profile = ExecutionProfile(
        load_balancing_policy=TokenAwarePolicy(DCAwareRoundRobinPolicy(settings.datacenter)),
        retry_policy=CappedRetries(),
        consistency_level=consistency,
        request_timeout=settings.timeout_s,
        row_factory=tuple_factory,
        speculative_execution_policy=ConstantSpeculativeExecutionPolicy(_SECOND_TRY_S, 1),
    )
    options = _options(settings, profile)
    cluster = None
    try:
        cluster = Cluster(list(settings.servers), **options)
        with silenced("cassandra.cluster"):
            return cluster.connect()
    except DRIVER_ERRORS as error:
        raise _why(error, settings, _end(cluster)) from None


@contextmanager
def session_of(settings: CassandraSettings) -> Iterator[Session]:
    """A session that ends with the block. Raises the same errors as `open_session`."""
    session = open_session(settings)
    try:
        yield session
    finally:
        session.cluster.shutdown()


def _options(settings: CassandraSettings, profile: ExecutionProfile) -> dict[str, Any]:
    context = settings.tls_context()
    connect_s = _CONNECT_BUDGET_S / (2 * len(settings.servers))
    return {
        # A fixed version saves the driver its search. Version 5 adds checksums to those of TCP and TLS, and the driver
        # computes them in Python, in 40 µs an event.
        "protocol_version": 4,
        "compression": False,  # LZ4, the driver's default if it is installed, took about 40 µs an event
        "execution_profiles": {EXEC_PROFILE_DEFAULT: profile},
        "auth_provider": PlainTextAuthProvider(settings.user, settings.secret()) if settings.user else None,
        "ssl_context": context,
        "ssl_options": {"server_hostname": settings.tls_name} if context and settings.tls_name else None,
        "reconnection_policy": ExponentialReconnectionPolicy(*_RECONNECT_S, max_attempts=_RECONNECT_TRIES),
        "connect_timeout": connect_s,
        "control_connection_timeout": connect_s,
        "idle_heartbeat_interval": _HEARTBEAT_S,
        "idle_heartbeat_timeout": _HEARTBEAT_S,
    }


def _end(cluster: Cluster | None) -> set[str]:
    """Shut down a cluster that could not be used, and return the datacenters that it knows."""
    if cluster is None:
        return set()
    known = {host.datacenter for host in cluster.metadata.all_hosts() if host.datacenter}
    cluster.shutdown()
    return known


def _why(error: BaseException, settings: CassandraSettings, datacenters: set[str]) -> GroknetError:
    if isinstance(error, UnresolvableContactPoints):
        text = f"store.url: {settings.places}: no such host; correct the address"
        return Transient("store", "unknown_host", text)  # a name service may fail for a while as well
    if settings.datacenter and datacenters and settings.datacenter not in datacenters:
        there = ", ".join(sorted(datacenters))
        text = f"no node is in datacenter {settings.datacenter!r}; there are: {there}; correct datacenter="
        return ConfigError(f"store.url: {text}")
    return meaning(error, settings, CONNECTING)
