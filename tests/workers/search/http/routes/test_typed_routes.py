"""Typed queries from outside: what is found, what is understood, what is refused, and removals."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import pytest
import urllib3

from schemas.predictions import StoredListing
from tests.workers.indexer.running import until
from tests.workers.search.rig import HTTP, Rig, photo, rig, served

FORM = "application/x-www-form-urlencoded"


def ask(shop: Rig, q: str, query: str = "", **more: Any) -> tuple[int, Any]:
    body = json.dumps({"q": q, **more}).encode()
    return shop.search(body, query, "application/json")


def held(shop: Rig) -> int:
    """The listings that typed queries can find."""
    text = HTTP.request("GET", shop.server.url + "/metrics").data.decode()
    return next(
        (int(float(line.split()[-1])) for line in text.splitlines() if 'typed_listings{room="held"}' in line), 0
    )


@pytest.fixture(scope="module")
def typed(shop: Rig) -> Rig:
    until(lambda: held(shop) == 30)
    return shop


def probability(listing: StoredListing, head: str, label: str) -> float:
    return next((p.probability for p in listing.summary.predictions[head] if p.label == label), 0.0)


def test_listings_are_ordered_by_what_their_photos_show(typed: Rig) -> None:
    stored = [one for one in typed.store.scan() if isinstance(one, StoredListing)]
    for label in ("red", "green", "blue"):
        expected = sorted((-p, one.listing_id) for one in stored if (p := probability(one, "colour", label)) >= 0.02)
        status, answer = ask(typed, f"  {label.upper()}! ", "?k=50&titles=false")
        assert status == 200
        assert [(-one["relevance"], one["listing_id"]) for one in answer["listings"]] == expected
        assert answer["query"]["phrases"][0]["labels"] == [{"head": "colour", "label": label, "name": label}]
        assert answer["complete"]
    assert len(ask(typed, "red", "?k=1")[1]["listings"]) <= 1


def test_a_query_may_be_json_a_form_or_in_the_address(typed: Rig) -> None:
    expected = ask(typed, "red thing 3")[1]["listings"]
    multipart, kind = urllib3.encode_multipart_formdata({"q": "red thing 3"})
    ways = [
        typed.search(urlencode({"q": "red thing 3"}).encode(), content_type=FORM),
        typed.search(b"", "?q=red+thing+3", ""),
        typed.search(multipart, content_type=kind),
    ]
    assert expected
    for status, answer in ways:
        assert (status, answer["listings"]) == (200, expected)


def test_what_was_understood_is_told(typed: Rig) -> None:
    query = ask(typed, "grreen thing of xyzzy")[1]["query"]
    told = [(one["text"], one["understood"], one["corrected"]) for one in query["phrases"]]
    assert told == [
        ("grreen", "label", "green"),
        ("thing", "title", None),
        ("xyzzy", "no", None),
    ]
    assert query["titles"]
    assert [one["understood"] for one in ask(typed, "thing", "?titles=false")[1]["query"]["phrases"]] == ["no"]
    assert ask(typed, "xyzzy")[1]["listings"] == []


def test_words_of_titles_find_listings_by_name(typed: Rig) -> None:
    answer = ask(typed, "thing 17")[1]
    assert answer["listings"][0]["listing_id"] == "shop/17"
    assert answer["listings"][0]["title"] == "Thing 17"


def test_filters_keep_what_passes(typed: Rig) -> None:
    assert ask(typed, "red", "?category=things")[1]["listings"]
    assert ask(typed, "red", "?category=others")[1]["listings"] == []


def test_words_beside_a_photo_reorder_its_neighbours(typed: Rig) -> None:
    plain = typed.search(photo(5), "?k=100&fine=false")[1]
    multipart, kind = urllib3.encode_multipart_formdata({"photo": ("p.jpg", photo(5), "image/jpeg"), "q": "blue"})
    for status, both in (
        typed.search(photo(5), "?k=100&fine=false&q=blue"),
        typed.search(multipart, "?k=100&fine=false", kind),
    ):
        assert status == 200
        assert both["query"]["phrases"][0]["text"] == "blue"
        assert {one["listing_id"] for one in both["neighbours"]} == {one["listing_id"] for one in plain["neighbours"]}
        stored = typed.store.get([one["listing_id"] for one in both["neighbours"]])
        for one in both["neighbours"]:
            listing = stored[one["listing_id"]]
            assert isinstance(listing, StoredListing)
            p = probability(listing, "colour", "blue")
            assert one["relevance"] == pytest.approx(max(p if p >= 0.02 else 0, 0.01), abs=1e-4)
        scores = [one["relevance"] * one["likeness"] for one in both["neighbours"]]
        assert scores == sorted(scores, reverse=True)
    assert {one["relevance"] for one in plain["neighbours"]} == {None}
    assert plain["query"] is None
    by_listing = ask(typed, "blue", "?k=5", listing_id="shop/3")[1]
    assert by_listing["listing_id"] == "shop/3"
    assert all(one["relevance"] is not None for one in by_listing["neighbours"])


@pytest.mark.parametrize(
    ("text", "field"),
    [("", "q"), ("   ", "q"), ("x" * 201, "q"), ("🍵" * 201, "q")],
    ids=["empty", "blank", "long", "long emoji"],
)
def test_a_query_that_cannot_be_read_is_refused_by_name(typed: Rig, text: str, field: str) -> None:
    for status, answer in (ask(typed, text), typed.search(b"", "?q=" + quote(text), "")):
        assert (status, answer["detail"].partition(":")[0]) == (422, field)


def test_a_query_is_given_once(typed: Rig) -> None:
    assert ask(typed, "red", "?q=blue")[0] == 422
    assert typed.search(b"q=red&q=blue", content_type=FORM)[0] == 422
    assert typed.search(b"", "?q=red&q=blue", "")[0] == 422
    multipart, kind = urllib3.encode_multipart_formdata([("q", "red"), ("q", "blue")])
    assert typed.search(multipart, content_type=kind)[0] == 422
    multipart, kind = urllib3.encode_multipart_formdata({"photo": ("p.jpg", photo(5)), "q": ("q.txt", "blue")})
    status, answer = typed.search(multipart, content_type=kind)
    assert (status, answer["detail"].partition(":")[0]) == (422, "q")
    multipart, kind = urllib3.encode_multipart_formdata({"q": ("q.txt", "blue")})
    status, answer = typed.search(multipart, content_type=kind)
    assert (status, answer["detail"]) == (422, "q: it came as a file; send the words as a field without a file name")
    assert typed.search(b"", "?q=red&box=0,0,1,1", "")[0] == 422
    assert typed.search(b"q=" + b"x" * 10_000, content_type=FORM)[0] == 413
    assert typed.search(b"q=%ff", content_type=FORM)[0] == 400
    assert typed.search(b"q=\xff", content_type=FORM)[0] == 400
    assert typed.search("q=ü".encode(), content_type=FORM)[0] == 200, "a shell sends it so"
    status, answer = typed.search(b"{}", content_type="application/json")
    assert (status, answer["detail"].partition(":")[0]) == (422, "listing_id")


@pytest.mark.parametrize(
    "text",
    [
        "\u202egnirts\u202c red",
        "red\x00\x1b[31m",
        "🍵🍵🍵 👩‍👩‍👧",
        "(((((.*)+)+)+)+)$ [red] \\d{1,9999}",
        "' OR 1=1; DROP TABLE listings; --",
        "<script>alert(1)</script>",
        "a" * 200,
        "a " * 100,
        "\u0301" * 200,
        "红" * 200,
        "%00%ff",
        "\ud7ff\ufffd",
    ],
)
def test_hostile_text_is_only_text(typed: Rig, text: str) -> None:
    status, answer = ask(typed, text)
    assert status == 200
    for sign in ("\u202e", "\x00", "\x1b"):
        assert sign not in answer["query"]["text"]


@pytest.mark.parametrize("body", [b'{"q": "\\ud800"}', b'{"q": "red \xff"}', b'{"q": 7}', b'{"q": ["red"]}'])
def test_text_that_is_none_is_refused(typed: Rig, body: bytes) -> None:
    assert typed.search(body, content_type="application/json")[0] in (400, 422)


def test_keep_and_metrics_take_typed_queries(tmp_path: Path) -> None:
    with rig(tmp_path, keep="hashes") as made:
        made.add("a", {"1": photo(1)}, title="One")
        made.indexed(1)
        until(lambda: ask(made, "one")[1]["listings"])
        assert ask(made, "one", "?keep=true")[0] == 200  # there is no photo to keep
        assert HTTP.request("GET", made.server.url + "/v1/search?q=one").status == 405
        text = HTTP.request("GET", made.server.url + "/metrics").data.decode()
        assert 'groknet_typed_listings{room="held"} 1.0' in text
        assert 'groknet_typed_phrases_total{understood="title"}' in text


def test_changes_and_removals_are_followed(tmp_path: Path) -> None:
    with rig(tmp_path) as made:
        made.add("a", {"1": photo(1)}, title="Nike shoe")
        made.add("b", {"1": photo(2)}, title="Old vase")
        found = lambda text: [one["listing_id"] for one in ask(made, text, "?k=9")[1]["listings"]]  # noqa: E731
        until(lambda: found("nike") == ["a"] and found("vase") == ["b"])
        made.add("a", {"1": photo(1)}, time_=2, title="Adidas shoe")
        until(lambda: found("adidas") == ["a"])
        assert found("nike") == []
        made.remove("b", 3, publish=False)  # the index does not know it yet, and the store has the last word
        assert found("vase") == []
        made.remove("a", 3)
        until(lambda: "title" not in {p["understood"] for p in ask(made, "adidas")[1]["query"]["phrases"]})
        assert found("adidas") == []
        made.add("c", {"1": photo(3)}, time_=4, title="A late shoe")
        until(lambda: found("shoe") == ["c"])
        with served(made, max_typed_listings=0):
            until(lambda: made.health.ready)
            status, answer = ask(made, "shoe")
            assert (status, answer["type"].rpartition(":")[2]) == (403, "typed-off")
        with served(made, max_typed_listings=1):
            until(lambda: ask(made, "shoe")[1].get("complete"))
            made.add("d", {"1": photo(4)}, time_=5, title="One shoe too many")
            until(lambda: not ask(made, "shoe")[1]["complete"])
            assert found("shoe") == ["c"]


def test_synonyms_and_hidden_heads(tmp_path: Path) -> None:
    with rig(tmp_path, synonyms={"colour/red": ["scarlet", "红色"]}, hidden_heads=("words",)) as made:
        made.add("a", {"1": photo(1)})
        until(lambda: ask(made, "red")[1].get("complete"))
        for text in ("Scarlet", "红色"):
            assert ask(made, text)[1]["query"]["phrases"][0]["labels"][0]["label"] == "red"
        assert ask(made, "cosy")[1]["query"]["phrases"][0]["understood"] == "no"
