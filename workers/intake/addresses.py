"""Decides which URLs and which network addresses may be reached.

A URL is parsed once, and every later step uses the parts. Error messages show the URL up to its path. They never show
its query string, its credentials, or the addresses of a name.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from urllib.parse import quote, urlsplit

from schemas.errors import Invalid
from workers.intake.settings import IntakeSettings

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_PORTS = {"http": 80, "https": 443}
_NAME = re.compile(r"^(?=.{1,253}$)[a-z0-9_]([a-z0-9_-]{0,62})(\.[a-z0-9_][a-z0-9_-]{0,62})*$")
_HOST_CHARACTERS = re.compile(r"[a-z0-9._:-]{1,253}")
_NUMERIC = re.compile(r"^([0-9]+|0x[0-9a-f]*)$")  # resolvers read a name with such a last label as an IPv4 address
_UNSAFE = re.compile(r"[\x00-\x20\x7f\\]")  # different parsers read these differently
_GLOBAL_UNICAST = ipaddress.ip_network("2000::/3")
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
# Special-purpose blocks of the IANA registries that Python 3.11 still calls global.
_SPECIAL = tuple(ipaddress.ip_network(n) for n in ("192.0.0.0/24", "192.88.99.0/24", "3fff::/20"))


@dataclass(frozen=True, slots=True)
class Target:
    """A checked HTTP(S) URL. `host` has no brackets, and `path` includes the query string. `private` is True if the
    settings name this host and port."""

    scheme: str
    host: str
    port: int
    path: str
    private: bool

    @property
    def authority(self) -> str:
        """The Host header."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def url(self) -> str:
        """The whole URL, for resolving a relative redirect. Do not show it in messages."""
        return f"{self.scheme}://{self.authority}{self.path}"

    @property
    def shown(self) -> str:
        """The part of the URL that messages may show."""
        return f"{self.scheme}://{self.authority}{self.path.partition('?')[0]}"[:200]


def host_of(url: str) -> str:
    """The host of an address in lower case; empty for an address that is refused anyway."""
    try:
        host = (urlsplit(url).hostname or "").lower()
    except ValueError:
        return ""
    return host if _HOST_CHARACTERS.fullmatch(host) else ""


def site_of(host: str) -> str:
    """What hosts of one owner have in common: the last two labels. An IP address is a site of its own."""
    labels = host.rsplit(".", 2)
    return host if labels[-1].isdigit() or ":" in host else ".".join(labels[-2:])


def refuse(error: str, message: str) -> Invalid:
    """Make an Invalid of the fetch stage."""
    return Invalid("fetch", error, message)


def is_public(address: Address) -> bool:
    """Whether an address is globally routable unicast. An IPv4 address inside an IPv6 one (mapped, 6to4, NAT64) is
    looked at as well."""
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        if inner is None and address in _NAT64:
            inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(inner)
        if address not in _GLOBAL_UNICAST:
            return False
    special = any(address.version == net.version and address in net for net in _SPECIAL)
    return address.is_global and not address.is_multicast and not address.is_reserved and not special


def may_connect(address: Address, *, private: bool) -> bool:
    """Whether we may connect to a resolved address. `private`: the settings name the host and port.

    A link-local address is never allowed, because the metadata services of clouds answer there.
    """
    if is_public(address):
        return True
    plain = address.ipv4_mapped or address if isinstance(address, ipaddress.IPv6Address) else address
    return private and plain.is_private and not plain.is_link_local and not plain.is_unspecified


def check_url(url: str, settings: IntakeSettings) -> Target:
    """Parse an http(s) URL and check it against the settings. Raises Invalid."""
    if _UNSAFE.search(url):
        raise refuse("bad_url", "url: contains a space, control character or backslash; percent-encode it")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise refuse("bad_url", "url: not a URL; give https://host/path") from None
    if parts.scheme not in _PORTS:
        text = f"url: scheme {parts.scheme[:20]!r} is not fetched; give https:// or inline data"
        raise refuse("scheme_not_allowed", text)
    if "@" in parts.netloc:
        raise refuse("credentials_in_url", "url: carries a user name or password; leave them out")
    host = _check_host(parts.hostname or "", bracketed="[" in parts.netloc)
    port = _PORTS[parts.scheme] if port is None else port
    path = quote(parts.path or "/", safe="/%:@!$&'()*+,;=~-._")
    query = quote(parts.query, safe="/?%:@!$&'()*+,;=~-._")
    target = Target(
        scheme=parts.scheme,
        host=host,
        port=port,
        path=f"{path}?{query}" if query else path,
        private=_listed_private(host, port, settings.allowed_private),
    )
    if not target.private:
        _check_policy(target, settings)
    return target


def _check_host(host: str, *, bracketed: bool) -> str:
    """Return the name in lower case, or the address in its usual form. Raises Invalid for everything that parsers may
    read differently."""
    if not host.isascii():
        raise refuse("host_not_allowed", "url: the host is not ASCII; give its punycode form (xn--...)")
    host = host.lower().removesuffix(".")
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        address = None
    if address is not None:
        if (address.version == 6) != bracketed or getattr(address, "scope_id", None):
            raise refuse("host_not_allowed", "url: give an IPv6 address in brackets, without a zone")
        return str(address)
    if bracketed or not _NAME.match(host) or _NUMERIC.match(host.rpartition(".")[2]):
        raise refuse("host_not_allowed", "url: the host is neither a name nor a plain address")
    return host


def _check_policy(target: Target, settings: IntakeSettings) -> None:
    if target.scheme == "http" and not _listed(target.host, settings.allow_http_hosts):
        raise refuse("scheme_not_allowed", f"{target.shown}: give https://, or list it in allow_http_hosts")
    if target.port != _PORTS[target.scheme]:
        raise refuse("port_not_allowed", f"{target.shown}: port {target.port} is not fetched from; use 443")
    if settings.allowed_hosts and not _listed(target.host, settings.allowed_hosts):
        raise refuse("host_not_allowed", f"{target.shown}: the host is not in allowed_hosts")


def _listed(host: str, names: tuple[str, ...]) -> bool:
    lowered = [name.lower() for name in names]
    return any(host == name.removeprefix(".") or (name[0] == "." and host.endswith(name)) for name in lowered)


def _listed_private(host: str, port: int, entries: tuple[str, ...]) -> bool:
    for entry in entries:
        name, _, number = entry.lower().rpartition(":")
        if (name.strip("[]"), int(number)) == (host, port):
            return True
    return False
