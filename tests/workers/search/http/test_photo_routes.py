"""What a photo's request may ask for: a part of it, the vote, the re-ranking, predictions alone."""

from __future__ import annotations

import io
import json
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.workers.search.rig import HTTP, Rig, photo
from workers.search.find.rerank import hamming, k_reciprocal
from workers.search.find.suggest import LEAST
from workers.search.find.vote import Ballot, Voting


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
