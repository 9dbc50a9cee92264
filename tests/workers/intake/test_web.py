"""Against a real server on loopback: status classes, redirects, hostile bodies, TLS names, rebinding, retries."""

from __future__ import annotations

import gzip
import socket
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from loopback import Loopback, answer, serving
from photo_hosts import PHOTO, PROMPT_S, failure_of, intake_of, resolver

from schemas.errors import Invalid, Transient
from schemas.events import ImageRef
from workers.intake import Intake, IntakeSettings
from workers.watching.metrics import FETCH_BYTES, FETCH_ERRORS


def test_a_photo_comes_back_as_it_is(server: Loopback) -> None:
    assert intake_of(server).fetch(ImageRef(image_id="a", url=server.url("/ok?size=large&x=ä"))) == PHOTO
    head = server.requests[0].split("\r\n")
    assert head[0] == "GET /ok?size=large&x=%C3%A4 HTTP/1.1"
    assert f"Host: {server.address}" in head
    assert "Accept-Encoding: identity" in head
    assert not any(line.lower().startswith(("cookie", "authorization", "referer")) for line in head)


def test_loopback_is_refused_unless_named(server: Loopback) -> None:
    for settings in (IntakeSettings(), IntakeSettings(allow_http_hosts=("127.0.0.1",))):
        assert failure_of(Intake(settings), server.url("/ok")).error in ("scheme_not_allowed", "port_not_allowed")
    assert not server.hits


@pytest.mark.parametrize(
    ("status", "kind", "code"),
    [
        (400, Invalid, "http_400"),
        (401, Invalid, "http_401"),
        (403, Invalid, "http_403"),
        (404, Invalid, "http_404"),
        (410, Invalid, "http_410"),
        (451, Invalid, "http_451"),
        (499, Invalid, "http_4xx"),
        (408, Transient, "http_408"),
        (425, Transient, "http_425"),
        (429, Transient, "http_429"),
        (500, Transient, "http_500"),
        (502, Transient, "http_502"),
        (503, Transient, "http_503"),
        (504, Transient, "http_504"),
        (599, Transient, "http_5xx"),
        (204, Invalid, "http_204"),
        (206, Invalid, "http_206"),
        (300, Invalid, "http_300"),
        (302, Invalid, "http_302"),  # without a Location
        (304, Invalid, "http_304"),
    ],
)
def test_status_classes(server: Loopback, status: int, kind: type[Exception], code: str) -> None:
    server.scripts["/s"] = answer(status, b"" if status in (204, 304) else b"body")
    error = failure_of(intake_of(server), server.url("/s?token=hush"))
    assert (type(error), error.error) == (kind, code)
    assert "hush" not in error.message
    assert "/s" in error.message


def test_transient_faults_are_retried_and_invalid_ones_are_not(server: Loopback) -> None:
    def third_time(sock: socket.socket, request: str) -> None:
        answer(200, PHOTO)(sock, request) if server.hits["/flaky"] == 3 else answer(503)(sock, request)

    server.scripts |= {"/flaky": third_time, "/down": answer(500), "/gone": answer(410)}
    intake = intake_of(server, attempts=3)
    assert intake.fetch(ImageRef(image_id="a", url=server.url("/flaky"))) == PHOTO
    assert failure_of(intake, server.url("/down")).error == "http_500"
    assert failure_of(intake, server.url("/gone")).error == "http_410"
    assert server.hits == {"/flaky": 3, "/down": 3, "/gone": 1}


def test_attempts_are_capped_in_time(server: Loopback) -> None:
    server.scripts["/down"] = answer(500)
    started = time.monotonic()
    intake = intake_of(server, attempts=10, backoff_base_s=60.0, attempts_time_cap_s=1.0)
    assert failure_of(intake, server.url("/down")).error == "http_500"
    assert time.monotonic() - started < PROMPT_S


