"""Against a real server on loopback: status classes, redirects, hostile bodies, TLS names, rebinding, retries."""

from __future__ import annotations

import gzip
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from loopback import CERTIFICATE, Loopback, answer, serving

from schemas.errors import Invalid, Transient
from schemas.events import ImageRef
from workers.intake import Intake, IntakeSettings
from workers.metrics import FETCH_BYTES, FETCH_ERRORS

PHOTO = bytes(range(256)) * 40
PROMPT_S = 8.0  # far above the bounds under test, far below what the hostile answers would take


@pytest.fixture
def server() -> Iterator[Loopback]:
    with serving() as server:
        server.scripts["/ok"] = answer(200, PHOTO)
        yield server


def _intake(server: Loopback, **changes: object) -> Intake:
    fields: dict[str, object] = {
        "allowed_private": (server.address,),
        "max_bytes": 20_000,
        "connect_timeout_s": 2.0,
        "read_timeout_s": 1.0,
        "total_timeout_s": 2.0,
        "attempts": 1,
        "backoff_base_s": 0.01,
        **changes,
    }
    return Intake(IntakeSettings(**fields))  # type: ignore[arg-type]


def _failure(intake: Intake, url: str) -> Invalid | Transient:
    with pytest.raises((Invalid, Transient)) as caught:
        intake.fetch(ImageRef(image_id="a", url=url))
    assert isinstance(caught.value, (Invalid, Transient))
    assert caught.value.stage == "fetch"
    return caught.value


def test_a_photo_comes_back_as_it_is(server: Loopback) -> None:
    assert _intake(server).fetch(ImageRef(image_id="a", url=server.url("/ok?size=large&x=ä"))) == PHOTO
    head = server.requests[0].split("\r\n")
    assert head[0] == "GET /ok?size=large&x=%C3%A4 HTTP/1.1"
    assert f"Host: {server.address}" in head
    assert "Accept-Encoding: identity" in head
    assert not any(line.lower().startswith(("cookie", "authorization", "referer")) for line in head)


def test_loopback_is_refused_unless_named(server: Loopback) -> None:
    for settings in (IntakeSettings(), IntakeSettings(allow_http_hosts=("127.0.0.1",))):
        assert _failure(Intake(settings), server.url("/ok")).error in ("scheme_not_allowed", "port_not_allowed")
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
    error = _failure(_intake(server), server.url("/s?token=hush"))
    assert (type(error), error.error) == (kind, code)
    assert "hush" not in error.message
    assert "/s" in error.message


def test_transient_faults_are_retried_and_invalid_ones_are_not(server: Loopback) -> None:
    def third_time(sock: socket.socket, request: str) -> None:
        answer(200, PHOTO)(sock, request) if server.hits["/flaky"] == 3 else answer(503)(sock, request)

    server.scripts |= {"/flaky": third_time, "/down": answer(500), "/gone": answer(410)}
    intake = _intake(server, attempts=3)
    assert intake.fetch(ImageRef(image_id="a", url=server.url("/flaky"))) == PHOTO
    assert _failure(intake, server.url("/down")).error == "http_500"
    assert _failure(intake, server.url("/gone")).error == "http_410"
    assert server.hits == {"/flaky": 3, "/down": 3, "/gone": 1}


def test_attempts_are_capped_in_time(server: Loopback) -> None:
    server.scripts["/down"] = answer(500)
    started = time.monotonic()
    intake = _intake(server, attempts=10, backoff_base_s=60.0, attempts_time_cap_s=1.0)
    assert _failure(intake, server.url("/down")).error == "http_500"
    assert time.monotonic() - started < PROMPT_S


