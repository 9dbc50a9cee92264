"""https:// (and http:// where allowed): resolve once, check every answer, pin it, follow redirects by hand."""

from __future__ import annotations

import http.client
import ipaddress
import socket
import ssl
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from urllib.parse import urljoin

from urllib3 import BaseHTTPResponse
from urllib3.exceptions import ConnectTimeoutError, HTTPError, NewConnectionError, ReadTimeoutError

from schemas.errors import Invalid, Transient
from workers.intake.addresses import Target, check_url, may_connect, refuse
from workers.intake.settings import IntakeSettings
from workers.intake.wire import Deadline, WireTooLarge, exchange

_CHUNK_BYTES = 64 * 1024
_MAX_ADDRESSES = 3  # two families and one spare; each may cost connect_timeout_s
_RESOLVER_THREADS = 16  # getaddrinfo takes no time-out, so it runs beside the fetch; stuck ones are bounded
_REDIRECTS = (301, 302, 303, 307, 308)
_TIMEOUTS = (TimeoutError, ReadTimeoutError, ConnectTimeoutError)
_PASSING_4XX = (408, 425, 429)
# The name server said that there is no such name or no address for it. Everything else it says may pass.
_NO_SUCH_HOST = {socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME)}


class WebClient:
    """Fetches one URL at a time a thread; thread-safe."""

    def __init__(self, settings: IntakeSettings) -> None:
        self._settings = settings
        self._context = ssl.create_default_context(cafile=settings.ca_file or None)
        self._resolver = ThreadPoolExecutor(_RESOLVER_THREADS, thread_name_prefix="groknet-dns")

    def close(self) -> None:
        """Let the resolver threads go. Idempotent."""
        self._resolver.shutdown(wait=False, cancel_futures=True)

    def get(self, url: str, deadline: Deadline) -> bytes:
        """The body of a 200 answer, redirects followed; raises Invalid or Transient of stage `fetch`."""
        target = check_url(url, self._settings)
        for _ in range(self._settings.max_redirects + 1):
            answer = self._hop(target, deadline)
            if isinstance(answer, bytes):
                return answer
            target = check_url(_joined(target, answer), self._settings)
        text = f"{target.shown}: more than max_redirects = {self._settings.max_redirects}; give the final url"
        raise refuse("too_many_redirects", text)

    def _hop(self, target: Target, deadline: Deadline) -> bytes | str:
        """The body, or where to go next. Nobody else's error text gets out: it can hold addresses."""
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
                return self._answer(target, response)
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
        """Addresses to connect to; all of them are allowed, or none is used."""
        seconds = deadline.left(self._settings.connect_timeout_s)
        lookup = self._resolver.submit(socket.getaddrinfo, target.host, target.port, type=socket.SOCK_STREAM)
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

    def _answer(self, target: Target, response: BaseHTTPResponse) -> bytes | str:
        status = response.status
        location = response.headers.get("Location")
        if status in _REDIRECTS and location:
            return location
        if status >= 500 or status in _PASSING_4XX:
            raise Transient("fetch", _status_code(status), f"{target.shown}: answered {status}")
        if status != HTTPStatus.OK:
            raise refuse(_status_code(status), f"{target.shown}: answered {status}; give a url that answers 200")
        if response.headers.get("Content-Encoding", "identity").lower() != "identity":
            text = f"{target.shown}: answered with a Content-Encoding that was not asked for; serve it plain"
            raise refuse("content_encoding", text)
        return self._body(target, response)

    def _body(self, target: Target, response: BaseHTTPResponse) -> bytes:
        limit = self._settings.max_bytes
        announced = response.headers.get("Content-Length", "")
        if announced.isdecimal() and int(announced[:20]) > limit:
            raise self._too_large(target)
        body = bytearray()
        for chunk in response.stream(_CHUNK_BYTES, decode_content=False):
            body += chunk
            if len(body) > limit:
                raise self._too_large(target)
        return bytes(body)

    def _too_large(self, target: Target) -> Invalid:
        text = f"{target.shown}: larger than max_bytes = {self._settings.max_bytes}; give a smaller photo"
        return refuse("too_large", text)


def _joined(target: Target, location: str) -> str:
    try:
        return urljoin(target.url, location)
    except ValueError:
        raise refuse("bad_url", f"{target.shown}: redirects to something that is not a URL") from None


def _status_code(status: int) -> str:
    """`http_404`; a status that HTTP does not know goes by its class, so that metric labels stay few."""
    known = any(status == known for known in HTTPStatus)
    return f"http_{status}" if known else f"http_{status // 100}xx"