def test_redirects_are_followed_up_to_three(server: Loopback) -> None:
    for n in range(5):
        server.scripts[f"/r{n}"] = answer(302, b"", f"Location: /r{n + 1}?q={n}")
    server.scripts["/r5"] = answer(200, PHOTO)
    intake = intake_of(server)
    assert intake.fetch(ImageRef(image_id="a", url=server.url("/r2"))) == PHOTO
    assert failure_of(intake, server.url("/r1")).error == "too_many_redirects"
    assert failure_of(intake_of(server, max_redirects=0), server.url("/r4")).error == "too_many_redirects"
    server.scripts["/self"] = answer(301, b"", f"Location: {server.url('/self')}")
    assert failure_of(intake, server.url("/self")).error == "too_many_redirects"


@pytest.mark.parametrize(
    ("location", "code"),
    [
        ("http://169.254.169.254/latest/meta-data/", "scheme_not_allowed"),
        ("https://169.254.169.254/latest/meta-data/", "address_not_allowed"),
        ("https://10.0.0.7/p.jpg", "address_not_allowed"),
        ("//127.0.0.1/p.jpg", "scheme_not_allowed"),
        ("http://127.0.0.1:1/p.jpg", "scheme_not_allowed"),
        ("https://127.0.0.1:1/p.jpg", "port_not_allowed"),
        ("https://user:pw@photos.example/", "credentials_in_url"),
        ("file:///etc/passwd", "scheme_not_allowed"),
        ("ftp://photos.example/", "scheme_not_allowed"),
        ("data:image/png;base64,AAAA", "scheme_not_allowed"),
        ("https://2130706433/", "host_not_allowed"),
        ("http://[", "bad_url"),
    ],
)
def test_every_hop_is_checked(server: Loopback, location: str, code: str) -> None:
    server.scripts["/r"] = answer(302, b"", f"Location: {location}")
    error = failure_of(intake_of(server), server.url("/r"))
    assert (type(error), error.error) == (Invalid, code)


def test_content_length_is_not_trusted(server: Loopback) -> None:
    server.scripts |= {
        "/short": answer(200, PHOTO, length=len(PHOTO) + 50),
        "/announced": answer(200, PHOTO, length=10**15),
        "/exact": answer(200, b"x" * 20_000),
        "/over": answer(200, b"x" * 20_001),
        "/unannounced": lambda sock, _: sock.sendall(b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 20_001),
        "/nonsense": lambda sock, _: sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n" + PHOTO),
        "/empty": answer(200),
    }
    intake = intake_of(server)
    short = failure_of(intake, server.url("/short"))
    assert (type(short), short.error) == (Transient, "connection_failed")
    assert failure_of(intake, server.url("/announced")).error == "too_large"
    assert intake.fetch(ImageRef(image_id="a", url=server.url("/exact"))) == b"x" * 20_000
    assert failure_of(intake, server.url("/over")).error == "too_large"
    assert failure_of(intake, server.url("/unannounced")).error == "too_large"
    assert intake.fetch(ImageRef(image_id="a", url=server.url("/nonsense"))) == PHOTO
    assert failure_of(intake, server.url("/empty")).error == "empty"


