"""Search under slow and hostile clients, over raw sockets. Each address of 127.0.0.0/8 is a client of its own."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import ExitStack, closing
from typing import Any

import pytest

from tests.workers.indexer.running import until
from tests.workers.search.rig import HTTP, Rig, photo, rig, served
from workers.http.connections import HttpLimits
from workers.http.serving import Health, serve
from workers.search import SearchSettings, build_search

PATIENCE_S = 30.0
HOSTILE = "127.0.0.66"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    with rig(tmp_path_factory.mktemp("home")) as one:
        one.add("one", {"p": photo(1)})
        one.indexed(1)
        one.server.stop()
        yield one


def connect(made: Rig, source: str = HOSTILE) -> socket.socket:
    return socket.create_connection((made.server.host, made.server.port), PATIENCE_S, (source, 0))


def until_closed(one: socket.socket) -> bytes:
    """What the server says until it ends the connection."""
    said = b""
    try:
        while some := one.recv(65536):
            said += some
    except ConnectionResetError:
        pass
    return said


def exchange(made: Rig, request: bytes, source: str = HOSTILE) -> tuple[int, dict[str, str], Any]:
    """One request that ends its connection: status, headers and JSON body."""
    with closing(connect(made, source)) as one:
        one.sendall(request)
        head, _, body = until_closed(one).partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in lines[1:])
    return int(lines[0].split()[1]), headers, json.loads(body) if "json" in headers.get("content-type", "") else body


def request(path: str = "/v1/recent", *lines: str, host: str = "localhost", version: str = "1.1") -> bytes:
    head = [f"GET {path} HTTP/{version}", f"Host: {host}", "Connection: close", *lines]
    return "\r\n".join([*head, "", ""]).encode()


def upload(length: int, sent: bytes) -> bytes:
    return b"POST /v1/search HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%s" % (length, sent)


@pytest.mark.parametrize("source", [HOSTILE, "127.0.0.1"])
def test_an_honest_client_is_answered_beside_dripping_uploads_and_half_sent_headers(made: Rig, source: str) -> None:
    """Also when they come from the honest client's own address. The photo slots are fewer than the drips."""
    with served(made, max_waiting=8, max_client_waiting=4), ExitStack() as stack:
        until(lambda: made.health.ready)
        hostile = [stack.enter_context(closing(connect(made, source))) for _ in range(64)]
        for i, one in enumerate(hostile):
            one.sendall(upload(9_000_000, b"\xff\xd8" * i) if i % 2 else b"GET /v1/recent HTTP/1.1\r\nHost: loc")
        for round_ in range(4):
            status, answer = made.search(photo(1), "?k=1")
            assert (status, answer["neighbours"][0]["listing_id"]) == (200, "one")
            for i, one in enumerate(hostile):
                one.sendall(b"\xff" if i % 2 else b"a" * (round_ + 1))
        assert made.get("/readyz")[0] == 200


