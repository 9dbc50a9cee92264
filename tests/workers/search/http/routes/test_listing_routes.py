"""Search by listing, similar, duplicates, batch: against brute force over the hashes that the rig knows."""

from __future__ import annotations

import io
import json
import unicodedata
from typing import Any

import msgspec
import numpy as np
import pytest
from msgspec import structs
from PIL import Image

from engines.pixels import thumbnail
from tests.workers.indexer.running import until
from tests.workers.search.rig import HTTP, Rig, photo, rig, served


def post(shop: Rig, path: str, body: Any, content_type: str = "application/json") -> tuple[int, Any]:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    answer = HTTP.request("POST", shop.server.url + path, body=data, headers={"content-type": content_type})
    return answer.status, json.loads(answer.data)


def nearest(shop: Rig, listing_id: str, image_ids: list[str]) -> list[tuple[int, str, str]]:
    """Other listings by their photo that is nearest to any of these photos."""
    mine = [int(shop.hashes[listing_id, image_id], 16) for image_id in image_ids]
    best: dict[str, tuple[int, str, str]] = {}
    for (listing, image), code in shop.hashes.items():
        if listing != listing_id:
            found = (min((int(code, 16) ^ one).bit_count() for one in mine), listing, image)
            best[listing] = min(best.get(listing, found), found)
    return sorted(best.values())


def triples(found: list[dict[str, Any]]) -> list[tuple[int, str, str]]:
    return [(n["distance"], n["listing_id"], n["image_id"]) for n in found]


@pytest.mark.parametrize("k", [1, 7, 100])
def test_similar_listings_are_the_nearest_to_any_photo(shop, k):
    status, answer = shop.get(f"/v1/listings/shop/8/similar?k={k}")
    assert (status, answer["image_ids"]) == (200, ["p/0", "p/1", "p/2"])
    assert triples(answer["neighbours"]) == nearest(shop, "shop/8", answer["image_ids"])[:k]
    assert answer["epoch"] == shop.engine.manifest.epoch
    one = shop.get(f"/v1/listings/shop%2F8/similar?k={k}&image_id=p/1")[1]
    assert triples(one["neighbours"]) == nearest(shop, "shop/8", ["p/1"])[:k]


def test_search_by_listing_gives_the_same_and_what_is_stored(shop):
    status, answer = post(shop, "/v1/search?k=9", {"listing_id": "shop/8"})
    assert status == 200
    assert triples(answer["neighbours"]) == nearest(shop, "shop/8", ["p/0", "p/1", "p/2"])[:9]
    assert (answer["listing_id"], answer["hash"]) == ("shop/8", shop.hashes["shop/8", "p/0"])
    assert answer["predictions"] == shop.get("/v1/listings/shop/8")[1]["predictions"]
    one = post(shop, "/v1/search", {"listing_id": "shop/8", "image_id": "p/2"})[1]
    assert (one["image_ids"], one["hash"]) == (["p/2"], shop.hashes["shop/8", "p/2"])


@pytest.mark.parametrize("radius", [0, 12, 40, 64])
def test_duplicates_are_all_within_the_radius_and_no_other(shop, radius):
    for listing in ("shop/8", "shop/3"):
        status, answer = shop.get(f"/v1/listings/{listing}/duplicates?radius={radius}")
        assert (status, answer["complete"], answer["radius"]) == (200, True, radius)
        everything = nearest(shop, listing, answer["image_ids"])
        assert triples(answer["duplicates"]) == [one for one in everything if one[0] <= radius]
        if len(answer["duplicates"]) > 1:
            fewer = shop.get(f"/v1/listings/{listing}/duplicates?radius={radius}&k=1")[1]
            assert (fewer["complete"], fewer["duplicates"]) == (False, answer["duplicates"][:1])