def test_endless_answers_are_cut_by_bytes(server: Loopback) -> None:
    block = b"y" * 65536
    chunk = b"10000\r\n" + block + b"\r\n"
    server.scripts |= {
        "/body": server.drip(b"HTTP/1.1 200 OK\r\n\r\n", block, 0),
        "/chunks": server.drip(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", chunk, 0),
        "/size": server.drip(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"0" * 65536, 0),
        "/trailers": server.drip(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n", b"t" * 65536, 0
        ),
        "/continue": server.drip(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 1000, 0),
    }
    started = time.monotonic()
    intake = intake_of(server, total_timeout_s=60.0)
    for path in ("/body", "/chunks", "/continue"):
        assert failure_of(intake, server.url(path)).error == "too_large"
    for path in ("/size", "/trailers"):  # newer versions of urllib3 bound these lines before our budget does
        assert failure_of(intake, server.url(path)).error in ("too_large", "connection_failed")
    assert time.monotonic() - started < PROMPT_S


def test_slow_answers_are_cut_by_the_total_deadline(server: Loopback) -> None:
    """Each piece comes well within read_timeout_s, so that only the total can end it."""
    ok = b"HTTP/1.1 200 OK\r\n"
    server.scripts |= {
        "/status": server.drip(b"", b"H", 0.1),
        "/header": server.drip(ok + b"X-Slow: ", b"h", 0.1),
        "/headers": server.drip(ok, b"X: y\r\n", 0.1),
        "/continue": server.drip(b"", b"HTTP/1.1 100 Continue\r\n\r\n", 0.1),
        "/body": server.drip(ok + b"Content-Length: 10000\r\n\r\n", b"b", 0.1),
        "/chunk": server.drip(ok + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\nc\r\n", 0.1),
    }
    intake = intake_of(server, total_timeout_s=1.0)
    started = time.monotonic()
    with ThreadPoolExecutor(6) as pool:
        errors = list(pool.map(lambda path: failure_of(intake, server.url(path)), list(server.scripts)[1:]))
    assert [(type(e), e.error) for e in errors] in (
        [(Transient, "timeout")] * 6,
        # http.client gives up on 100 header lines by itself
        [(Transient, "timeout")] * 2 + [(Transient, "connection_failed")] + [(Transient, "timeout")] * 3,
    )
    assert time.monotonic() - started < PROMPT_S


def test_silence_is_cut_by_the_read_time_out(server: Loopback) -> None:
    server.scripts["/silent"] = server.drip(b"", b"", 60.0)
    started = time.monotonic()
    error = failure_of(intake_of(server, read_timeout_s=0.3, total_timeout_s=60.0), server.url("/silent"))
    assert (type(error), error.error) == (Transient, "timeout")
    assert time.monotonic() - started < PROMPT_S


def test_broken_answers_are_transient(server: Loopback) -> None:
    server.scripts |= {
        "/closed": lambda sock, _: None,
        "/garbage": lambda sock, _: sock.sendall(b"\x00\x01\x02 what is this\r\n\r\n"),
        "/chunk": lambda sock, _: sock.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nno\r\n"),
        "/lengths": lambda sock, _: sock.sendall(
            b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n123456"
        ),
        "/header": lambda sock, _: sock.sendall(b"HTTP/1.1 200 OK\r\nX: " + b"h" * 70_000 + b"\r\n\r\n"),
    }
    for path in list(server.scripts)[1:]:
        error = failure_of(intake_of(server), server.url(path))
        assert (type(error), error.error) == (Transient, "connection_failed"), path


def test_a_refused_connection_is_transient_and_shows_no_address(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    monkeypatch.setattr(socket, "getaddrinfo", resolver({"photos.test": ["127.0.0.1"]}))
    intake = Intake(IntakeSettings(allowed_private=(f"photos.test:{port}",), attempts=1))
    error = failure_of(intake, f"http://photos.test:{port}/p.jpg?token=hush")
    assert (type(error), error.error) == (Transient, "connection_failed")
    assert "127.0.0.1" not in str(error)
    assert "hush" not in str(error)
    assert error.__cause__ is None
    assert error.__suppress_context__


@pytest.mark.parametrize(
    "encoding", ["", "identity", "aws-chunked", "base64", "utf-8", "br", "IDENTITY", "none, x", "gzip"]
)
def test_an_encoding_that_the_bytes_do_not_have_is_none(server: Loopback, encoding: str) -> None:
    """Object stores and gateways name many, around bytes that are plain."""
    server.scripts["/p"] = answer(200, PHOTO, f"Content-Encoding: {encoding}")
    assert intake_of(server).fetch(ImageRef(image_id="a", url=server.url("/p"))) == PHOTO


@pytest.mark.parametrize("encoding", ["gzip", "x-gzip", "GZip", "aws-chunked, gzip"])
def test_gzip_is_unpacked(server: Loopback, encoding: str) -> None:
    server.scripts["/p"] = answer(200, gzip.compress(PHOTO), f"Content-Encoding: {encoding}")
    assert intake_of(server).fetch(ImageRef(image_id="a", url=server.url("/p"))) == PHOTO


def test_gzip_is_bounded_and_has_to_be_whole(server: Loopback) -> None:
    bomb, header = gzip.compress(bytes(15_000_000), 9), "Content-Encoding: gzip"
    assert len(bomb) < 20_000
    server.scripts |= {
        "/bomb": answer(200, bomb, header),
        "/exact": answer(200, gzip.compress(bytes(20_000)), header),
        "/over": answer(200, gzip.compress(bytes(20_001)), header),
        "/cut": answer(200, gzip.compress(PHOTO)[:-9], header),
        "/broken": answer(200, b"\x1f\x8b" + bytes(40), header),
    }
    intake = intake_of(server)
    assert failure_of(intake, server.url("/bomb")).error == "too_large"
    assert failure_of(intake, server.url("/over")).error == "too_large"
    assert failure_of(intake, server.url("/cut")).error == "content_encoding"
    assert failure_of(intake, server.url("/broken")).error == "content_encoding"
    assert intake.fetch(ImageRef(image_id="a", url=server.url("/exact"))) == bytes(20_000)


@pytest.mark.parametrize(
    ("location", "path"),
    [
        ("/foto-étagère.jpg".encode(), "/foto-%C3%A9tag%C3%A8re.jpg"),
        ("/写真.jpg".encode(), "/%E5%86%99%E7%9C%9F.jpg"),
        ("/étage.jpg".encode("latin-1"), "/%E9tage.jpg"),
        (b"/a%20b.jpg", "/a%20b.jpg"),
        (b"/a b.jpg", "/a%20b.jpg"),
        (b"  /plain.jpg  ", "/plain.jpg"),
    ],
)
def test_a_location_of_raw_bytes_is_followed(server: Loopback, location: bytes, path: str) -> None:
    server.scripts["/r"] = lambda sock, _: sock.sendall(
        b"HTTP/1.1 302 Found\r\nLocation: " + location + b"\r\nContent-Length: 0\r\n\r\n"
    )
    server.scripts[path] = answer(200, PHOTO)
    assert intake_of(server).fetch(ImageRef(image_id="a", url=server.url("/r"))) == PHOTO


@pytest.mark.parametrize("location", ["http://exämple.test/", "/a\\b", "https://10.0.0.7/é.jpg", "ftp://é.example/"])
def test_a_location_of_raw_bytes_passes_the_same_checks(server: Loopback, location: str) -> None:
    raw = location.encode()
    server.scripts["/r"] = lambda sock, _: sock.sendall(
        b"HTTP/1.1 302 Found\r\nLocation: " + raw + b"\r\nContent-Length: 0\r\n\r\n"
    )
    error = failure_of(intake_of(server), server.url("/r"))
    assert type(error) is Invalid
    assert error.error in ("host_not_allowed", "bad_url", "address_not_allowed", "scheme_not_allowed")


_HINTS = b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\n\r\n"
_PLAIN = b"Content-Length: %d\r\n\r\n" % len(PHOTO) + PHOTO
_CHUNKED = b"%x;ext=1\r\n" % len(PHOTO) + PHOTO + b"\r\n0\r\nX-Trailer: 1\r\n\r\n"
ODD = {
    "early hints": _HINTS + b"HTTP/1.1 200 OK\r\n" + _PLAIN,
    "several interim answers": b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n"
    + _HINTS
    + b"HTTP/1.1 200 OK\r\n"
    + _PLAIN,
    "no reason": b"HTTP/1.1 200\r\n" + _PLAIN,
    "HTTP/1.0 until the end": b"HTTP/1.0 200 OK\r\n\r\n" + PHOTO,
    "bare line feeds": b"HTTP/1.1 200 OK\nContent-Length: %d\n\n" % len(PHOTO) + PHOTO,
    "folded header": b"HTTP/1.1 200 OK\r\nX-Long: a\r\n  b\r\n" + _PLAIN,
    "header in UTF-8": "HTTP/1.1 200 OK\r\nX-Name: étagère\r\n".encode() + _PLAIN,
    "no space after the colon": b"HTTP/1.1 200 OK\r\nContent-Encoding:\r\ncontent-length:%d\r\n\r\n" % len(PHOTO)
    + PHOTO,
    "the length twice": b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n" % len(PHOTO) + _PLAIN,
    "chunks with extension and trailer": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n" + _CHUNKED,
    "60 headers": b"HTTP/1.1 200 OK\r\n" + b"".join(b"X-%d: 1\r\n" % n for n in range(60)) + _PLAIN,
}


@pytest.mark.parametrize("raw", ODD.values(), ids=ODD)
def test_odd_but_valid_answers_are_read(server: Loopback, raw: bytes) -> None:
    server.scripts["/odd"] = lambda sock, _: sock.sendall(raw)
    assert intake_of(server).fetch(ImageRef(image_id="a", url=server.url("/odd"))) == PHOTO


BROKEN = {
    "line without a colon": b"HTTP/1.1 200 OK\r\nBad Header Line\r\nContent-Length: %d\r\n\r\n" % len(PHOTO) + PHOTO,
    "space before the colon": b"HTTP/1.1 200 OK\r\nX-A : b\r\nContent-Length: %d\r\n\r\n" % len(PHOTO) + PHOTO,
    "no name": b"HTTP/1.1 200 OK\r\n: b\r\n" + _PLAIN,
    "NUL": b"HTTP/1.1 200 OK\r\nX-A: b\x00c\r\n" + _PLAIN,
    "length in words": b"HTTP/1.1 200 OK\r\nContent-Length: all\r\n\r\n" + PHOTO,
    "length and chunks": b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n" + _CHUNKED,
}


@pytest.mark.parametrize("raw", BROKEN.values(), ids=BROKEN)
def test_a_broken_header_costs_no_photo_and_no_log_line(
    server: Loopback, raw: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """A library would log the whole URL, in which a seller may have put a token."""
    server.scripts["/broken"] = lambda sock, _: sock.sendall(raw)
    assert intake_of(server).fetch(ImageRef(image_id="a", url=server.url("/broken?token=secret"))) == PHOTO
    assert caplog.text == ""


def test_endless_early_hints_are_cut(server: Loopback) -> None:
    server.scripts["/hints"] = lambda sock, _: sock.sendall(_HINTS * 1000)
    assert isinstance(failure_of(intake_of(server), server.url("/hints")), Transient)


def test_proxies_of_the_environment_are_ignored(server: Loopback, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving() as proxy:
        for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://{proxy.address}")
        assert intake_of(server).fetch(ImageRef(image_id="a", url=server.url("/ok"))) == PHOTO
        assert not proxy.requests


def test_one_intake_serves_many_threads_and_counts(server: Loopback) -> None:
    def echo(sock: socket.socket, request: str) -> None:
        answer(200, request.split(" ")[1].encode())(sock, request)

    server.scripts["/echo"] = echo
    intake = intake_of(server, total_timeout_s=30.0, read_timeout_s=30.0)
    before = FETCH_BYTES._value.get()
    missing = FETCH_ERRORS.labels(error="http_404")._value.get()
    paths = [f"/echo?n={n}" for n in range(64)]
    with ThreadPoolExecutor(8) as pool:
        bodies = list(pool.map(lambda path: intake.fetch(ImageRef(image_id="a", url=server.url(path))), paths))
    assert bodies == [path.encode() for path in paths]
    assert FETCH_BYTES._value.get() - before == sum(map(len, bodies))
    assert failure_of(intake, server.url("/nothing")).error == "http_404"
    assert FETCH_ERRORS.labels(error="http_404")._value.get() - missing == 1
