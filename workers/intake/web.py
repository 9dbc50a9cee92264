"""Fetches https:// addresses, and http:// where the settings allow it.

A host name is resolved once. All its addresses are checked, and the connection goes to one of those that were checked.
Redirects are followed here, and each of their addresses passes the same checks.
"""

from __future__ import annotations

import http.client
import ipaddress
import socket
import ssl
import threading
import zlib
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from http import HTTPStatus
from typing import Any
from urllib.parse import quote, urljoin

from urllib3 import BaseHTTPResponse
from urllib3.exceptions import ConnectTimeoutError, HTTPError, NewConnectionError, ReadTimeoutError

from schemas.errors import Invalid, Transient
from workers.intake.addresses import Target, check_url, may_connect, refuse, site_of
from workers.intake.settings import IntakeSettings
from workers.intake.wire import Deadline, WireTooLarge, exchange

Grown = Callable[[int], None]
"""Gets the number of bytes of an answer that are here so far."""
_CHUNK_BYTES = 64 * 1024
_MAX_ADDRESSES = 3  # two families and one spare; each may cost connect_timeout_s
_RESOLVER_THREADS = 64  # getaddrinfo has no time-out, so it runs in threads of its own; this bounds those that hang
_LOOKUPS_OF_SITE = 8  # names of one site that are looked up at the same time
_REDIRECTS = (301, 302, 303, 307, 308)
_TIMEOUTS = (TimeoutError, ReadTimeoutError, ConnectTimeoutError)
_PASSING_4XX = (408, 425, 429)
_GZIP_MAGIC, _GZIP_WINDOW = b"\x1f\x8b", 16 + zlib.MAX_WBITS  # 16: zlib reads the gzip format
_KEPT = "".join(chr(c) for c in range(0x80) if chr(c) != " ")  # control characters too: `check_url` refuses them
# The name server knows that the name does not exist or has no address. Any other error may pass.
_NO_SUCH_HOST = {socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME)}


