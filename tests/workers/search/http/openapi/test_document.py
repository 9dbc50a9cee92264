"""The description against the service: every route described, every answer as described, every example valid."""

from __future__ import annotations

import json
from typing import Any

import jsonschema
import pytest
from starlette.routing import Route

from tests.workers.indexer.running import Running
from tests.workers.search.rig import HTTP, Rig, photo, served
from workers.http.serving import Health
from workers.search import SearchSettings, build_search
from workers.search.http.openapi.document import describe

DOCUMENT = describe(SearchSettings())


def _schema(node: dict[str, Any]) -> dict[str, Any]:
    return {**node, "components": DOCUMENT["components"]}


def _check(method: str, path: str, status: int, headers: Any, body: bytes) -> None:
    responses = DOCUMENT["paths"][path][method]["responses"]
    assert str(status) in responses, f"{method} {path}: {status} is not described"
    content = responses[str(status)]["content"]
    media_type = headers["content-type"].partition(";")[0]
    assert media_type in content
    if media_type.endswith("json"):
        jsonschema.validate(json.loads(body), _schema(content[media_type]["schema"]))
    if status in (429, 503) and path.startswith("/v1/"):
        assert int(headers["retry-after"]) >= 1


def test_every_route_is_described_and_nothing_else(shop):
    app = build_search(SearchSettings(), store=shop.store, engine=shop.engine, health=Health())
    served = {
        (route.path.replace(":path}", "}"), method.lower())
        for route in app.routes
        if isinstance(route, Route)
        for method in (route.methods or set()) - {"HEAD"}
    }
    assert served == {(path, method) for path, item in DOCUMENT["paths"].items() for method in item}


def test_the_served_document_is_this_one(shop):
    assert shop.get("/openapi.json")[1] == json.loads(json.dumps(DOCUMENT))


@pytest.mark.parametrize(
    ("route", "url", "body", "status"),
    [
        (("post", "/v1/search"), "/v1/search?k=3", photo(1), 200),
        (("post", "/v1/search"), "/v1/search?k=3", b"no photo", 415),
        (("post", "/v1/search"), "/v1/search?k=0", photo(1), 422),
        (("post", "/v1/search"), "/v1/search", b"\0" * 10_000_001, 413),
        (("post", "/v1/search"), "/v1/search?box=0.1,0.2,0.9,1&rerank=true", photo(1), 200),
        (("post", "/v1/search"), "/v1/search?box=0", photo(1), 422),
        (("post", "/v1/search"), "/v1/search?category=things&state=active", b'{"listing_id": "shop/2"}', 200),
        (("post", "/v1/search"), "/v1/search", b'{"listing_id": "none"}', 404),
        (("post", "/v1/search"), "/v1/search", b"{", 400),
        (("post", "/v1/search"), "/v1/search", b'{"q": "red thing"}', 200),
        (("post", "/v1/search"), "/v1/search?q=red&titles=false", photo(1), 200),
        (("post", "/v1/search"), "/v1/search?q=red&q=blue", photo(1), 422),
        (("post", "/v1/predict"), "/v1/predict", photo(1), 200),
        (("post", "/v1/predict"), "/v1/predict?duplicates=false", photo(1), 200),
        (("post", "/v1/predict"), "/v1/predict?box=0,0,0.5,0.5", photo(1), 200),
        (("post", "/v1/predict"), "/v1/predict", b"no photo", 415),
        (("get", "/v1/listings/{listing_id}/similar"), "/v1/listings/shop/2/similar?k=3", None, 200),
        (("get", "/v1/listings/{listing_id}/similar"), "/v1/listings/none/similar", None, 404),
        (("get", "/v1/listings/{listing_id}/similar"), "/v1/listings/shop/2/similar?k=0", None, 422),
        (("get", "/v1/listings/{listing_id}/duplicates"), "/v1/listings/shop/2/duplicates?radius=64", None, 200),
        (("get", "/v1/listings/{listing_id}/duplicates"), "/v1/listings/shop/2/duplicates?radius=999", None, 422),
        (("get", "/v1/listings/{listing_id}/price"), "/v1/listings/shop/2/price", None, 200),
        (("get", "/v1/listings/{listing_id}/price"), "/v1/listings/none/price", None, 404),
        (("get", "/v1/listings/{listing_id}/price"), "/v1/listings/shop/2/price?currency=euro", None, 422),
        (("get", "/v1/listings/{listing_id}/goes-with"), "/v1/listings/shop/2/goes-with", None, 200),
        (("get", "/v1/listings/{listing_id}/goes-with"), "/v1/listings/shop/2/goes-with?k=0", None, 422),
        (("get", "/v1/listings/{listing_id}/scenes"), "/v1/listings/shop/2/scenes", None, 200),
        (("get", "/v1/listings/{listing_id}/scenes"), "/v1/listings/shop/2/scenes?radius=99", None, 422),
        (("post", "/v1/listings:batch"), "/v1/listings:batch", b'{"listing_ids": ["shop/2", "none"]}', 200),
        (("post", "/v1/listings:batch"), "/v1/listings:batch", b'{"listing_ids": []}', 422),
        (("post", "/v1/listings:batch"), "/v1/listings:batch", b"{", 400),
        (("get", "/v1/listings/{listing_id}"), "/v1/listings/shop/2", None, 200),
        (("get", "/v1/listings/{listing_id}"), "/v1/listings/none", None, 404),
        (("get", "/v1/listings/{listing_id}"), "/v1/listings/a%20b", None, 422),
        (("get", "/v1/thumbnail"), "/v1/thumbnail?listing_id=shop/2&image_id=p/0", None, 200),
        (("get", "/v1/thumbnail"), "/v1/thumbnail?listing_id=shop/2&image_id=p/9", None, 404),
        (("get", "/v1/thumbnail"), "/v1/thumbnail", None, 422),
        (("get", "/v1/photo"), "/v1/photo?listing_id=shop/2&image_id=p/0", None, 200),
        (("get", "/v1/photo"), "/v1/photo?listing_id=shop/2&image_id=p/9", None, 404),
        (("get", "/v1/photo"), "/v1/photo?listing_id=shop/2", None, 422),
        (("get", "/v1/recent"), "/v1/recent", None, 200),
        (("get", "/v1/recent"), "/v1/recent?n=1000", None, 422),
        (("post", "/v1/feedback"), "/v1/feedback", b"{}", 403),
        (("get", "/"), "/", None, 200),
        (("get", "/page/{name}"), "/page/app.js", None, 200),
        (("get", "/page/{name}"), "/page/none.js", None, 404),
        (("get", "/openapi.json"), "/openapi.json", None, 200),
        (("get", "/healthz"), "/healthz", None, 200),
        (("get", "/readyz"), "/readyz", None, 200),
        (("get", "/metrics"), "/metrics", None, 200),
    ],
)
def test_answers_are_as_described(shop: Rig, route, url, body, status):
    method, path = route
    json_body = body is not None and body.startswith(b"{")
    headers = {"content-type": "application/json" if json_body else "image/jpeg"} if body else {}
    answer = HTTP.request(method.upper(), shop.server.url + url, body=body, headers=headers)
    assert answer.status == status
    _check(method, path, answer.status, answer.headers, answer.data)