def test_a_copy_under_another_name_is_a_duplicate(tmp_path):
    with rig(tmp_path) as made:
        shots = {f"p{j}": photo(j, format_="PNG") for j in range(4)}
        made.add("first", shots)
        made.add("second", {"q": shots["p2"]}, title="Copied", category="things")
        made.add("other", {"p": photo(99)})
        made.indexed(6)
        answer = made.get("/v1/listings/first/duplicates?radius=0")[1]
        found = answer["duplicates"][0]
        assert (found["listing_id"], found["image_id"], found["distance"]) == ("second", "q", 0)
        assert (found["title"], found["category"]) == ("Copied", "things")
        made.remove("second", 5, publish=False)
        gone = made.get("/v1/listings/first/duplicates?radius=0")[1]["duplicates"]
        assert "second" not in {one["listing_id"] for one in gone}


def test_what_cannot_be_compared_says_why(tmp_path):
    with rig(tmp_path) as made:
        made.add("one", {"p": photo(1)})
        made.add("two", {"p": photo(2)})
        made.indexed(2)
        for path in ("similar", "duplicates"):
            assert made.get(f"/v1/listings/none/{path}")[1]["type"].endswith(":no-such-listing")
            assert made.get(f"/v1/listings/one/{path}?image_id=q")[1]["type"].endswith(":no-such-photo")
            assert made.get(f"/v1/listings/one/{path}?k=0")[0] == 422
        assert made.get("/v1/listings/one/duplicates?radius=65")[0] == 422
        assert made.get("/v1/listings/one/similar?rerank=perhaps")[1]["detail"].startswith("rerank")
        made.remove("two", 5)
        assert made.get("/v1/listings/two/similar")[0] == 410
        stored = made.store.get(["one"])["one"]
        later = msgspec.structs.replace(stored.event, event_time=stored.event_time + 9)
        other = msgspec.structs.replace(
            stored, model_version="next", epoch="ffffffffffff", event=later, event_time=later.event_time
        )
        made.store.write(other, {})
        status, answer = made.get("/v1/listings/one/similar")
        assert (status, answer["type"]) == (409, "urn:groknet:problem:other-epoch")


def test_a_body_that_is_none_is_refused_with_field_and_remedy(shop):
    for body, content_type, status, word in [
        (b"{", "application/json", 400, "JSON"),
        (b'"shop/8"', "application/json", 422, "object"),
        ({"listing": "shop/8"}, "application/json", 422, "listing"),
        ({"listing_id": "a b"}, "application/json", 422, "listing_id"),
        ({"listing_id": "shop/8", "image_id": ""}, "application/json", 422, "image_id"),
        (b" " * 5000, "application/json", 413, "bytes"),
    ]:
        got, answer = post(shop, "/v1/search", body, content_type)
        assert got == status, answer
        assert word in answer["detail"]
    for query, field in (("box=0,0,1,1", "box"), ("detect=off&box=0,0,1,1", "box"), ("detect=off", "")):
        status, answer = post(shop, f"/v1/search?{query}", {"listing_id": "shop/8"})
        assert (status, answer.get("detail", "").partition(":")[0]) == (422 if field else 200, field)
    status, answer = post(shop, "/v1/search", {"listing_id": "shop/8", "box": [0, 0, 1, 1]})
    assert (status, "`box`" in answer["detail"], "/openapi.json" in answer["detail"]) == (422, True, True)
    for body, content_type, status in [
        ({"listing_ids": []}, "application/json", 422),
        ({"listing_ids": [f"l{i}" for i in range(201)]}, "application/json", 422),
        ({"listing_ids": ["a b"]}, "application/json", 422),
        (b"{}", "text/plain", 415),
        (b" " * 40_000, "application/json", 413),
    ]:
        assert post(shop, "/v1/listings:batch", body, content_type)[0] == status


def test_a_batch_reads_each_once_in_the_order_asked(tmp_path):
    with rig(tmp_path) as made:
        for i in range(6):
            made.add(f"l{i}", {"p": photo(i)}, title=f"Thing {i}")
        made.remove("l4", 5)
        made.indexed(5)
        status, answer = post(made, "/v1/listings:batch", {"listing_ids": ["l5", "none", "l4", "l0", "l5"]})
        assert status == 200
        assert [one["listing_id"] for one in answer["listings"]] == ["l5", "l0"]
        assert (answer["removed"], answer["missing"]) == (["l4"], ["none"])
        alone = made.get("/v1/listings/l5")[1]
        assert {**alone, "freshness": None} == {**answer["listings"][0], "freshness": None}
        assert answer["listings"][0]["freshness"]["stored_at"] == alone["freshness"]["stored_at"]
        assert answer["listings"][0]["freshness"]["searchable"] is None