def test_a_header_that_does_not_end_ends_the_connection(made: Rig) -> None:
    with served(made, header_timeout_s=0.3), ExitStack() as stack:
        silent, half, later = (stack.enter_context(closing(connect(made))) for _ in range(3))
        half.sendall(b"GET /v1/recent HTTP/1.1\r\nHost: localhost\r\nX-")
        later.sendall(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\nGET /readyz HT")
        assert b" 408 " in until_closed(silent).split(b"\r\n")[0]
        assert b" 408 " in until_closed(half).split(b"\r\n")[0]
        assert until_closed(later).count(b"HTTP/1.1 ") == 2  # an answer, then 408


def test_a_blank_line_does_not_keep_a_connection(made: Rig) -> None:
    """Bytes that are no request yet reset uvicorn's own timer."""
    with served(made, header_timeout_s=0.3, idle_timeout_s=1), closing(connect(made)) as one:
        one.sendall(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert one.recv(65536).startswith(b"HTTP/1.1 ")
        one.sendall(b"\r\n")
        until_closed(one)


def test_an_idle_connection_ends(made: Rig) -> None:
    with served(made, idle_timeout_s=1), closing(connect(made)) as one:
        one.sendall(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert until_closed(one).startswith(b"HTTP/1.1 ")


@pytest.mark.parametrize("path", ["/v1/search", "/healthz"])
def test_a_body_that_does_not_end_ends_the_connection(made: Rig, path: str, monkeypatch) -> None:
    """On a route that reads bodies, and on one that does not."""
    monkeypatch.setattr("workers.search.settings._BODY_MARGIN_S", 0.2)
    with served(made, upload_timeout_s=0.2), closing(connect(made)) as one:
        until(lambda: made.health.ready)
        one.sendall(b"POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\nabc" % path.encode())
        status = until_closed(one).split(b" ")[1]
        assert status == (b"408" if path == "/v1/search" else b"405")


def test_a_client_has_so_many_connections_and_others_have_theirs(made: Rig) -> None:
    with served(made, max_client_connections=3), ExitStack() as stack:
        until(lambda: made.health.ready)
        mine = [stack.enter_context(closing(connect(made))) for _ in range(3)]
        with closing(connect(made)) as fourth:
            assert b" 429 " in until_closed(fourth).split(b"\r\n")[0]
        assert exchange(made, request(), "127.0.0.67")[0] == 200
        mine[0].close()
        until(lambda: exchange(made, request())[0] == 200)


def test_when_connections_run_out_the_longest_silent_one_goes(made: Rig) -> None:
    with served(made, max_connections=4), ExitStack() as stack:
        until(lambda: made.health.ready)
        HTTP.clear()
        silent = [stack.enter_context(closing(connect(made, f"127.0.0.{70 + i}"))) for i in range(4)]
        assert exchange(made, request(), "127.0.0.90")[0] == 200
        assert b" 503 " in until_closed(silent[0]).split(b"\r\n")[0]


@pytest.mark.slow
def test_a_client_holds_so_many_slots_and_so_much_memory(made: Rig) -> None:
    size = 3_000_000
    with served(made, max_upload_bytes=size, max_upload_memory=4 * size), ExitStack() as stack:
        until(lambda: made.health.ready)
        one = stack.enter_context(closing(connect(made)))
        one.sendall(upload(size, b"\xff" * (size - 1)))
        until(lambda: exchange(made, upload(50_000, b"\xff" * 50_000))[0] == 429)
        assert exchange(made, upload(50_000, b"\xff" * 50_000), "127.0.0.68")[0] == 415
        one.close()
        until(lambda: exchange(made, upload(50_000, b"\xff" * 50_000))[0] == 415)


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("evil.example", 421),
        ("evil.example:8080", 421),
        ("localhost.evil.example", 421),
        ("localhost@evil.example", 421),
        ("127.0.0.1.evil.example:80", 421),
        ("", 421),
        ("localhost", 200),
        ("LOCALHOST.:8080", 200),
        ("127.0.0.1:8080", 200),
        ("[::1]:8080", 200),
        ("shop.example", 200),
    ],
)
def test_only_our_own_names_are_answered(made: Rig, host: str, status: int) -> None:
    with served(made, allowed_hosts=("shop.example",)):
        until(lambda: made.health.ready)
        for path in ("/v1/recent", "/", "/metrics", "/openapi.json"):
            assert exchange(made, request(path, host=host))[0] == status, path


POST = b"POST /v1/search HTTP/1.1\r\nHost: localhost\r\n"


@pytest.mark.parametrize(
    "sent",
    [
        POST + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        POST + b"Transfer-Encoding: chunked\r\nContent-Length: 0\r\n\r\n0\r\n\r\n",
        POST + b"Content-Length: 4\r\nContent-Length: 5\r\n\r\nabcde",
        POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        b"POST /v1/search HTTP/1.0\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"GET /v1/recent HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n",
        b"GET /v1/recent HTTP/1.1\r\nHost: localhost\r\n X-Folded: a\r\nContent-Length : 3\r\n\r\nabc",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 64,
    ],
)
def test_a_request_that_can_be_read_in_two_ways_is_refused_and_nothing_after_it_is_read(made: Rig, sent: bytes) -> None:
    with served(made), closing(connect(made)) as one:
        until(lambda: made.health.ready)
        one.sendall(sent + request())
        said = until_closed(one)
        assert said.split(b" ")[1] in (b"400", b"501")
        assert said.count(b"HTTP/1.1 ") == 1


def test_forwarded_addresses_count_only_behind_a_configured_proxy(made: Rig) -> None:
    def statuses() -> list[int]:
        return [exchange(made, request("/v1/recent", f"X-Forwarded-For: 10.0.0.{i}"), HOSTILE)[0] for i in range(12)]

    with served(made, rate_per_s=1e-6, rate_burst=1.0):
        until(lambda: made.health.ready)
        assert statuses() == [200] * 10 + [429] * 2
    with served(made, rate_per_s=1e-6, rate_burst=1.0, trusted_proxies=("127.0.0.64/29",)):
        until(lambda: made.health.ready)
        assert statuses() == [200] * 12


def test_wrong_tokens_are_throttled_by_address_and_right_ones_go_on(made: Rig) -> None:
    token = "a-token-of-some-length"

    def ask(given: str, source: str) -> int:
        return exchange(made, request("/v1/recent", f"Authorization: Bearer {given}"), source)[0]

    with served(made, tokens=[token]):
        until(lambda: made.health.ready)
        assert ask(token, HOSTILE) == 200
        assert [ask(f"guess-{i}", HOSTILE) for i in range(12)] == [401] * 10 + [429] * 2
        assert ask(token, HOSTILE) == 200, "it was right before"
        assert ask(token, "127.0.0.69") == 200
        assert [ask(f"guess-{i}", "127.0.0.70") for i in range(11)][-1] == 429
        assert ask(token, "127.0.0.70") == 429, "a guess tells nothing"


@pytest.mark.parametrize(
    "path", ["/v1/thumbnail?listing_id=one&image_id=p", "/v1/recent", "/", "/page/app.js", "/none"]
)
def test_no_other_site_may_embed_or_sniff_an_answer(made: Rig, path: str) -> None:
    with served(made):
        until(lambda: made.health.ready)
        _, headers, _ = exchange(made, request(path))
        assert headers["cross-origin-resource-policy"] == "same-origin"
        assert headers["x-content-type-options"] == "nosniff"
        assert "frame-ancestors 'none'" in headers["content-security-policy"]


def test_a_client_that_does_not_read_is_dropped(made: Rig) -> None:
    """It asks for many answers, and reads none of them."""
    chosen = SearchSettings(port=0, indexer_urls=[made.indexer.server.url])
    app = build_search(chosen, store=made.store, engine=made.engine, health=Health())
    server = serve(app, "127.0.0.1", 0, HttpLimits(answer_timeout_s=0.3))
    try:
        with socket.create_connection((server.host, server.port), PATIENCE_S) as one:
            asked = b"GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n" * 100
            with pytest.raises((ConnectionResetError, BrokenPipeError)):
                one.sendall(asked * 10_000)
    finally:
        server.stop()
