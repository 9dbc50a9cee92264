from __future__ import annotations

import io
from urllib.parse import quote, urlsplit

import msgspec
import pytest
import urllib3
from PIL import Image

from tests.workers.indexer.running import counted, until
from tests.workers.search.rig import HTTP, Rig, photo, rig


def _brute_force(shop: Rig, query: str, k: int) -> list[tuple[str, str, int]]:
    """Every photo, ranked; then the first of each listing."""
    ranked = sorted(
        (bin(int(query, 16) ^ int(h, 16)).count("1"), listing, image) for (listing, image), h in shop.hashes.items()
    )
    nearest: dict[str, tuple[str, str, int]] = {}
    for distance, listing, image in ranked:
        nearest.setdefault(listing, (listing, image, distance))
    return list(nearest.values())[:k]


@pytest.mark.parametrize("k", [1, 5, 30, 100])
def test_a_photo_finds_the_listings_that_brute_force_finds(shop, k):
    for seed in (0, 1, 201, 9999):
        status, answer = shop.search(photo(seed), f"?k={k}")
        assert status == 200
        found = [(n["listing_id"], n["image_id"], n["distance"]) for n in answer["neighbours"]]
        assert found == _brute_force(shop, answer["hash"], k)


def test_a_stored_photo_finds_itself_with_what_is_shown_of_it(shop):
    status, answer = shop.search(photo(701))
    assert status == 200
    assert answer["hash"] == shop.hashes["shop/7", "p/1"]
    first = next(n for n in answer["neighbours"] if n["listing_id"] == "shop/7")
    assert (first["distance"], first["title"], first["category"]) == (0, "Thing 7", "things")
    assert len(answer["neighbours"]) == 12
    thumbnail = HTTP.request("GET", shop.server.url + first["thumbnail"])
    assert thumbnail.headers["content-type"] == "image/jpeg"
    with Image.open(io.BytesIO(thumbnail.data)) as image:
        assert image.format == "JPEG"
    assert answer["stale"] is False
    colours = answer["predictions"]["colour"]
    assert [p["probability"] for p in colours] == sorted((p["probability"] for p in colours), reverse=True)
    stored = shop.store.get(["shop/7"])["shop/7"].images[1].predictions
    assert [(p["label"], pytest.approx(p["probability"])) for p in colours] == [
        (p.label, p.probability) for p in stored["colour"]
    ]


def test_png_webp_and_multipart_are_photos_too(shop):
    hashes = {
        shop.search(photo(5, format_=f), content_type=c)[1]["hash"] for f, c in (("PNG", "image/png"), ("PNG", ""))
    }
    assert len(hashes) == 1
    body, content_type = urllib3.encode_multipart_formdata({"photo": ("a.png", photo(5, format_="PNG"), "image/png")})
    status, answer = shop.search(body, content_type=content_type)
    assert (status, {answer["hash"]}) == (200, hashes)
    assert shop.search(photo(5, format_="WEBP"), content_type="image/webp")[0] == 200


def _bomb() -> bytes:
    file = io.BytesIO()
    Image.new("1", (30_000, 30_000)).save(file, "PNG")
    return file.getvalue()


def test_what_is_not_a_photo_is_refused_with_field_and_remedy(shop):
    form, form_type = urllib3.encode_multipart_formdata({"picture": ("a.jpg", photo(1), "image/jpeg")})
    text, text_type = urllib3.encode_multipart_formdata({"photo": "just text"})
    gif = io.BytesIO()
    Image.new("RGB", (8, 8)).save(gif, "GIF")
    for data, content_type, status, code, word in [
        (b"<html></html>", "image/jpeg", 415, "not-an-image", "photo"),
        (gif.getvalue(), "image/gif", 415, "format-not-allowed", "convert"),
        (photo(1), "text/html", 415, "not-a-photo", "content-type"),
        (photo(1, 256)[:-800], "image/jpeg", 422, "truncated", "photo"),
        (_bomb(), "image/png", 413, "too-many-pixels", "photo"),
        (b"", "image/jpeg", 422, "empty", "body"),
        (b"\0" * 10_000_001, "image/jpeg", 413, "too-large", "10,000,000"),
        (form, form_type, 422, "no-photo", "photo"),
        (text, text_type, 422, "no-photo", "photo"),
        (b"garbage", "multipart/form-data; boundary=x", 400, "bad-form", "multipart"),
        (b"garbage", "multipart/form-data", 400, "bad-form", "boundary"),
    ]:
        got, answer = shop.search(data, content_type=content_type)
        assert (got, answer["type"]) == (status, f"urn:groknet:problem:{code}")
        assert answer["status"] == status
        assert word in answer["detail"]
    for query in ("?k=0", "?k=101", "?k=x", "?k=-1", "?k=1.5", "?k=%C2%B2", "?lang=../x"):
        status, answer = shop.search(photo(1), query)
        assert (status, answer["type"]) == (422, "urn:groknet:problem:bad-parameter")
        assert answer["detail"].startswith(("k:", "lang:"))


def test_a_body_without_a_length_is_cut_off_at_the_limit(shop):
    def endless():
        for _ in range(200):
            yield b"\0" * 100_000

    answer = HTTP.request(
        "POST", shop.server.url + "/v1/search", body=endless(), headers={"content-type": "image/jpeg"}, chunked=True
    )
    assert answer.status == 413


