"""The interface of stores (`base`) and its back ends. `build_store` chooses a back end by its URL."""

from __future__ import annotations

from schemas.errors import ConfigError
from workers.stores.base import Latest, Order, Setting, Store

__all__ = ["Latest", "Order", "Setting", "Store", "build_store"]


def build_store(url: str, *, inline_photos_s: float | None = None) -> Store:
    """Build the back end that `url` names.

    `sqlite:///ABS/PATH/store.db` is the embedded store. `cassandra://USER:PASSWORD@HOST:PORT,HOST:PORT/KEYSPACE` is
    Apache Cassandra; `workers.stores.cassandra.CassandraSettings` has its options.

    `inline_photos_s`: the inline photos of events that are stored from now on end after so many seconds
    (`workers.stores.base.Store`). None keeps them as long as their listing.

    Raises:
        ConfigError: the scheme or an option is unknown, Cassandra refuses the user, or the schema is missing.
        Transient: the file cannot be opened, or no node answers.
    """
    scheme = url.partition("://")[0]
    if scheme == "sqlite":
        from workers.stores.embedded import build_embedded_store

        return build_embedded_store(url, inline_photos_s)
    if scheme == "cassandra":
        try:
            from workers.stores.cassandra import build_cassandra_store
        except ModuleNotFoundError as error:
            raise ConfigError(
                f"store.url: cassandra:// needs {error.name}, which is not installed: pip install 'groknet[cassandra]'"
            ) from None

        return build_cassandra_store(url, inline_photos_s)
    raise ConfigError(f"store.url: unknown scheme {scheme!r}; known are sqlite:// (embedded) and cassandra://")