def test_a_listing_whose_id_ends_like_a_route_is_read_by_batch(tmp_path):
    with rig(tmp_path) as made:
        made.add("one/similar", {"p": photo(1)})
        made.indexed(1)
        assert made.get("/v1/listings/one/similar")[0] == 404
        answer = post(made, "/v1/listings:batch", {"listing_ids": ["one/similar"]})[1]
        assert [one["listing_id"] for one in answer["listings"]] == ["one/similar"]


def test_filters_leave_only_what_was_asked_for(tmp_path):
    with rig(tmp_path) as made:
        for i in range(40):
            made.add(f"l{i}", {"p": photo(i)}, category=f"c{i % 4}", state="sold" if i % 5 == 0 else "active")
        made.indexed(40)

        def wanted(categories: set[str], states: set[str]) -> set[str]:
            return {
                f"l{i}"
                for i in range(40)
                if (not categories or f"c{i % 4}" in categories)
                and (not states or ("sold" if i % 5 == 0 else "active") in states)
            }

        for query, expected in [
            ("category=c1", wanted({"c1"}, set())),
            ("category=c1&category=c2", wanted({"c1", "c2"}, set())),
            ("state=sold", wanted(set(), {"sold"})),
            ("category=c3&state=active", wanted({"c3"}, {"active"})),
            ("category=none", set()),
        ]:
            answer = made.search(photo(7), f"?k=100&{query}")[1]
            ids = [n["listing_id"] for n in answer["neighbours"]]
            assert set(ids) == expected
            distances = [n["distance"] for n in answer["neighbours"]]
            assert distances == sorted(distances)
            assert made.search(photo(7), f"?k=2&{query}")[1]["neighbours"] == answer["neighbours"][:2]
            similar = made.get(f"/v1/listings/l7/similar?k=100&{query}")[1]["neighbours"]
            assert {n["listing_id"] for n in similar} == expected - {"l7"}
        assert made.search(photo(7), "?category=")[0] == 422
        made.add("l1", {"p": photo(1)}, time_=9, category="moved")
        until(lambda: made.get("/v1/listings/l1")[1]["freshness"]["searchable"])
        assert "l1" not in {n["listing_id"] for n in made.search(photo(7), "?k=100&category=c1")[1]["neighbours"]}


def test_an_id_that_ends_like_a_route_is_reached_with_its_slash_encoded(tmp_path):
    """Unencoded it is the route, as ever."""
    with rig(tmp_path) as made:
        for number, listing in enumerate(("a", "a/similar", "a/duplicates", "similar")):
            made.add(listing, {"p": photo(number)})
        made.indexed(4)
        for listing in ("a/similar", "a/duplicates"):
            written = listing.replace("/", "%2F")
            assert made.get(f"/v1/listings/{written}")[1]["listing_id"] == listing
            assert "predictions" in made.get(f"/v1/listings/{written}")[1]
            answer = made.get(f"/v1/listings/{written}/similar")[1]
            assert (answer["listing_id"], len(answer["neighbours"])) == (listing, 3)
            assert made.get(f"/v1/listings/{written}/duplicates")[1]["listing_id"] == listing
        assert made.get("/v1/listings/a/similar")[1]["listing_id"] == "a"
        assert "neighbours" in made.get("/v1/listings/a/similar")[1]
        assert made.get("/v1/listings/similar/similar")[1]["listing_id"] == "similar"


def test_a_thumbnail_that_an_older_version_stored_as_webp_is_served_as_webp(tmp_path):
    with rig(tmp_path) as made:
        made.add("one", {"p": photo(1)})
        made.indexed(1)
        stored = made.store.get(["one"])["one"]
        old = thumbnail(photo(1), 64)
        at = stored.event_time + 1
        newer = structs.replace(stored, event_time=at, event=structs.replace(stored.event, event_time=at))
        made.store.write(newer, {"p": old})
        shown = HTTP.request("GET", made.server.url + "/v1/thumbnail?listing_id=one&image_id=p")
        assert (shown.headers["content-type"], shown.data) == ("image/webp", old)


