"""The store room: the port (`base`) and its back ends; `build_store` chooses one by URL."""

from __future__ import annotations

from schemas.errors import ConfigError
from workers.stores.base import Latest, Order, Store

__all__ = ["Latest", "Order", "Store", "build_store"]


def build_store(url: str) -> Store:
    """Build the back end that `url` names: `sqlite:///ABS/PATH/store.db` is the embedded one.

    Raises:
        ConfigError: the scheme or an option is unknown.
        Transient: the file cannot be opened.
    """
    scheme = url.partition("://")[0]
    if scheme == "sqlite":
        from workers.stores.embedded import build_embedded_store

        return build_embedded_store(url)
    if scheme == "cassandra":
        raise ConfigError(
            "store.url: cassandra:// needs the Cassandra back end (extra groknet[cassandra]), which this build does"
            " not have; use the embedded store, sqlite:///ABS/PATH/store.db"
        )
    raise ConfigError(f"store.url: unknown scheme {scheme!r}; known are sqlite:// (embedded) and cassandra://")
