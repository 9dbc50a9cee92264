"""Fuzzes what a client may put into a request of the search service: each gets an answer below 500, and as JSON.

The service is the real one on a port of its own, with an index of one listing. 503 is allowed, as it has a reason.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from urllib.parse import quote

import msgspec
import urllib3
from hypothesis import strategies as st

from tests.fuzz.running import fuzz, seconds
from tests.workers.search.rig import Rig, photo, rig

PATHS = {
    "/v1/search": "POST",
    "/v1/predict": "POST",
    "/v1/listings/one": "GET",
    "/v1/listings/one/similar": "GET",
    "/v1/listings/one/duplicates": "GET",
    "/v1/listings/one/price": "GET",
    "/v1/listings/one/goes-with": "GET",
    "/v1/listings/one/scenes": "GET",
    "/v1/listings:batch": "POST",
    "/v1/thumbnail": "GET",
    "/v1/photo": "GET",
    "/v1/recent": "GET",
    "/page/": "GET",
    "/openapi.json": "GET",
}
"""Path → the method that it takes."""
METHODS = ("GET", "POST", "HEAD", "PUT", "OPTIONS")
NAMES = (
    *("k", "n", "box", "lang", "category", "state", "vote", "rerank", "fine", "radius", "image_id", "listing_id"),
    *("price", "currency"),
)
TYPES = ("image/jpeg", "application/json", "multipart/form-data; boundary=b", "multipart/form-data", "text/html", "")
_HTTP = urllib3.PoolManager(retries=False, timeout=60)


@dataclass(frozen=True)
class Request:
    """One request; everything in it may be nonsense."""

    method: str
    path: str
    query: tuple[tuple[str, str], ...]
    headers: tuple[tuple[str, str], ...]
    body: bytes

    @property
    def target(self) -> str:
        return self.path + "?" + "&".join(f"{quote(name)}={quote(value)}" for name, value in self.query)


_text = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
_values = st.one_of(
    st.integers(-(10**30), 10**30).map(str),
    st.floats().map(str),
    st.lists(st.floats(-1, 2), min_size=3, max_size=5).map(lambda edges: ",".join(map(str, edges))),
    st.sampled_from(["one", "p", "true", "en", "zh-Hant", "0,0,1,1", "", "a" * 300, "²", "٣"]),
    _text,
)
_json = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | _text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*NAMES, "listing_ids"]), inner),
    max_leaves=8,
).map(msgspec.json.encode)
_form = st.binary(max_size=200).map(
    lambda data: b'--b\r\nContent-Disposition: form-data; name="photo"; filename="x"\r\n\r\n' + data + b"\r\n--b--\r\n"
)
_header_text = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=60).map(str.strip)
_routes = st.one_of(
    *[st.sampled_from(sorted(PATHS)).map(lambda path: (PATHS[path], path))] * 8,  # most of the time the fitting method
    _text.map(lambda text: ("GET", "/v1/listings/" + quote(text))),
    st.tuples(st.sampled_from(METHODS), st.sampled_from(sorted(PATHS))),
)
REQUESTS = st.builds(
    lambda route, **parts: Request(*route, **parts),
    route=_routes,
    query=st.lists(st.tuples(st.sampled_from(NAMES), _values), max_size=4).map(tuple),
    headers=st.lists(
        st.tuples(st.just("content-type"), st.sampled_from(TYPES))
        | st.tuples(st.sampled_from(["if-none-match", "authorization", "range", "accept", "cookie"]), _header_text),
        max_size=3,
    ).map(tuple),
    body=st.one_of(st.just(b""), st.binary(max_size=300), _json, _form, st.just(photo(1))),
)


@contextmanager
def service() -> Iterator[Rig]:
    """The search service with one listing."""
    with tempfile.TemporaryDirectory() as home, rig(Path(home)) as made:
        made.add("one", {"p": photo(1)})
        made.indexed(1)
        yield made


def check(url: str, request: Request) -> str:
    """Send one. Raises AssertionError for an answer that is a fault of ours."""
    body = request.body if request.method in ("POST", "PUT") else None
    answer = _HTTP.request(request.method, url + request.target, body=body, headers=dict(request.headers))
    assert answer.status < 500 or answer.status == 503, (answer.status, answer.data[:200])
    if answer.status >= 400 and request.method != "HEAD":
        problem = msgspec.json.decode(answer.data)
        assert problem["status"] == answer.status
        assert len(problem["detail"]) < 1_000
    return str(answer.status)


if __name__ == "__main__":
    with service() as made:
        ends = fuzz(REQUESTS, partial(check, made.server.url), seconds())
        assert made.search(photo(1))[0] == 200
        print(f"{ends.total()} requests: {', '.join(f'{count} x {end}' for end, count in ends.most_common())}")
