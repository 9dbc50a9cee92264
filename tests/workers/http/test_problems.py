"""Every error of an application is problem+json: those it raises, those of the router, and faults that say nothing."""

from __future__ import annotations

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from urllib3 import PoolManager

from workers.http.problems import FAULT, HANDLERS, MEDIA_TYPE, Problem
from workers.http.serving import serve


def busy(_: Request) -> Response:
    raise Problem(429, "busy", "k: too many", retry_after_s=3, headers={"x-a": "b"}, members={"limit": 5})


def broken(_: Request) -> Response:
    raise RuntimeError("a secret path /etc/x")


@pytest.fixture(scope="module")
def url():
    server = serve(
        Starlette(routes=[Route("/busy", busy), Route("/broken", broken)], exception_handlers=HANDLERS), "127.0.0.1", 0
    )
    yield server.url
    server.stop()


@pytest.mark.parametrize(
    ("method", "path", "status", "code", "detail"),
    [
        ("GET", "/busy", 429, "busy", "k: too many"),
        ("GET", "/broken", 500, "fault", FAULT),
        ("GET", "/nowhere", 404, "no-such-path", "path: nothing is served at /nowhere; see /openapi.json"),
        ("PUT", "/busy", 405, "no-such-method", "method: PUT is not served at /busy; see /openapi.json"),
    ],
)
def test_errors_are_problems(url: str, method: str, path: str, *, status: int, code: str, detail: str) -> None:
    answer = PoolManager(retries=False).request(method, url + path)
    body = answer.json()
    assert (answer.status, answer.headers["content-type"]) == (status, MEDIA_TYPE)
    assert (body["type"], body["status"], body["detail"]) == (f"urn:groknet:problem:{code}", status, detail)
    if path == "/busy" and method == "GET":
        assert (body["limit"], answer.headers["retry-after"], answer.headers["x-a"]) == (5, "3", "b")
