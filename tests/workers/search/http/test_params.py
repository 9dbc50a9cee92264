"""Parameters of the query: what is taken, and one problem for each that is not."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import urlencode

import pytest
from starlette.requests import Request

from engines.pixels import Box
from workers.http.problems import Problem
from workers.search.http import params


def request(**query: str | list[str]) -> Request:
    return Request({"type": "http", "query_string": urlencode(query, doseq=True).encode(), "headers": []})


def test_what_is_not_given_is_the_default() -> None:
    empty = request()
    assert params.number(empty, "k", 10, 50) == 10
    assert params.number(empty, "k", 100, 50) == 50, "a default never exceeds the limit"
    assert params.flag(empty, "fine", True) is True
    assert params.language(empty, "de") == "de"
    assert params.box(empty) is None
    assert params.optional_identifier(empty, "image_id") is None
    assert params.currency(empty) is None
    assert params.filters(empty) == params.Filters(frozenset(), frozenset())


def test_what_is_given_is_read() -> None:
    assert params.number(request(k="007"), "k", 10, 50) == 7
    assert [params.flag(request(fine=text), "fine", False) for text in ("true", "TRUE", "1", "0")] == [True] * 3 + [
        False
    ]
    assert params.language(request(lang="zh-Hant"), "en") == "zh-Hant"
    assert params.box(request(box="0.1,0.2,0.9,0.8")) == Box(0.1, 0.2, 0.9, 0.8)
    assert params.optional_identifier(request(image_id="a/b:c"), "image_id") == "a/b:c"
    assert params.currency(request(currency="JPY")) == "JPY"
    both = params.filters(request(category=["mugs", "cups"], state="new"))
    assert both == params.Filters(frozenset({"mugs", "cups"}), frozenset({"new"}))


@pytest.mark.parametrize(
    ("header", "language"),
    [
        ("", "en"),
        ("de", "de"),
        ("de-AT,de;q=0.9,en;q=0.5", "de-AT"),
        ("fr, de;q=0.5, en;q=0.8", "en"),  # the model has no French
        ("sv;q=0.7, de;q=0.7", "sv"),  # equal weights: the first
        ("de;q=0, sv", "sv"),  # never German
        ("fr, *;q=0.5", "en"),
        ("de;q=high, sv;q=0.1", "sv"),
        ("d\u00e9,;;,q=1,de_AT,nan;q=nan", "en"),
    ],
)
def test_a_reader_gets_the_language_that_the_header_prefers(header: str, language: str) -> None:
    asked = Request({"type": "http", "query_string": b"", "headers": [(b"accept-language", header.encode("latin-1"))]})
    assert params.language(asked, "en", {"en", "de", "sv"}) == language
    told = Request({**asked.scope, "query_string": b"lang=fr"})
    assert params.language(told, "en", {"en", "de", "sv"}) == "fr", "what the address says counts first"


@pytest.mark.parametrize("text", ["0", "51", "-1", "1.5", "", "1e1", "٣", "0000001", "9" * 5000])
def test_a_number_outside_its_limits_is_refused(text: str) -> None:
    with pytest.raises(Problem, match=r"k: .* is not a whole number from 1 to 50") as caught:
        params.number(request(k=text), "k", 10, 50)
    assert (caught.value.status, caught.value.code) == (422, "bad-parameter")
    assert len(caught.value.detail) < 100, "what a caller sends is not sent back at length"


@pytest.mark.parametrize(
    ("call", "query", "field"),
    [
        (lambda r: params.flag(r, "fine", True), {"fine": "yes"}, "fine"),
        (lambda r: params.language(r, "en"), {"lang": "en_GB"}, "lang"),
        (params.currency, {"currency": "eur"}, "currency"),
        (lambda r: params.optional_identifier(r, "image_id"), {"image_id": "a b"}, "image_id"),
        (lambda r: params.optional_identifier(r, "image_id"), {"image_id": "x" * 129}, "image_id"),
        (lambda r: params.optional_identifier(r, "image_id"), {"image_id": "a\n"}, "image_id"),
        (params.box, {"box": "0.1,0.2,0.9"}, "box"),
        (params.box, {"box": "0.1,0.2,0.9,0.8,1"}, "box"),
        (params.box, {"box": "a,b,c,d"}, "box"),
        (params.box, {"box": "0.9,0.2,0.1,0.8"}, "box"),
        (params.box, {"box": "nan,0,1,1"}, "box"),
        (params.filters, {"category": ["x"] * 17}, "category"),
        (params.filters, {"state": ""}, "state"),
        (params.filters, {"state": "x" * 257}, "state"),
    ],
)
def test_each_problem_names_its_field(call: Callable[[Request], object], query: dict[str, str], field: str) -> None:
    with pytest.raises(Problem, match=f"^{field}") as caught:
        call(request(**query))
    assert caught.value.status == 422
