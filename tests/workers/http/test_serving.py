from __future__ import annotations

import asyncio
import json
import socket
import threading

import pytest
import urllib3
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from schemas.errors import ConfigError
from workers.http.serving import Health, PortTaken, _listen, operations_routes, serve, waiting_room


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def _get(url: str) -> urllib3.BaseHTTPResponse:
    with urllib3.PoolManager(retries=False) as pool:
        return pool.request("GET", url, timeout=5)


def test_liveness_is_the_age_of_the_heartbeat_and_of_the_batch_in_flight():
    clock = Clock()
    health = Health(heartbeat_limit_s=30, batch_limit_s=120, clock=clock)
    clock.now += 500
    assert health.live, "loading may take long: only the start-up probe judges it"
    health.mark_started()
    assert health.live
    clock.now += 31
    assert not health.live
    health.beat()
    assert health.live
    with health.batch():
        clock.now += 100
        health.beat()
        assert health.live
        clock.now += 21
        health.beat()
        assert not health.live
        assert health.batch_age_s == 121
    assert health.live


def test_the_oldest_of_several_batches_in_flight_counts():
    """A detector that works must not hide an engine that hangs."""
    clock = Clock()
    health = Health(clock=clock)
    began, end = threading.Event(), threading.Event()

    def hang() -> None:
        with health.batch():
            began.set()
            end.wait(30)

    hanging = threading.Thread(target=hang)
    hanging.start()
    assert began.wait(30)
    clock.now += 100
    with health.batch():
        assert health.batch_age_s == 100
    assert health.batch_age_s == 100
    end.set()
    hanging.join()
    assert health.batch_age_s == 0


def test_stale_is_apart_from_ready():
    clock = Clock()
    health = Health(stale_after_s=10, clock=clock)
    health.mark_started()
    health.mark_ready()
    clock.now += 11
    assert (health.ready, health.stale) == (True, True)
    health.fresh()
    assert not health.stale
    assert not Health(clock=clock).stale


def test_the_three_operations_routes_over_a_real_port():
    health = Health(stale_after_s=1000)
    server = serve(Starlette(routes=operations_routes(health, "tagger")), "127.0.0.1", 0)
    try:
        health.waiting_for = "the index"
        answer = _get(server.url + "/readyz")
        assert answer.status == 503
        assert answer.headers["retry-after"] == "1"
        assert json.loads(answer.data) == {
            "ready": False,
            "stale": False,
            "waiting_for": "the index",
            "hold": None,
            "degraded": {},
        }
        assert b"groknet_ready 0.0" in _get(server.url + "/metrics").data
        health.mark_started()
        health.mark_ready()
        health.degraded = {"store": "no node answers"}
        answer = _get(server.url + "/readyz")
        assert (answer.status, json.loads(answer.data)["degraded"]) == (200, {"store": "no node answers"})
        assert b"groknet_ready 1.0" in _get(server.url + "/metrics").data
        assert json.loads(_get(server.url + "/healthz").data)["live"] is True
        metrics = _get(server.url + "/metrics")
        assert metrics.headers["content-type"].startswith("text/plain")
        assert b"process_cpu_seconds_total" in metrics.data
        health.mark_unready("the stream")
        assert json.loads(_get(server.url + "/readyz").data)["waiting_for"] == "the stream"
    finally:
        server.stop()
    assert not server.running
    server.stop()


def test_a_worker_that_stands_by_is_not_ready_and_no_alert_says_that_it_should_be():
    health = Health()
    health.mark_started()
    health.mark_unready("one, which writes")
    server = serve(Starlette(routes=operations_routes(health, "products")), "127.0.0.1", 0)
    try:
        assert "standby" not in json.loads(_get(server.url + "/readyz").data)
        assert b"groknet_ready 0.0" in _get(server.url + "/metrics").data
        health.standby = True
        answer = _get(server.url + "/readyz")
        assert (answer.status, json.loads(answer.data)["standby"]) == (503, True)
        assert b"groknet_ready 1.0" in _get(server.url + "/metrics").data
    finally:
        server.stop()


def test_a_waiting_room_says_what_it_waits_for_on_every_path():
    health = Health()
    health.waiting_for = "the store: no node answers"
    server = serve(waiting_room(health, "tagger"), "127.0.0.1", 0)
    try:
        for path in ("/", "/v1/search", "/page/x.js"):
            answer = _get(server.url + path)
            assert (answer.status, answer.headers["retry-after"]) == (503, "1")
            assert "it waits for the store: no node answers" in json.loads(answer.data)["detail"]
        with urllib3.PoolManager(retries=False) as pool:
            sent = pool.request("POST", server.url + "/v1/search", body=b"x", timeout=5)
        assert (sent.status, sent.headers["retry-after"]) == (503, "1"), "a 405 would end a client's tries"
        assert json.loads(_get(server.url + "/readyz").data)["ready"] is False
        assert _get(server.url + "/healthz").status == 200
    finally:
        server.stop()


def test_answers_do_not_wait_for_acknowledgements():
    """asyncio turns Nagle's algorithm off only on sockets that name their protocol; accepted ones inherit it."""
    with _listen("127.0.0.1", 0) as listener:
        assert listener.proto == socket.IPPROTO_TCP


def test_a_dead_loop_answers_503():
    clock = Clock()
    health = Health(clock=clock)
    health.mark_started()
    server = serve(Starlette(routes=operations_routes(health, "tagger")), "127.0.0.1", 0)
    try:
        clock.now += 31
        answer = _get(server.url + "/healthz")
        assert answer.status == 503
        assert json.loads(answer.data)["heartbeat_age_s"] == 31
    finally:
        server.stop()


def test_a_taken_port_is_named():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(PortTaken, match=f"port: {port} on 127.0.0.1"):
            serve(Starlette(), "127.0.0.1", port)
    with pytest.raises(ConfigError, match=r"host: 'no\.such\.host\.invalid'"):
        serve(Starlette(), "no.such.host.invalid", 0)


def test_stop_lets_the_request_under_way_finish():
    entered = threading.Event()
    release = threading.Event()

    async def slow(_: Request) -> Response:
        entered.set()
        await asyncio.to_thread(release.wait, 10)
        return PlainTextResponse("done")

    server = serve(Starlette(routes=[Route("/slow", slow)]), "127.0.0.1", 0)
    answers: list[bytes] = []
    client = threading.Thread(target=lambda: answers.append(_get(server.url + "/slow").data))
    client.start()
    assert entered.wait(10)
    stopping = threading.Thread(target=server.stop)
    stopping.start()
    release.set()
    stopping.join(20)
    client.join(20)
    assert answers == [b"done"]


def test_an_application_that_cannot_start_is_not_served():
    async def broken(scope, receive, send):
        await receive()
        await send({"type": "lifespan.startup.failed", "message": "no"})

    with pytest.raises(RuntimeError, match="did not start"):
        serve(broken, "127.0.0.1", 0)


def test_a_failure_ends_liveness_and_tells_the_owner():
    health = Health()
    health.mark_ready()
    health.fail(RuntimeError("device lost"))
    assert (health.live, health.ready, health.failed.is_set()) == (False, False, True)
    assert health.waiting_for == "a restart, after RuntimeError"
