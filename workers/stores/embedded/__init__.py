"""The embedded store: predictions, latest events and thumbnails in one SQLite file, for one machine."""

from __future__ import annotations

from schemas.errors import ConfigError
from workers.sqlite import parse_url
from workers.stores.embedded._store import EmbeddedStore

__all__ = ["EmbeddedStore", "build_embedded_store"]


def build_embedded_store(url: str, inline_photos_s: float | None = None) -> EmbeddedStore:
    """Open `sqlite:///ABS/PATH/store.db`. Raises ConfigError for any option, and Transient if it cannot be opened."""
    path, options = parse_url(url, "store.url")
    if options:
        raise ConfigError(f"store.url: unknown option {min(options)!r}; remove it; the embedded store has none")
    return EmbeddedStore(path, inline_photos_s)