class WebClient:
    """Fetches photos over HTTP. Many threads may use it at once, each for one address at a time."""

    def __init__(self, settings: IntakeSettings) -> None:
        self._settings = settings
        self._context = ssl.create_default_context(cafile=settings.ca_file or None)
        self._lock = threading.Lock()
        self._lookups: dict[tuple[str, int], Future[Any]] = {}
        self._resolver = ThreadPoolExecutor(_RESOLVER_THREADS, thread_name_prefix="groknet-dns")

    def close(self) -> None:
        """End the threads that resolve names. It may be called again."""
        self._resolver.shutdown(wait=False, cancel_futures=True)

    def get(self, url: str, deadline: Deadline, grown: Grown | None = None) -> bytes:
        """Return the body of the answer, after redirects. Raises Invalid or Transient of stage `fetch`."""
        target = check_url(url, self._settings)
        for _ in range(self._settings.max_redirects + 1):
            answer = self._hop(target, deadline, grown)
            if isinstance(answer, bytes):
                return answer
            target = check_url(_joined(target, answer), self._settings)
        text = f"{target.shown}: more than max_redirects = {self._settings.max_redirects}; give the final url"
        raise refuse("too_many_redirects", text)

    def _hop(self, target: Target, deadline: Deadline, grown: Grown | None) -> bytes | str:
        """Make one request. Return the body, or the address that a redirect leads to.

        The text of an error is always ours, because the text of a library may name an address of our network.
        """
        s = self._settings
        try:
            addresses = self._resolve(target, deadline)
            with exchange(
                target,
                addresses,
                context=self._context,
                deadline=deadline,
                connect_s=s.connect_timeout_s,
                silence_s=s.read_timeout_s,
                max_bytes=s.max_bytes,
            ) as response:
                return self._answer(target, response, grown)
        except (Invalid, Transient):
            raise
        except WireTooLarge:
            raise self._too_large(target) from None
        except ssl.SSLCertVerificationError:
            text = f"{target.shown}: its certificate is not valid for the host; renew it, or set ca_file"
            raise refuse("certificate_refused", text) from None
        except (OSError, HTTPError, http.client.HTTPException) as error:
            if isinstance(error, _TIMEOUTS) and not isinstance(error, NewConnectionError):
                raise Transient("fetch", "timeout", f"{target.shown}: no complete answer in time") from None
            raise Transient("fetch", "connection_failed", f"{target.shown}: the connection failed") from None

    def _resolve(self, target: Target, deadline: Deadline) -> list[str]:
        """Return the addresses of the host. If one of them is not allowed, none is used."""
        seconds = deadline.left(self._settings.connect_timeout_s)
        lookup = self._lookup(target)
        try:
            answers = lookup.result(timeout=seconds)
        except socket.gaierror as error:
            if error.errno in _NO_SUCH_HOST:
                raise refuse("host_not_found", f"{target.shown}: there is no such host") from None
            raise Transient("fetch", "dns_failure", f"{target.shown}: its name did not resolve") from None
        except UnicodeError:
            raise refuse("host_not_allowed", "url: the host is not a name that can be resolved") from None
        found = list(dict.fromkeys(str(sockaddr[0]) for *_, sockaddr in answers))
        allowed = [may_connect(ipaddress.ip_address(a), private=target.private) for a in found]
        if not found or not all(allowed):
            text = f"{target.shown}: the host does not lead to a public address; photos come from public hosts"
            raise refuse("address_not_allowed", text)
        return found[:_MAX_ADDRESSES]

    def _lookup(self, target: Target) -> Future[Any]:
        """The lookup of a name that is under way, or a new one. Nothing is remembered once it has ended.

        A name server that never answers keeps a thread busy long after the fetch has given up. So the names of one
        site have few lookups at a time, and other sites keep their threads.
        """
        key, site = (target.host, target.port), site_of(target.host)
        with self._lock:
            if key in self._lookups:
                return self._lookups[key]
            if sum(site_of(host) == site for host, _ in self._lookups) >= _LOOKUPS_OF_SITE:
                text = f"{target.shown}: the name server of its site does not answer in time"
                raise Transient("fetch", "dns_failure", text)
            lookup = self._resolver.submit(socket.getaddrinfo, *key, type=socket.SOCK_STREAM)
            self._lookups[key] = lookup
        lookup.add_done_callback(lambda _: self._forget(key))  # not under the lock: it may be done already
        return lookup

    def _forget(self, key: tuple[str, int]) -> None:
        with self._lock:
            del self._lookups[key]

    def _answer(self, target: Target, response: BaseHTTPResponse, grown: Grown | None) -> bytes | str:
        status = response.status
        location = response.headers.get("Location")
        if status in _REDIRECTS and location:
            return location
        if status >= 500 or status in _PASSING_4XX:
            raise Transient("fetch", _status_code(status), f"{target.shown}: answered {status}")
        if status != HTTPStatus.OK:
            raise refuse(_status_code(status), f"{target.shown}: answered {status}; give a url that answers 200")
        body = self._body(target, response, grown)
        return self._unpacked(target, body) if _is_gzip(response.headers.get("Content-Encoding", ""), body) else body

    def _body(self, target: Target, response: BaseHTTPResponse, grown: Grown | None) -> bytes:
        limit = self._settings.max_bytes
        announced = response.headers.get("Content-Length", "")
        if announced.isdecimal() and int(announced[:20]) > limit:
            raise self._too_large(target)
        body = bytearray()
        for chunk in response.stream(_CHUNK_BYTES, decode_content=False):
            body += chunk
            if len(body) > limit:
                raise self._too_large(target)
            if grown is not None:
                grown(len(body))
        return bytes(body)

    def _unpacked(self, target: Target, body: bytes) -> bytes:
        """The photo inside a gzip body, unpacked only as far as a photo may be large."""
        limit = self._settings.max_bytes
        unpacker = zlib.decompressobj(wbits=_GZIP_WINDOW)
        try:
            photo = unpacker.decompress(body, limit + 1)
        except zlib.error:
            photo = b""
        if len(photo) > limit:
            raise self._too_large(target)
        if not unpacker.eof:
            text = f"{target.shown}: answered with Content-Encoding gzip, but its body is no whole gzip file"
            raise refuse("content_encoding", f"{text}; serve the photo plain")
        return photo

    def _too_large(self, target: Target) -> Invalid:
        text = f"{target.shown}: larger than max_bytes = {self._settings.max_bytes}; give a smaller photo"
        return refuse("too_large", text)


def _is_gzip(encodings: str, body: bytes) -> bool:
    """Whether a body has to be unpacked. The bytes must say so, too: many hosts name an encoding that they do not use.

    We ask for no encoding, so an empty or unknown one (`aws-chunked`, `base64`) is taken for none, and decoding the
    photo shows whether that was right.
    """
    named = {encoding.strip().lower() for encoding in encodings.split(",")}
    return not named.isdisjoint(("gzip", "x-gzip")) and body.startswith(_GZIP_MAGIC)


def _joined(target: Target, location: str) -> str:
    """The address that a redirect leads to. Bytes outside ASCII and spaces in `location` are percent-encoded.

    http.client reads headers as Latin-1, whatever bytes they hold; so these bytes, usually UTF-8, are kept.
    """
    raw = location.strip().encode("latin-1", "replace")
    try:
        return urljoin(target.url, quote(raw, safe=_KEPT))
    except ValueError:
        raise refuse("bad_url", f"{target.shown}: redirects to something that is not a URL") from None


def _status_code(status: int) -> str:
    """`http_404`; a status that HTTP does not know goes by its class, so that metric labels stay few."""
    known = any(status == known for known in HTTPStatus)
    return f"http_{status}" if known else f"http_{status // 100}xx"