def test_redirects_are_followed_up_to_three(server: Loopback) -> None:
    for n in range(5):
        server.scripts[f"/r{n}"] = answer(302, b"", f"Location: /r{n + 1}?q={n}")
    server.scripts["/r5"] = answer(200, PHOTO)
    intake = _intake(server)
    assert intake.fetch(ImageRef(image_id="a", url=server.url("/r2"))) == PHOTO
    assert _failure(intake, server.url("/r1")).error == "too_many_redirects"
    assert _failure(_intake(server, max_redirects=0), server.url("/r4")).error == "too_many_redirects"
    server.scripts["/self"] = answer(301, b"", f"Location: {server.url('/self')}")
    assert _failure(intake, server.url("/self")).error == "too_many_redirects"


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
    error = _failure(_intake(server), server.url("/r"))
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
    intake = _intake(server)
    short = _failure(intake, server.url("/short"))
    assert (type(short), short.error) == (Transient, "connection_failed")
    assert _failure(intake, server.url("/announced")).error == "too_large"
    assert intake.fetch(ImageRef(image_id="a", url=server.url("/exact"))) == b"x" * 20_000
    assert _failure(intake, server.url("/over")).error == "too_large"
    assert _failure(intake, server.url("/unannounced")).error == "too_large"
    assert intake.fetch(ImageRef(image_id="a", url=server.url("/nonsense"))) == PHOTO
    assert _failure(intake, server.url("/empty")).error == "empty"


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
    intake = _intake(server, total_timeout_s=60.0)
    for path in ("/body", "/chunks", "/continue"):
        assert _failure(intake, server.url(path)).error == "too_large"
    for path in ("/size", "/trailers"):  # newer versions of urllib3 bound these lines before our budget does
        assert _failure(intake, server.url(path)).error in ("too_large", "connection_failed")
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
    intake = _intake(server, total_timeout_s=1.0)
    started = time.monotonic()
    with ThreadPoolExecutor(6) as pool:
        errors = list(pool.map(lambda path: _failure(intake, server.url(path)), list(server.scripts)[1:]))
    assert [(type(e), e.error) for e in errors] in (
        [(Transient, "timeout")] * 6,
        # http.client gives up on 100 header lines by itself
        [(Transient, "timeout")] * 2 + [(Transient, "connection_failed")] + [(Transient, "timeout")] * 3,
    )
    assert time.monotonic() - started < PROMPT_S


def test_silence_is_cut_by_the_read_time_out(server: Loopback) -> None:
    server.scripts["/silent"] = server.drip(b"", b"", 60.0)
    started = time.monotonic()
    error = _failure(_intake(server, read_timeout_s=0.3, total_timeout_s=60.0), server.url("/silent"))
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
        error = _failure(_intake(server), server.url(path))
        assert (type(error), error.error) == (Transient, "connection_failed"), path


