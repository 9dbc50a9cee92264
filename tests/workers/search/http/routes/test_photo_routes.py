"""What a photo's request may ask for: a part of it, the vote, the re-ranking, predictions alone."""

from __future__ import annotations

import io
import json
from typing import Any

import numpy as np
import pytest
from PIL import Image

from schemas.boxes import DetectPlan
from tests.engines.colour_detector import ColourDetector, grid, scene
from tests.workers.indexer.running import until
from tests.workers.search.rig import HTTP, Rig, photo, served
from workers.search.find.labels.suggest import LEAST
from workers.search.find.labels.vote import Ballot, Voting
from workers.search.find.rerank import hamming, k_reciprocal
from workers.stages.detect import Looking


def predict(shop: Rig, data: bytes, query: str = "") -> tuple[int, Any]:
    answer = HTTP.request("POST", f"{shop.server.url}/v1/predict{query}", body=data)
    return answer.status, json.loads(answer.data)


def test_a_box_is_searched_for_as_if_the_photo_ended_there(shop):
    whole = Image.open(io.BytesIO(photo(3, 100, "PNG")))
    file = io.BytesIO()
    whole.crop((20, 10, 80, 90)).save(file, "PNG")
    alone = shop.search(file.getvalue(), content_type="image/png")[1]
    boxed = shop.search(photo(3, 100, "PNG"), "?box=0.2,0.1,0.8,0.9", "image/png")[1]
    assert boxed["box"] == [0.2, 0.1, 0.8, 0.9]
    assert alone["box"] is None
    assert (boxed["hash"], boxed["neighbours"]) == (alone["hash"], alone["neighbours"])
    assert predict(shop, photo(3, 100, "PNG"), "?box=0.2,0.1,0.8,0.9")[1]["hash"] == boxed["hash"]
    for wrong in ("1,2,3", "a,b,c,d", "0.5,0,0.5,1", "0,0,1.1,1", "-0.1,0,1,1", "nan,0,1,1", "0,0,1,1,1", ""):
        status, answer = shop.search(photo(3), f"?box={wrong}")
        assert (status, answer["detail"].partition(":")[0]) == (422, "box")


def test_the_vote_is_of_the_twenty_nearest_and_can_be_left_out(shop):
    for k in (3, 40):
        answer = shop.search(photo(5), f"?k={k}")[1]
        wide = shop.search(photo(5), "?k=20&vote=false")[1]
        assert wide["categories"] == []
        stored = shop.store.get([n["listing_id"] for n in wide["neighbours"]])
        ballots = [
            Ballot(n["listing_id"], stored[n["listing_id"]].event.category, n["distance"]) for n in wide["neighbours"]
        ]
        counted = Voting(shop.engine.manifest).count({}, ballots)
        assert [c["category"] for c in answer["categories"]] == ["things"]
        assert answer["categories"][0]["voters"] == counted[0].voters
        assert len(counted[0].voters) == 20
    assert shop.search(photo(5), "?category=things")[1]["categories"] == []


@pytest.mark.parametrize("k", [5, 30])
def test_reranking_reorders_and_keeps_the_distances(shop, k):
    plain = shop.search(photo(5), "?k=50")[1]["neighbours"]
    answer = shop.search(photo(5), f"?k={k}&rerank=true")[1]
    assert answer["reranked"]
    codes = [answer["hash"], *(shop.hashes[n["listing_id"], n["image_id"]] for n in plain)]
    packed = np.frombuffer(bytes.fromhex("".join(codes)), np.uint8).reshape(-1, 32)
    order = np.argsort(k_reciprocal(hamming(packed)), kind="stable")
    expected, least = [], 1.0
    for neighbour in (plain[i] for i in order[:k]):  # the likeness is that of the hashes, and falls in this order too
        least = min(least, neighbour["likeness"])
        expected.append(neighbour | {"likeness": least})
    assert answer["neighbours"] == expected


