"""The embedded log: partitioned topics and consumer groups in one SQLite file, for one machine."""

from __future__ import annotations

import math
from functools import partial

from schemas.errors import ConfigError
from workers.sqlite import parse_url
from workers.streams.base import Stream
from workers.streams.embedded._admin import EmbeddedAdmin
from workers.streams.embedded._consumer import EmbeddedConsumer
from workers.streams.embedded._producer import EmbeddedProducer

__all__ = ["EmbeddedAdmin", "EmbeddedConsumer", "EmbeddedProducer", "build_embedded_stream"]

# A dead process is noticed by its process id within a heartbeat, so the lease is only for hung processes. It must last
# longer than a drain inside `revoked`.
DEFAULT_LEASE_S = 30.0


def build_embedded_stream(url: str, worker: str) -> Stream:
    """Build the factories for `sqlite:///ABS/PATH/stream.db`. Raises ConfigError for an unknown option."""
    path, options = parse_url(url, "stream.url")
    text = options.pop("lease_s", str(DEFAULT_LEASE_S))
    if options:
        raise ConfigError(f"stream.url: unknown option {min(options)!r}; the only option is lease_s")
    try:
        lease_s = float(text)
    except ValueError:
        lease_s = math.nan
    if not 0.1 <= lease_s <= 3600:
        raise ConfigError(f"stream.url: lease_s={text} is wrong; give a number of seconds from 0.1 to 3600")
    return Stream(
        consumer=partial(EmbeddedConsumer, path=path, worker=worker, lease_s=lease_s),
        producer=partial(EmbeddedProducer, path),
        admin=partial(EmbeddedAdmin, path),
        url=url,
    )
