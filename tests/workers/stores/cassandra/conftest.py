"""A keyspace of this room's own on the services that all tests share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from deploy.local import Services
from tests.contract import cassandra_keyspace
from workers.stores.cassandra import CassandraStore, open_session, parse_cassandra_url


@pytest.fixture(scope="session")
def keyspace_url(services: Services) -> Iterator[str]:
    url = cassandra_keyspace.fresh_url(services)
    cassandra_keyspace.make(url)
    yield url
    cassandra_keyspace.drop(url)


@pytest.fixture
def url(keyspace_url: str) -> str:
    """With empty tables."""
    cassandra_keyspace.empty(keyspace_url)
    return keyspace_url


@pytest.fixture
def store(url: str) -> Iterator[CassandraStore]:
    settings = parse_cassandra_url(url)
    built = CassandraStore(open_session(settings), settings)
    yield built
    built.close()


@pytest.fixture
def fresh(services: Services) -> Iterator[str]:
    """The URL of a keyspace that does not exist; dropped afterwards."""
    url = cassandra_keyspace.fresh_url(services)
    yield url
    cassandra_keyspace.drop(url)