def test_predictions_alone_are_those_of_a_search(shop):
    status, answer = predict(shop, photo(7))
    found = shop.search(photo(7))[1]
    assert status == 200
    assert (answer["predictions"], answer["hash"]) == (found["predictions"], found["hash"])
    assert [one["head"] for one in answer["attributes"]] == ["colour"]
    words = {p["label"]: p["probability"] for p in answer["predictions"]["words"] if p["probability"] >= LEAST}
    assert {one["label"]: one["probability"] for one in answer["title_words"]} == words
    assert answer["category"] == []
    for status, body in ((415, b"no photo"), (422, b""), (413, b"\0" * 10_000_001)):
        got, problem = predict(shop, body)
        assert (got, problem["status"]) == (status, status)


@pytest.fixture
def detecting(shop: Rig):
    """The shop's service with a detector that requests may ask for."""
    detector, preprocess = ColourDetector(), shop.engine.manifest.preprocess
    plan = DetectPlan(mode="subject", detector_id=detector.detector_id, padding=0.1, threshold=0.5, most_boxes=1)
    looking = Looking(detector, plan, preprocess)
    with served(shop, looking=looking, max_boxes=4, max_frames=3, category_vote=0.3):
        until(lambda: shop.health.ready)
        shop.looking = looking
        yield shop


def test_every_product_of_a_photo_gets_the_answer_of_its_box(detecting):
    """`all` answers as one search for each box does, and `subject` as the first of them."""
    data = scene(grid(3))
    every = detecting.search(data, "?detect=all&k=5", "image/png")[1]
    assert [one["box"] for one in every["boxes"]] == [one["box"] for one in every["detected"]]
    assert len(every["boxes"]) == 3
    assert {one["kind"] for one in every["boxes"]} == {"mug", "chair"}
    for name in ("hash", "box", "predictions", "neighbours", "categories", "category_vote", "close"):
        assert every[name] == every["boxes"][0][name], name
    subject = detecting.search(data, "?detect=subject&k=5", "image/png")[1]
    assert (subject["boxes"], subject["detected"]) == ([], every["detected"])
    assert (subject["hash"], subject["box"], subject["neighbours"]) == (
        every["hash"],
        every["box"],
        every["neighbours"],
    )
    for one in every["boxes"]:
        alone = detecting.search(data, f"?k=5&box={','.join(map(str, one['box']))}", "image/png")[1]
        apart = int(alone["hash"], 16) ^ int(one["hash"], 16)
        assert apart.bit_count() <= 6  # the box was cut from a decode of another scale
        assert {p["name"] for p in alone["predictions"]["colour"]} == {p["name"] for p in one["predictions"]["colour"]}
        assert [vote["detector"] > 0 for vote in one["category_vote"]].count(True) == 1
    told = predict(detecting, data, "?detect=all")[1]
    assert [one["hash"] for one in told["boxes"]] == [one["hash"] for one in every["boxes"]]
    assert (told["hash"], told["detected"]) == (every["hash"], every["detected"])


def test_nearest_answers_for_the_box_that_is_nearest_to_a_listing_or_for_the_whole_photo(detecting):
    data = scene(grid(3))
    every = detecting.search(data, "?detect=all&k=5", "image/png")[1]
    whole = detecting.search(data, "?detect=off&k=5", "image/png")[1]
    apart = [min(n["distance"] for n in one["neighbours"]) for one in [*every["boxes"], whole]]
    near = detecting.search(data, "?detect=nearest&k=5", "image/png")[1]
    best = apart.index(min(apart)) if min(apart) < apart[-1] else 3
    if apart[-1] <= 75:
        best = 3
    expected = [*every["boxes"], whole | {"box": None}][best]
    assert (near["box"], near["hash"], near["boxes"]) == (expected["box"], expected["hash"], [])
    assert near["neighbours"] == expected["neighbours"]
    assert near["detected"] == every["detected"]
    status, told = predict(detecting, data, "?detect=nearest")
    assert (status, "needs a search" in told["detail"]) == (422, True)
    status, told = clip(detecting, photo(3), photo(4), query="?detect=nearest")
    assert (status, "with one photo" in told["detail"]) == (422, True)


def test_a_photo_without_a_product_counts_as_a_whole_and_boxes_are_limited(detecting):
    empty = detecting.search(scene([]), "?detect=all", "image/png")[1]
    whole = detecting.search(scene([]), "", "image/png")[1]
    assert (empty["detected"], [one["box"] for one in empty["boxes"]]) == ([], [None])
    assert (empty["hash"], empty["neighbours"]) == (whole["hash"], whole["neighbours"])
    assert len(detecting.search(scene(grid(9)), "?detect=all", "image/png")[1]["boxes"]) == 4