def test_a_refused_connection_is_transient_and_shows_no_address(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    monkeypatch.setattr(socket, "getaddrinfo", _resolver({"photos.test": ["127.0.0.1"]}))
    intake = Intake(IntakeSettings(allowed_private=(f"photos.test:{port}",), attempts=1))
    error = _failure(intake, f"http://photos.test:{port}/p.jpg?token=hush")
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
    assert _intake(server).fetch(ImageRef(image_id="a", url=server.url("/p"))) == PHOTO


@pytest.mark.parametrize("encoding", ["gzip", "x-gzip", "GZip", "aws-chunked, gzip"])
def test_gzip_is_unpacked(server: Loopback, encoding: str) -> None:
    server.scripts["/p"] = answer(200, gzip.compress(PHOTO), f"Content-Encoding: {encoding}")
    assert _intake(server).fetch(ImageRef(image_id="a", url=server.url("/p"))) == PHOTO


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
    intake = _intake(server)
    assert _failure(intake, server.url("/bomb")).error == "too_large"
    assert _failure(intake, server.url("/over")).error == "too_large"
    assert _failure(intake, server.url("/cut")).error == "content_encoding"
    assert _failure(intake, server.url("/broken")).error == "content_encoding"
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
    assert _intake(server).fetch(ImageRef(image_id="a", url=server.url("/r"))) == PHOTO


@pytest.mark.parametrize("location", ["http://exämple.test/", "/a\\b", "https://10.0.0.7/é.jpg", "ftp://é.example/"])
def test_a_location_of_raw_bytes_passes_the_same_checks(server: Loopback, location: str) -> None:
    raw = location.encode()
    server.scripts["/r"] = lambda sock, _: sock.sendall(
        b"HTTP/1.1 302 Found\r\nLocation: " + raw + b"\r\nContent-Length: 0\r\n\r\n"
    )
    error = _failure(_intake(server), server.url("/r"))
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
    assert _intake(server).fetch(ImageRef(image_id="a", url=server.url("/odd"))) == PHOTO


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
    assert _intake(server).fetch(ImageRef(image_id="a", url=server.url("/broken?token=secret"))) == PHOTO
    assert caplog.text == ""


def test_endless_early_hints_are_cut(server: Loopback) -> None:
    server.scripts["/hints"] = lambda sock, _: sock.sendall(_HINTS * 1000)
    assert isinstance(_failure(_intake(server), server.url("/hints")), Transient)


def test_proxies_of_the_environment_are_ignored(server: Loopback, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving() as proxy:
        for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://{proxy.address}")
        assert _intake(server).fetch(ImageRef(image_id="a", url=server.url("/ok"))) == PHOTO
        assert not proxy.requests


def _resolver(names: dict[str, list[str]], asked: list[str] | None = None):
    """A name service with the given answers; numeric hosts stand for themselves."""
    real = socket.getaddrinfo

    def resolve(host: str, port: int, *args: int, **kwargs: int) -> object:
        if host not in names:
            return real(host, port, *args, **kwargs)
        if asked is not None:
            asked.append(host)
        family = {True: socket.AF_INET6, False: socket.AF_INET}
        return [(family[":" in a], socket.SOCK_STREAM, 6, "", (a, port)) for a in names[host]]

    return resolve


def test_rebinding_is_pinned(server: Loopback, monkeypatch: pytest.MonkeyPatch) -> None:
    """The name is asked for once a hop; the second answer, another machine, is never reached."""
    asked: list[str] = []
    names = {"photos.test": ["127.0.0.1"]}
    resolve = _resolver(names, asked)

    def rebinding(host: str, port: int, *args: int, **kwargs: int) -> object:
        answers = resolve(host, port, *args, **kwargs)
        if host in names:
            names[host] = ["169.254.169.254"]
        return answers

    monkeypatch.setattr(socket, "getaddrinfo", rebinding)
    intake = _intake(server, allowed_private=(f"photos.test:{server.port}",))
    url = f"http://photos.test:{server.port}/ok"
    assert intake.fetch(ImageRef(image_id="a", url=url)) == PHOTO
    assert asked == ["photos.test"]
    assert f"Host: photos.test:{server.port}" in server.requests[0]
    assert _failure(intake, url).error == "address_not_allowed"
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    "answers",
    [["93.184.216.34", "10.0.0.1"], ["::1", "93.184.216.34"], ["::ffff:10.0.0.1"], ["fe80::1%lo"], []],
)
def test_one_private_answer_spoils_the_name(answers: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", _resolver({"photos.example": answers}))
    error = _failure(Intake(IntakeSettings()), "https://photos.example/p.jpg")
    assert error.error == "address_not_allowed"
    assert not any(address in error.message for address in answers)


def test_the_next_address_is_tried(server: Loopback, monkeypatch: pytest.MonkeyPatch) -> None:
    names = {"photos.test": ["127.0.0.2", "127.0.0.1"]}  # the server listens on 127.0.0.1 alone
    monkeypatch.setattr(socket, "getaddrinfo", _resolver(names))
    intake = _intake(server, allowed_private=(f"photos.test:{server.port}",))
    assert intake.fetch(ImageRef(image_id="a", url=f"http://photos.test:{server.port}/ok")) == PHOTO


@pytest.mark.parametrize(
    ("errno", "kind", "code"),
    [
        (socket.EAI_NONAME, Invalid, "host_not_found"),
        (socket.EAI_AGAIN, Transient, "dns_failure"),
        (socket.EAI_FAIL, Transient, "dns_failure"),
    ],
)
def test_name_service_failures(errno: int, kind: type[Exception], code: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(*args: object, **kwargs: object) -> object:
        raise socket.gaierror(errno, "what the resolver says")

    monkeypatch.setattr(socket, "getaddrinfo", failing)
    error = _failure(Intake(IntakeSettings(attempts=1)), "https://photos.example/p.jpg")
    assert (type(error), error.error) == (kind, code)


def test_a_stuck_resolver_times_out(monkeypatch: pytest.MonkeyPatch) -> None:
    release = threading.Event()

    def stuck(*args: object, **kwargs: object) -> object:
        release.wait(30)
        raise socket.gaierror(socket.EAI_AGAIN, "late")

    monkeypatch.setattr(socket, "getaddrinfo", stuck)
    intake = Intake(IntakeSettings(connect_timeout_s=0.2, attempts=1))
    try:
        error = _failure(intake, "https://photos.example/p.jpg")
    finally:
        release.set()
        intake.close()
    assert (type(error), error.error) == (Transient, "timeout")


def test_a_site_whose_name_server_hangs_leaves_the_threads_to_other_sites(
    server: Loopback, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The names of a stranger's own domain are without end. One name has one lookup, however many wait for it."""
    release, real, asked = threading.Event(), socket.getaddrinfo, []

    def stuck(host: str, *args: object, **kwargs: object) -> object:
        if not host.endswith("hostile.example"):
            return real(host, *args, **kwargs)  # type: ignore[arg-type]
        asked.append(host)
        release.wait(30)
        raise socket.gaierror(socket.EAI_AGAIN, "late")

    monkeypatch.setattr(socket, "getaddrinfo", stuck)
    intake = _intake(server, connect_timeout_s=0.05)
    try:
        for _ in range(2):
            errors = [_failure(intake, f"https://n{n}.hostile.example/p.jpg").error for n in range(12)]
            assert errors == ["timeout"] * 8 + ["dns_failure"] * 4
        assert asked == [f"n{n}.hostile.example" for n in range(8)]
        assert intake.fetch(ImageRef(image_id="a", url=server.url("/ok"))) == PHOTO
    finally:
        release.set()
        intake.close()


def test_tls_verifies_the_name_and_not_the_address(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    names = {"photos.test": ["127.0.0.1"], "other.test": ["127.0.0.1"]}
    monkeypatch.setattr(socket, "getaddrinfo", _resolver(names, asked))
    with serving(tls=True) as server:
        server.scripts["/ok"] = answer(200, PHOTO)
        port = server.port
        private = tuple(f"{host}:{port}" for host in ("photos.test", "other.test", "127.0.0.1"))
        trusting = _intake(server, allowed_private=private, ca_file=str(CERTIFICATE))
        ref = ImageRef(image_id="a", url=f"https://photos.test:{port}/ok")
        assert trusting.fetch(ref) == PHOTO
        assert asked == ["photos.test"]  # connecting asks no second time: the address is pinned
        for host in ("other.test", "127.0.0.1"):
            assert _failure(trusting, f"https://{host}:{port}/ok").error == "certificate_refused"
        strict = _failure(_intake(server, allowed_private=private), f"https://photos.test:{port}/ok")
        assert (type(strict), strict.error) == (Invalid, "certificate_refused")


def test_tls_against_something_else(server: Loopback) -> None:
    """A plain server, and one that accepts and stays silent: both may be set right, so they are transient."""
    error = _failure(_intake(server), f"https://{server.address}/ok")
    assert isinstance(error, Transient)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        intake = _intake(server, allowed_private=(f"127.0.0.1:{port}",), connect_timeout_s=0.5)
        error = _failure(intake, f"https://127.0.0.1:{port}/ok")
    assert (type(error), error.error) == (Transient, "timeout")


def test_one_intake_serves_many_threads_and_counts(server: Loopback) -> None:
    def echo(sock: socket.socket, request: str) -> None:
        answer(200, request.split(" ")[1].encode())(sock, request)

    server.scripts["/echo"] = echo
    intake = _intake(server, total_timeout_s=30.0, read_timeout_s=30.0)
    before = FETCH_BYTES._value.get()
    missing = FETCH_ERRORS.labels(error="http_404")._value.get()
    paths = [f"/echo?n={n}" for n in range(64)]
    with ThreadPoolExecutor(8) as pool:
        bodies = list(pool.map(lambda path: intake.fetch(ImageRef(image_id="a", url=server.url(path))), paths))
    assert bodies == [path.encode() for path in paths]
    assert FETCH_BYTES._value.get() - before == sum(map(len, bodies))
    assert _failure(intake, server.url("/nothing")).error == "http_404"
    assert FETCH_ERRORS.labels(error="http_404")._value.get() - missing == 1
