"""The limits of the intake. The defaults are safe for events that anybody can write."""

from __future__ import annotations

import os
import re
from typing import Annotated

import msgspec
from msgspec import Meta

_Seconds = Annotated[float, Meta(gt=0, le=600)]  # one event must not wait longer for one photo

_HOST_PORT = re.compile(r"^(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]+):([0-9]{1,5})$")


class IntakeSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What may be fetched, from where, and how much of it; raises ValueError naming the field that is wrong."""

    max_bytes: Annotated[int, Meta(ge=1, le=256_000_000)] = 10_000_000
    """A 24-megapixel JPEG of quality 90 is 6 to 9 MB; a listing's photo that is larger is not a listing's photo."""
    connect_timeout_s: _Seconds = 3.0
    """Name resolution, TCP and TLS, each: a connection whose first packet is lost (1 s of back-off) still fits."""
    read_timeout_s: _Seconds = 5.0
    """Longest silence between two pieces of an answer."""
    total_timeout_s: _Seconds = 15.0
    """One attempt, redirects included, whatever pieces arrive: 10 MB at 6 Mbit/s."""
    attempts: Annotated[int, Meta(ge=1, le=10)] = 3
    """In place, for faults that may pass; longer outages are for the retry topics."""
    attempts_time_cap_s: _Seconds = 20.0
    """All attempts together; below the 25 s in which a tagger must drain."""
    backoff_base_s: _Seconds = 0.2
    """Before attempt n + 1 a pause drawn evenly from 0 to base * 2**n: jitter keeps workers out of step."""
    max_redirects: Annotated[int, Meta(ge=0, le=10)] = 3
    """A CDN needs one or two."""
    allowed_roots: tuple[str, ...] = ()
    """Folders (absolute) under which file:// may read; empty: file:// is refused."""
    allowed_hosts: tuple[str, ...] = ()
    """Names that may be fetched from, `.example.com` with every subdomain; empty: any public host."""
    allow_http_hosts: tuple[str, ...] = ()
    """Names, written as above, for which plain http:// will do."""
    allowed_private: tuple[str, ...] = ()
    """`host:port` pairs that may resolve to a private or loopback address, by http:// too; link-local never."""
    ca_file: str = ""
    """PEM file of the authorities to trust instead of the system's; for an in-house authority."""

    def __post_init__(self) -> None:
        for entry in self.allowed_private:
            match = _HOST_PORT.match(entry)
            if match is None or not 1 <= int(match[2]) <= 65535:
                raise ValueError(f"allowed_private: {entry!r} is not host:port, such as 127.0.0.1:8080")
        for root in self.allowed_roots:
            if not os.path.isabs(root):
                raise ValueError(f"allowed_roots: {root!r} is not absolute; give the whole path")
        for field in ("allowed_hosts", "allow_http_hosts"):
            for name in getattr(self, field):
                if not re.match(r"^\.?[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*$", name):
                    raise ValueError(f"{field}: {name!r} is not a host name; give no scheme, port or path")