def test_a_listing_s_photo_is_shown_large_and_a_seller_s_address_to_nobody(tmp_path):
    """The store has small thumbnails only; the photo itself comes from where the event has it, upright and reduced."""
    url = "/v1/photo?listing_id=one&image_id="
    with rig(tmp_path) as made:
        file, exif = io.BytesIO(), Image.Exif()
        exif[0x0112], exif[0x010F] = 6, "SECRET CAMERA"  # stored lying on its side
        wide = Image.open(io.BytesIO(photo(3, 1600))).crop((0, 0, 1600, 1000))
        wide.save(file, "JPEG", quality=90, exif=exif)
        made.add("one", {"large": file.getvalue(), "small": photo(4, 100)})
        made.indexed(2)
        large, small = (HTTP.request("GET", made.server.url + url + name) for name in ("large", "small"))
        assert (large.status, large.headers["content-type"]) == (200, "image/webp")
        assert Image.open(io.BytesIO(large.data)).size == (800, 1280)
        assert Image.open(io.BytesIO(small.data)).size == (100, 100)
        upright = wide.transpose(Image.Transpose.ROTATE_270).resize((800, 1280))
        shown = Image.open(io.BytesIO(large.data)).convert("RGB")
        assert np.abs(np.asarray(upright, np.int16) - np.asarray(shown, np.int16)).mean() < 8
        assert b"SECRET" not in large.data
        assert made.get(url + "other")[0] == 404

        stored = made.store.get(["one"])["one"]
        where = tmp_path / "sellers" / "one.jpg"
        moved = [msgspec.structs.replace(ref, data=None, url=where.as_uri()) for ref in stored.event.images]
        event = msgspec.structs.replace(stored.event, images=moved, event_time=stored.event_time + 1)
        made.store.write(msgspec.structs.replace(stored, event=event, event_time=event.event_time), {})
        status, answer = made.get(url + "large")
        assert (status, answer["type"]) == (404, "urn:groknet:problem:photo-not-fetched")
        assert "thumbnail" in answer["detail"]
        assert "sellers" not in json.dumps(answer)
        with served(made, fetch_threads=0):
            status, answer = made.get(url + "large")
            assert (status, "search.fetch_threads" in answer["detail"]) == (404, True)
        made.remove("one", 9)
        assert made.get(url + "large")[0] == 410


STEERING = "\u202egpj\x1b[2J\u2066"


def test_no_text_of_a_seller_steers_in_any_answer(tmp_path):
    with rig(tmp_path) as made:
        made.add("steers", {"p": photo(1)}, title=f"mug{STEERING}", category=f"mugs{STEERING}", state=f"new{STEERING}")
        made.add("other", {"p": photo(2)}, title="plain", category=f"mugs{STEERING}")
        made.indexed(2)
        answers = [
            made.search(photo(1), "?k=2"),
            made.search(photo(1), "?k=2&vote=true"),
            post(made, "/v1/search?k=2", {"listing_id": "other"}),
            made.get("/v1/listings/steers"),
            made.get("/v1/listings/other/similar"),
            made.get("/v1/listings/other/duplicates?radius=64"),
            post(made, "/v1/listings:batch", {"listing_ids": ["steers"]}),
            made.get("/v1/recent"),
        ]
    assert [status for status, _ in answers] == [200] * len(answers)
    texts = [json.dumps(answer, ensure_ascii=False) for _, answer in answers]
    assert sum("muggpj[2J" in text for text in texts) == len(texts)
    assert [c for text in texts for c in text if unicodedata.category(c) in ("Cc", "Cf")] == []
    assert not any(escape in text for text in texts for escape in (r"\u001b", r"\u202e"))
    assert answers[0][1]["categories"][0]["category"] == "mugsgpj[2J"
