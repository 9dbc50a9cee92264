"""Opening a session: token-aware, quorum, few retries, and a paused or restarted node found again within seconds."""

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
from workers.quiet_logs import quieten
from workers.servers import silenced
from workers.stores.cassandra._errors import CONNECTING, DRIVER_ERRORS, meaning
from workers.stores.cassandra._settings import CassandraSettings

_CONNECT_BUDGET_S = 10.0  # over all nodes named, so that a wrong address is said within fifteen seconds
_RECONNECT_S = (0.5, 3.0)  # the driver's own cap is ten minutes, for which a recovered node would stay unused
_RECONNECT_TRIES = None  # no end: after its own 64 tries, three minutes, the driver would never look again
_HEARTBEAT_S = 5  # a paused node counts as down after twice this; the driver's own is a minute
_SECOND_TRY_S = 2.0  # another replica is asked when one has not answered in this; a healthy one takes milliseconds
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
    """One more try at once on another node, then the caller hears of it: waiting and patience are the worker's layer.

    Every statement is idempotent, a write that timed out included, since timestamps decide. The driver's own policy
    would go from host to host without counting.
    """

    def on_read_timeout(self, *args: Any, retry_num: int, **kwargs: Any) -> tuple[int, int | None]:
        """Too few replicas answered in the server's own time."""
        return self._again(retry_num)

    def on_write_timeout(self, *args: Any, retry_num: int, **kwargs: Any) -> tuple[int, int | None]:
        """Too few replicas acknowledged in the server's own time."""
        return self._again(retry_num)

    def on_unavailable(self, *args: Any, retry_num: int, **kwargs: Any) -> tuple[int, int | None]:
        """The coordinator knows too few live replicas; another may know better."""
        return self._again(retry_num)

    def on_request_error(self, *args: Any, retry_num: int, **kwargs: Any) -> tuple[int, int | None]:
        """Overloaded, starting, or its connection broke."""
        return self._again(retry_num)

    def _again(self, retry_num: int) -> tuple[int, int | None]:
        if retry_num < _MAX_RETRIES:
            return self.RETRY_NEXT_HOST, None
        return self.RETHROW, None


def open_session(settings: CassandraSettings) -> Session:
    """Connect; the session belongs to no keyspace. `session.cluster.shutdown()` ends it.

    Raises:
        ConfigError: user, password or TLS is refused; a file that the URL names cannot be read.
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
    """A session for a while. Raises as `open_session`."""
    session = open_session(settings)
    try:
        yield session
    finally:
        session.cluster.shutdown()


def _options(settings: CassandraSettings, profile: ExecutionProfile) -> dict[str, Any]:
    context = settings.tls_context()
    connect_s = _CONNECT_BUDGET_S / (2 * len(settings.servers))
    return {
        # Asked for, it saves the driver its search. 5 has checksums of its own over what TCP and TLS check already, and
        # the driver's are in Python: 40 µs of an event.
        "protocol_version": 4,
        "compression": False,  # LZ4, the driver's default where it is there, took some 40 µs of an event
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
    """Shut a cluster down that could not be used; returns the datacenters that it has heard of."""
    if cluster is None:
        return set()
    known = {host.datacenter for host in cluster.metadata.all_hosts() if host.datacenter}
    cluster.shutdown()
    return known


def _why(error: BaseException, settings: CassandraSettings, datacenters: set[str]) -> GroknetError:
    if isinstance(error, UnresolvableContactPoints):
        text = f"store.url: {settings.places}: no such host; correct the address"
        return Transient("store", "unknown_host", text)  # a name service has its bad minutes, too
    if settings.datacenter and datacenters and settings.datacenter not in datacenters:
        there = ", ".join(sorted(datacenters))
        return ConfigError(f"store.url: no node is in datacenter {settings.datacenter!r}; there are: {there}")
    return meaning(error, settings, CONNECTING)
