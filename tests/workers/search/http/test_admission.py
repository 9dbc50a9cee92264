from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import msgspec
import pytest

from groknet.cli.exits import CommandError
from groknet.commands.listings.search import ask_service
from groknet.home.paths import Home
from groknet.home.running import Running, write_running
from tests.workers.indexer.running import until
from tests.workers.search.rig import HTTP, photo, rig, served
from workers.search import SearchSettings
from workers.search.http.admission import Buckets

TOKEN = "a-token-of-some-length"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory):
    with rig(tmp_path_factory.mktemp("home")) as one:
        one.add("one", {"p": photo(1)})
        one.indexed(1)
        one.server.stop()
        yield one


def ask(made: Any, path: str, body: bytes | None = None, **headers: str) -> tuple[int, Any, Any]:
    method = "GET" if body is None else "POST"
    answer = HTTP.request(method, made.server.url + path, body=body, headers=headers)
    return answer.status, json.loads(answer.data) if "json" in answer.headers["content-type"] else None, answer.headers


def test_a_bucket_gives_the_burst_then_the_rate_and_says_when():
    now = [100.0]
    buckets = Buckets(rate_per_s=2.0, burst=3.0, clock=lambda: now[0])
    assert [buckets.take("a", 1) for _ in range(4)] == [0, 0, 0, 0.5]
    assert buckets.take("a", 1) == 0.5, "a refusal costs nothing"
    assert buckets.take("b", 1) == 0, "another client has a bucket of its own"
    now[0] += 0.5
    assert buckets.take("a", 1) == 0
    assert buckets.take("a", 0.1) == pytest.approx(0.05)
    now[0] += 1000
    assert [buckets.take("a", 1) for _ in range(4)] == [0, 0, 0, 0.5], "it never holds more than the burst"


def test_over_any_time_no_more_than_burst_and_rate_come_through():
    now = [0.0]
    buckets = Buckets(rate_per_s=5.0, burst=4.0, clock=lambda: now[0])
    taken = 0.0
    for step in range(2000):
        now[0] = step * 0.01
        taken += 0 if buckets.take("a", 1) else 1
    assert taken == pytest.approx(4 + 5 * now[0], abs=1)


def test_what_a_request_holds_beyond_its_first_photo_is_paid_by_the_next_ones():
    now = [0.0]
    buckets = Buckets(rate_per_s=2.0, burst=3.0, clock=lambda: now[0])
    assert buckets.take("a", 1) == buckets.take("a", 1) == 0
    assert buckets.overdraw("a", 7) == 0, "level 1 - 7 = -6"
    assert buckets.take("a", 1) == 3.5
    assert buckets.overdraw("a", 7) == 3.0, "one request overdraws, not all that are under way"
    now[0] = 3.0
    assert buckets.overdraw("a", 7) == 0
    assert buckets.overdraw("a", 1) == 3.5
    assert buckets.take("b", 3) == buckets.overdraw("b", 2) == 0, "another client has a bucket of its own"


def test_over_any_time_clips_come_through_no_faster_than_photos():
    now = [0.0]
    buckets = Buckets(rate_per_s=5.0, burst=4.0, clock=lambda: now[0])
    photos = 0
    for step in range(4000):
        now[0] = step * 0.01
        if not buckets.take("a", 1):
            photos += 8 if not buckets.overdraw("a", 7) else 1
    assert photos == pytest.approx(4 + 5 * now[0], abs=8)


def test_as_many_clients_as_come_are_remembered_within_bounds():
    buckets = Buckets(rate_per_s=1.0, burst=1.0, clock=lambda: 0.0)
    for i in range(30_000):
        assert buckets.take(str(i), 1) == 0
    assert len(buckets._buckets) == 10_000
    assert buckets.take("29999", 1) == 1


def test_too_often_is_429_with_a_time_to_come_back(made):
    with served(made, rate_per_s=0.01, rate_burst=1.0):
        until(lambda: made.health.ready)
        assert ask(made, "/v1/predict", photo(1))[0] == 200
        status, answer, headers = ask(made, "/v1/search", photo(1))
        assert (status, answer["type"]) == (429, "urn:groknet:problem:too-often")
        assert int(headers["retry-after"]) == 100
        assert ask(made, "/healthz")[0] == ask(made, "/metrics")[0] == ask(made, "/openapi.json")[0] == 200


