"""Back ends under contract: the embedded ones always; a real one adds a parameter here and passes the same suites."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.contract.backends import StoreBackend, StreamBackend, dead_broker, locked_file, silent_broker

REAL = [
    pytest.mark.services,
    pytest.mark.filterwarnings("ignore:(read|open)_text is deprecated:DeprecationWarning"),  # kafka-python 3.0.12
]


@pytest.fixture(params=["embedded", pytest.param("kafka", marks=REAL)])
def stream_backend(request: pytest.FixtureRequest, tmp_path: Path) -> StreamBackend:
    if request.param == "kafka":
        services = request.getfixturevalue("services")
        url = f"kafka://{services.bootstrap}?session_s=6"  # brokers allow no less
        short = f"{url}&max_poll_s=0.5"
        outages = {"silent": partial(silent_broker, services), "dead": partial(dead_broker, services)}
        return StreamBackend(url=url, short_session_url=short, short_session_s=0.5, patience_s=60.0, outages=outages)
    path = tmp_path / "stream.db"
    outages = {"locked": partial(locked_file, path)}
    short = f"sqlite://{path}?lease_s=0.5"
    return StreamBackend(url=f"sqlite://{path}", short_session_url=short, short_session_s=0.5, outages=outages)


@pytest.fixture(scope="session")
def cassandra_url(request: pytest.FixtureRequest) -> Iterator[str]:
    """A keyspace with its tables, dropped afterwards."""
    from tests.contract import cassandra_keyspace

    url = cassandra_keyspace.fresh_url(request.getfixturevalue("services"))
    cassandra_keyspace.make(url)
    yield url
    cassandra_keyspace.drop(url)


@pytest.fixture(params=["embedded", pytest.param("cassandra", marks=pytest.mark.services)])
def store_backend(request: pytest.FixtureRequest, tmp_path: Path) -> StoreBackend:
    if request.param == "cassandra":
        from tests.contract import cassandra_keyspace

        url = request.getfixturevalue("cassandra_url")
        cassandra_keyspace.empty(url)
        return StoreBackend(url=url)
    return StoreBackend(url=f"sqlite://{tmp_path}/store.db")