def clip(shop: Rig, *frames: bytes, query: str = "") -> tuple[int, Any]:
    fields = [("photo", (f"{i}.png", frame, "image/png")) for i, frame in enumerate(frames)]
    answer = HTTP.request("POST", f"{shop.server.url}/v1/search{query}", fields=fields)
    return answer.status, json.loads(answer.data)


def test_the_sharp_frames_that_agree_answer_together(detecting):
    sharp = photo(3, 100, "PNG")
    image = Image.open(io.BytesIO(sharp))
    file = io.BytesIO()
    image.resize((6, 6)).resize((100, 100)).save(file, "PNG")
    alone = detecting.search(sharp, "?k=5", "image/png")[1]
    status, found = clip(detecting, file.getvalue(), sharp, sharp, query="?k=5")
    assert (status, found["frames"]) == (200, [1, 2])
    assert (found["hash"], found["neighbours"]) == (alone["hash"], alone["neighbours"])
    assert alone["frames"] == [0]


@pytest.mark.parametrize(("route", "query"), [("search", "?detect=all"), ("predict", "?detect=all")])
def test_each_product_counts_for_the_rate_limit(detecting, route, query):
    """Three products of a rate of one photo in 100 s: the next request waits for two more than its own."""
    looking = detecting.looking
    with served(detecting, looking=looking, rate_per_s=0.01, rate_burst=1.0):
        until(lambda: detecting.health.ready)
        url = f"{detecting.server.url}/v1/{route}{query}"
        first = HTTP.request("POST", url, body=scene(grid(3)), headers={"content-type": "image/png"})
        assert (first.status, len(json.loads(first.data)["boxes"])) == (200, 3)
        after = HTTP.request("POST", url, body=scene(grid(3)), headers={"content-type": "image/png"})
        assert (after.status, "each part that detect=all" in json.loads(after.data)["detail"]) == (429, True)
        assert 200 < int(after.headers["retry-after"]) <= 300


def test_each_frame_counts_for_the_rate_limit(shop):
    with served(shop, rate_per_s=0.01, rate_burst=1.0):
        until(lambda: shop.health.ready)
        assert clip(shop, photo(3), photo(3), photo(3), photo(3))[0] == 200
        status, problem = clip(shop, photo(3))
        assert (status, problem["type"]) == (429, "urn:groknet:problem:too-often")
        wait_s = int(problem["detail"].rpartition(" in ")[2].removesuffix(" s"))
        assert 300 < wait_s <= 400


def test_what_cannot_be_detected_is_refused_by_name(detecting):
    refused = [
        ("?detect=some", "detect"),
        ("?detect=all&box=0,0,1,1", "detect"),
    ]
    for query, field in refused:
        status, answer = detecting.search(photo(3), query)
        assert (status, answer["detail"].partition(":")[0]) == (422, field)
    asked = {"body": b'{"listing_id": "shop/8"}', "headers": {"content-type": "application/json"}}
    refused = HTTP.request("POST", f"{detecting.server.url}/v1/search?detect=all", **asked)
    assert (refused.status, refused.json()["detail"].partition(":")[0]) == (422, "detect")
    status, answer = clip(detecting, photo(3), photo(4), query="?detect=all")
    assert (status, answer["detail"].partition(":")[0]) == (422, "detect")
    status, problem = clip(detecting, *[photo(3)] * 4)  # one more than max_frames
    assert (status, problem["type"]) == (400, "urn:groknet:problem:too-many-photos")
    assert "at most 3 photos" in problem["detail"]
    assert predict(detecting, photo(3), "?detect=off")[0] == 200


def test_without_a_detector_only_the_whole_photo_or_a_box_is_searched(shop):
    status, answer = shop.search(photo(3), "?detect=subject")
    assert (status, "detect.bundle" in answer["detail"]) == (422, True)
    plain, off = shop.search(photo(3))[1], shop.search(photo(3), "?detect=off")[1]
    assert (plain["detected"], plain["boxes"], plain["category_vote"], plain["frames"]) == ([], [], [], [0])
    assert (plain["hash"], plain["neighbours"]) == (off["hash"], off["neighbours"])