def test_every_example_fits_its_schema():
    examples = 0
    for item in DOCUMENT["paths"].values():
        for operation in item.values():
            assert operation["summary"]
            for part in (*operation["responses"].values(), operation.get("requestBody", {})):
                for content in part.get("content", {}).values():
                    given = [one["value"] for one in content.get("examples", {}).values()]
                    for example in given + ([content["example"]] if "example" in content else []):
                        jsonschema.validate(example, _schema(content["schema"]))
                        examples += 1
    assert examples >= 20


def test_every_route_says_what_a_stranger_and_a_hasty_client_get(shop):
    paths = [(path, method) for path, item in DOCUMENT["paths"].items() for method in item if path.startswith("/v1/")]
    assert len(paths) == 14
    for limits, status in (({"tokens": ["only-for-those-who-know-it"]}, 401), ({"rate_per_s": 1e-6}, 429)):
        with served(shop, rate_burst=1.0, **limits):
            for _ in range(11):
                HTTP.request("GET", shop.server.url + "/v1/recent")
            for path, method in paths:
                url = shop.server.url + path.replace("{listing_id}", "shop/2")
                answer = HTTP.request(method.upper(), url)
                assert answer.status == status, path
                _check(method, path, status, answer.headers, answer.data)


def test_a_schema_that_does_not_fit_is_noticed(shop):
    """The check itself is tested: an answer that lacks a field must fail it."""
    answer = shop.get("/v1/listings/shop/2")[1]
    del answer["freshness"]
    with pytest.raises(jsonschema.ValidationError, match="freshness"):
        _check(
            "get", "/v1/listings/{listing_id}", 200, {"content-type": "application/json"}, json.dumps(answer).encode()
        )


def test_the_shapes_of_the_indexer_are_those_that_search_reads(shop):
    indexer: Running = shop.indexer
    assert set(indexer.get("/v1/listings/shop%2F2")[1]) == {
        "listing_id",
        "event_time",
        "images",
        "uploaded_at",
        "indexed_at",
    }