def test_a_read_costs_a_tenth(made):
    with served(made, rate_per_s=0.001, rate_burst=1.0):
        until(lambda: made.health.ready)
        statuses = [ask(made, "/v1/recent")[0] for _ in range(11)]
        assert statuses == [200] * 10 + [429]


def test_with_tokens_nothing_of_v1_is_told_to_strangers(made):
    with served(made, tokens=["another-one-of-them", TOKEN]):
        until(lambda: made.health.ready)
        for path, body in (("/v1/search", photo(1)), ("/v1/recent", None), ("/v1/listings/one", None)):
            for given in ({}, {"authorization": "Bearer wrong"}, {"authorization": f"Basic {TOKEN}"}):
                status, answer, headers = ask(made, path, body, **given)
                assert (status, answer["type"]) == (401, "urn:groknet:problem:unauthorised")
                assert headers["www-authenticate"].startswith("Bearer")
            assert ask(made, path, body, authorization=f"bearer {TOKEN}")[0] == 200
        assert ask(made, "/")[0] == ask(made, "/readyz")[0] == ask(made, "/openapi.json")[0] == 200


def test_the_command_line_sends_the_token_of_its_home(made, tmp_path):
    home = Home(tmp_path).make()
    home.config_file.write_text(f'[search]\ntokens = ["{TOKEN}"]\n')
    with served(made, tokens=[TOKEN]):
        until(lambda: made.health.ready)
        write_running(home, "search", Running(pid=1, host=made.server.host, port=made.server.port))
        assert [n["listing_id"] for n in ask_service(home, photo(1), "image/jpeg", k=1)["neighbours"]] == ["one"]
        home.config_file.write_text("")
        with pytest.raises(CommandError, match="401"):
            ask_service(home, photo(1), "image/jpeg", k=1)


def test_each_token_has_a_rate_of_its_own(made):
    with served(made, tokens=["another-one-of-them", TOKEN], rate_per_s=0.01, rate_burst=1.0):
        until(lambda: made.health.ready)
        for token in ("another-one-of-them", TOKEN):
            headers = {"authorization": f"Bearer {token}"}
            assert [ask(made, "/v1/predict", photo(1), **headers)[0] for _ in range(2)] == [200, 429]


def test_too_many_at_once_are_told_to_come_back(made):
    class Slow:
        """The store, behind a gate."""

        def __init__(self, inner: Any) -> None:
            self.inner = inner
            self.asked = 0
            self.open = False

        def get(self, *arguments: Any) -> Any:
            self.asked += 1
            until(lambda: self.open)
            return self.inner.get(*arguments)

    store, made.store = made.store, Slow(made.store)
    try:
        with served(made, max_requests=2), ThreadPoolExecutor(2) as clients:
            until(lambda: made.health.ready)
            waiting = [clients.submit(ask, made, "/v1/listings/one") for _ in range(2)]
            until(lambda: made.store.asked == 2)
            status, answer, headers = ask(made, "/v1/recent")
            assert (status, answer["type"], headers["retry-after"]) == (503, "urn:groknet:problem:busy", "1")
            assert ask(made, "/healthz")[0] == 200
            made.store.open = True
            assert [future.result()[0] for future in waiting] == [200, 200]
            assert ask(made, "/v1/recent")[0] == 200
    finally:
        made.store = store


def test_a_store_that_hangs_is_not_waited_for(made):
    class Hanging:
        def __init__(self, inner: Any) -> None:
            self.inner = inner
            self.over = False

        def get(self, *arguments: Any) -> Any:
            until(lambda: self.over)
            return self.inner.get(*arguments)

    store, made.store = made.store, Hanging(made.store)
    try:
        with served(made, answer_timeout_s=0.2):
            until(lambda: made.health.ready)
            status, answer, headers = ask(made, "/v1/listings/one")
            made.store.over = True
            assert (status, answer["type"], headers["retry-after"]) == (503, "urn:groknet:problem:too-slow", "2")
    finally:
        made.store = store


def test_a_short_token_is_refused_when_the_settings_are_read():
    with pytest.raises(msgspec.ValidationError, match="tokens"):
        msgspec.convert({"tokens": ["short"]}, SearchSettings)
