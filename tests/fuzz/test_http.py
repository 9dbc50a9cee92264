"""A short, deterministic run of the fuzzer of HTTP requests, and inputs that it or a person found."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, example, given, settings

from tests.fuzz.http import PATHS, REQUESTS, Request, check, service
from tests.workers.search.rig import Rig, photo


@pytest.fixture(scope="module")
def made() -> Iterator[Rig]:
    with service() as running:
        yield running


@settings(max_examples=150, derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck))
@given(request_=REQUESTS)
@example(request_=Request("POST", "/v1/search", (("box", "nan,nan,nan,nan"),), (), photo(1)))
@example(request_=Request("POST", "/v1/search", (("k", "٣"),), (), photo(1)))
@example(request_=Request("POST", "/v1/search", (), (("content-type", "application/json"),), b"[" * 4_000))
@example(request_=Request("POST", "/v1/search", (), (("content-type", "multipart/form-data"),), b"--b\r\n"))
@example(request_=Request("GET", "/v1/listings/%00%ff", (), (), b""))
def test_every_request_gets_an_answer_that_is_no_fault(made: Rig, request_: Request) -> None:
    check(made.server.url, request_)


def test_most_requests_have_a_method_that_their_path_takes() -> None:
    fitting: list[bool] = []

    @settings(max_examples=300, derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(request_=REQUESTS)
    def one(request_: Request) -> None:
        fitting.append(PATHS.get(request_.path, "GET") == request_.method)

    one()
    assert sum(fitting) / len(fitting) > 0.75


def test_afterwards_it_searches_as_before(made: Rig) -> None:
    assert made.search(photo(1), "?k=1")[1]["neighbours"][0]["listing_id"] == "one"