@pytest.mark.parametrize("path", ["/v1/listings/shop/8", "/v1/listings/shop%2F8"])
def test_a_listing_shows_summary_photos_and_freshness(shop, path):
    status, answer = shop.get(path)
    assert status == 200
    assert (answer["listing_id"], answer["status"], answer["title"]) == ("shop/8", "complete", None)
    assert [image["image_id"] for image in answer["images"]] == ["p/0", "p/1", "p/2"]
    assert [image["hash"] for image in answer["images"]] == [shop.hashes["shop/8", f"p/{j}"] for j in range(3)]
    fresh = answer["freshness"]
    assert fresh["searchable"] is True
    assert fresh["upload_to_stored_s"] == 0.25
    assert fresh["upload_to_searchable_s"] >= 0.25
    assert set(answer["predictions"]) == {"colour", "words"}


def test_unknown_listings_and_ids_that_are_none(shop):
    assert shop.get("/v1/listings/never/seen")[0] == 404
    for bad in ("a b", "ü", "x" * 129, ""):
        status, answer = shop.get("/v1/listings/" + quote(bad))
        assert (status, answer["detail"].partition(":")[0]) == (422, "listing_id")
    assert shop.get("/v1/thumbnail?listing_id=shop/8")[1]["detail"].startswith("image_id")
    assert shop.get("/v1/thumbnail?listing_id=shop/8&image_id=none")[0] == 404
    status, answer = shop.get("/v2")
    assert (status, answer["type"]) == (404, "urn:groknet:problem:no-such-path")


def test_recent_lists_the_newest_first(shop):
    status, answer = shop.get("/v1/recent?n=5")
    assert status == 200
    times = [listing["freshness"]["indexed_at"] for listing in answer["listings"]]
    assert times == sorted(times, reverse=True)
    assert len(times) == 5
    assert {listing["listing_id"] for listing in shop.get("/v1/recent?n=64")[1]["listings"]} == {
        f"shop/{i}" for i in range(30)
    }


def test_metrics_count_answers_by_route_and_status(shop):
    name = "groknet_search_requests_total"
    before = counted(name, route="/v1/search", status="415")
    shop.search(b"no")
    assert counted(name, route="/v1/search", status="415") == before + 1
    manifest = shop.engine.manifest
    labels = {"version": manifest.model_version, "engine": shop.engine.backend, "epoch": manifest.epoch}
    assert counted("groknet_model_info", **labels) == 1
    assert shop.get("/healthz")[0] == 200


def test_a_removed_listing_is_gone_and_not_shown_even_before_the_index_knows(tmp_path):
    with rig(tmp_path) as made:
        for i in range(4):
            made.add(f"l{i}", {"p": photo(i)})
        made.indexed(4)
        made.remove("l2", 5, publish=False)
        status, answer = made.get("/v1/listings/l2")
        assert (status, answer["type"]) == (410, "urn:groknet:problem:removed")
        found = {n["listing_id"] for n in made.search(photo(2), "?k=3")[1]["neighbours"]}
        assert found == {"l0", "l1", "l3"}
        assert "l2" not in {one["listing_id"] for one in made.get("/v1/recent")[1]["listings"]}
        made.publisher.remove("l2", 5)
        made.publisher.flush()
        made.indexed(3)
        assert made.get("/v1/thumbnail?listing_id=l2&image_id=p")[0] == 404
        made.add("l2", {"p": photo(2)}, time_=9)
        made.indexed(4)
        assert made.search(photo(2), "?k=1")[1]["neighbours"][0]["listing_id"] == "l2"


def test_a_listing_of_many_near_photos_does_not_crowd_out_the_others(tmp_path):
    with rig(tmp_path) as made:
        for i in range(8):
            made.add(f"crowd/{i}", {f"p{j}": photo(1, format_="PNG") for j in range(20)})
        made.add("other", {"p": photo(2)})
        made.indexed(161)
        found = made.search(photo(1, format_="PNG"), "?k=9", "image/png")[1]["neighbours"]
        assert [n["listing_id"] for n in found[:8]] == [f"crowd/{i}" for i in range(8)]
        assert found[8]["listing_id"] == "other"


def test_an_update_waits_to_be_searchable(tmp_path):
    with rig(tmp_path) as made:
        made.add("one", {"p": photo(1)})
        made.indexed(1)
        publisher, made.publisher = made.publisher, _Silent()
        made.add("one", {"p": photo(2)}, time_=2)
        fresh = made.get("/v1/listings/one")[1]["freshness"]
        assert (fresh["searchable"], fresh["indexed_at"]) == (False, None)
        made.publisher = publisher
        made.publish(made.store.get(["one"])["one"])
        until(lambda: made.get("/v1/listings/one")[1]["freshness"]["searchable"] is True)


def test_an_upload_time_after_the_storing_is_that_of_a_replay(tmp_path):
    with rig(tmp_path) as made:
        made.add("one", {"p": photo(1)})
        made.indexed(1)
        stored = made.store.get(["one"])["one"]
        before = made.indexer.get("/v1/listings/one")[1]["indexed_at"]
        made.publish(msgspec.structs.replace(stored, stored_at=stored.stored_at + 9_000_000))
        until(lambda: made.indexer.get("/v1/listings/one")[1]["indexed_at"] > before)
        fresh = made.get("/v1/listings/one")[1]["freshness"]
        assert (fresh["uploaded_at"], fresh["upload_to_stored_s"], fresh["searchable"]) == (None, None, True)


class _Silent:
    def put(self, *_: object, **__: object) -> None:
        pass

    def flush(self) -> None:
        pass


def test_urls_in_answers_are_paths_of_this_service(shop):
    for listing in shop.get("/v1/recent")[1]["listings"]:
        parts = urlsplit(listing["thumbnail"])
        assert (parts.scheme, parts.netloc) == ("", "")
