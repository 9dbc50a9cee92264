"""The limits of the intake. With the defaults, anybody may write the events."""

from __future__ import annotations

import os
import re
from typing import Annotated

import msgspec
from msgspec import Meta

_Seconds = Annotated[float, Meta(gt=0, le=600)]  # one event must not wait longer for one photo

_HOST_PORT = re.compile(r"^(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]+):([0-9]{1,5})$")


class IntakeSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What may be fetched, from where, and how much of it."""

    max_bytes: Annotated[int, Meta(ge=1, le=256_000_000)] = 10_000_000
    """The largest photo. A JPEG of 24 megapixels and quality 90 has 6 to 9 MB."""
    connect_timeout_s: _Seconds = 3.0
    """The longest time for each of name resolution, TCP and TLS. It allows for one lost packet, which costs 1 s."""
    read_timeout_s: _Seconds = 5.0
    """The longest silence between two pieces of an answer."""
    total_timeout_s: _Seconds = 15.0
    """The longest time of one attempt, with its redirects. 10 MB take as long at 6 Mbit/s."""
    attempts: Annotated[int, Meta(ge=1, le=10)] = 3
    """Attempts for a photo if errors may pass. For longer outages there are the retry topics."""
    attempts_time_cap_s: _Seconds = 20.0
    """The longest time of all attempts for a photo together. It is below the 25 s in which a tagger must drain."""
    backoff_base_s: _Seconds = 0.2
    """Before attempt n + 1 there is a random pause of 0 to base * 2**n seconds, so that workers do not all come back
    at once."""
    max_redirects: Annotated[int, Meta(ge=0, le=10)] = 3
    """Redirects that are followed for one photo. A CDN needs one or two."""
    allowed_roots: tuple[str, ...] = ()
    """Absolute folders below which file:// may read. If empty, file:// is refused."""
    allowed_hosts: tuple[str, ...] = ()
    """Hosts that may be fetched from. `.example.com` includes all its subdomains. If empty, any public host may."""
    allow_http_hosts: tuple[str, ...] = ()
    """Hosts, written in the same way, from which plain http:// is allowed."""
    allowed_private: tuple[str, ...] = ()
    """`host:port` pairs that may have a private or loopback address, also with http://. Link-local addresses are never
    allowed."""
    ca_file: str = ""
    """PEM file of the certificate authorities to trust instead of the system's, for an authority of your own."""

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
