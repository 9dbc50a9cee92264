"""What an operator may set on the products worker; each limit has a name, a default and a reason."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from schemas.units import Count, Seconds, Whole


class ProductsSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The worker that finds listings of one product, by near copies of their photos. If several homes of a
    store run it, one works and the others wait."""

    enabled: bool = False
    """Whether `groknet run all` runs it. Off by default: it costs a search of the index and a write for each
    listing."""
    host: str = "127.0.0.1"
    """Loopback, because only health and metrics are served."""
    port: Annotated[int, Meta(ge=0, le=65535)] = 9560
    """0 takes any free port. If you set none and 9560 is taken, any free port is used; the target list of `groknet run
    all` names it."""
    allowed_hosts: tuple[str, ...] = ()
    """Names under which programs call this worker; loopback names, `host` and plain addresses always work, and `*`
    allows every name."""
    radius_bits: Annotated[int, Meta(ge=0, le=64)] = 28
    """Two photos are near copies if at most so many of 256 bits differ. Of validation photos, 28 bits join .94 of the
    copies and no two different things; 32 bits join some of those (docs/benchmarks/products.md)."""
    most_copies: Count = 300
    """A photo of which more listings have a near copy is a placeholder or a logo, and joins nothing."""
    most_visits: Count = 1_000
    """A photo of such a kind that has more near copies than this, rounded up to 64, 256, 1024, 4096 and so on, is not
    counted for them. Otherwise each listing that shows it would cost a visit to all the others."""
    most_differences: Whole = 1
    """Two listings are no product together if more heads than this offer labels of both and have none in common. With
    0, a head that is unsure about a copy costs .05 of the copies."""
    categories: bool = True
    """Whether two listings to which their sellers gave different categories are different products. Turn it off if
    sellers write categories as they like."""
    poll_interval_s: Seconds = 0.1
    """Time between two polls of a quiet topic."""
    batch: Count = 500
    """Changed listings that are grouped together. More take fewer writes, and more time until the next heartbeat."""
    stale_after_s: Seconds = 30.0
    """If the worker has not caught up with the topic for so long, it reports that it is stale."""
