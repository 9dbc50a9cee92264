"""The committed bundle over studio photos of products that no training drew."""

from __future__ import annotations

import io
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import training
from engines.pixels import decode
from engines.recognition import Unrounded
from tests.workers.search.rig import HTTP, Rig, rig, served
from training.studio import DEMO_IDENTITIES, make_product, render

pytestmark = pytest.mark.slow

BUNDLE = Path(training.__file__).parent / "bundles" / "demo"
PRODUCTS = 10


def _shot(identity: int, view: int) -> bytes:
    file = io.BytesIO()
    Image.fromarray(render(make_product(identity), view, "natural", (320, 240)).pixels).save(file, "JPEG", quality=90)
    return file.getvalue()


def test_a_listed_photo_is_found_and_named_in_words(tmp_path):
    with rig(tmp_path, BUNDLE) as made:
        shots = {identity: _shot(identity, 0) for identity in list(DEMO_IDENTITIES)[:PRODUCTS]}
        for identity, data in shots.items():
            made.add(f"studio/{identity}", {"front": data})
        made.indexed(PRODUCTS)
        names = {label.display.get("en", label.value) for head in made.engine.manifest.heads for label in head.labels}
        for identity, data in shots.items():
            status, answer = made.search(data, f"?k={PRODUCTS}")
            assert status == 200
            assert answer["neighbours"][0]["distance"] == 0
            same = {n["listing_id"] for n in answer["neighbours"] if n["distance"] == 0}
            assert f"studio/{identity}" in same
            assert len(answer["neighbours"]) == PRODUCTS
            for best in answer["predictions"].values():
                assert {p["name"] for p in best} <= names
                assert all(0 <= p["probability"] <= 1 for p in best)
        heads = [head.id for head in made.engine.manifest.heads]
        assert sorted(answer["predictions"]) == sorted(heads)


def _unmeasured(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Neighbours without their likeness, which is finer in the finer order."""
    return [{name: value for name, value in one.items() if name != "likeness"} for one in found]


def test_a_photo_of_something_that_is_not_listed_has_no_close_listing(tmp_path):
    """Another side of a listed product is close to it; a ground without a product is not, though listings are near."""
    with rig(tmp_path, BUNDLE) as made:
        for identity in list(DEMO_IDENTITIES)[:PRODUCTS]:
            made.add(f"studio/{identity}", {"front": _shot(identity, 0)})
        made.indexed(PRODUCTS)
        for identity in list(DEMO_IDENTITIES)[:PRODUCTS]:
            assert made.search(_shot(identity, 0))[1]["close"]
        file = io.BytesIO()
        rng = np.random.default_rng(0)
        Image.fromarray(rng.integers(0, 256, (240, 320, 3), dtype=np.uint8)).save(file, "PNG")
        for query in ("", "?fine=false", "?rerank=true"):
            answer = made.search(file.getvalue(), query, "image/png")[1]
            assert len(answer["neighbours"]) == PRODUCTS
            assert not answer["close"]
        with served(made, close_likeness=0.0, close_bits=256):
            assert made.search(file.getvalue(), "", "image/png")[1]["close"]
            assert made.search(file.getvalue(), "?fine=false", "image/png")[1]["close"]


def _unrounded(made: Rig, data: bytes) -> Unrounded:
    found = made.engine.infer(decode(data, made.engine.manifest.preprocess)[None]).unrounded(0)
    assert found is not None
    return found


def _cosine(ours: list[float], theirs: list[float]) -> float:
    return sum(a * b for a, b in zip(ours, theirs, strict=True)) / math.hypot(*ours) / math.hypot(*theirs)


def _by_hand(made: Rig, data: bytes, kept: dict[str, tuple[str, list[float]]]) -> dict[str, float]:
    """Every listing's likeness. If all have embeddings, it is by them; else the cosine of the margins, as far as they
    are known or follow from an embedding; else what the photo's bits add up to where a listing's differ, bit for
    bit."""
    photo = _unrounded(made, data)
    margins = [float(m) for m in photo.margins]
    whole = sum(map(abs, margins))
    weight, bias = photo.layer.weight.astype(np.float64), photo.layer.bias
    alike = {}
    for (listing_id, _), code in made.hashes.items():
        bits = f"{int(code, 16):0256b}"
        apart = sum(abs(m) for m, bit in zip(margins, bits, strict=True) if (m > 0) != (bit == "1"))
        alike[listing_id] = 1 - 2 * apart / whole
        kind, numbers = kept.get(listing_id, ("nothing", []))
        if kind == "margins":
            alike[listing_id] = _cosine(margins, numbers)
        if kind == "embedding":
            theirs = np.array(numbers) / math.hypot(*numbers)
            alike[listing_id] = _cosine(margins, (weight @ theirs + bias).tolist())
            if all(one == "embedding" for one, _ in kept.values()) and len(kept) == len(made.hashes):
                alike[listing_id] = _cosine(photo.embedding.tolist(), theirs.tolist())
    return alike


@pytest.mark.timeout(120)
@pytest.mark.parametrize("kinds", [("embedding",), ("embedding", "margins", "nothing")], ids=["new", "mixed"])
def test_the_nearest_listings_are_ordered_by_what_the_store_has_of_them(tmp_path, kinds):
    """All listings have their embedding; or a third of them, a third have their margins, as older rows, and a third
    their hash alone. A search without `rescore` goes by hashes."""
    with rig(tmp_path, BUNDLE) as made:
        known = {}
        for place, identity in enumerate(list(DEMO_IDENTITIES)[: 2 * PRODUCTS]):
            listing_id, data = f"studio/{identity}", _shot(identity, 0)
            made.kept = kinds[place % len(kinds)]
            made.add(listing_id, {"front": data})
            photo = _unrounded(made, data)
            numbers = {"embedding": photo.embedding, "margins": photo.margins}.get(made.kept)
            if numbers is not None:
                scaled = [round(127 * float(m) / float(np.abs(numbers).max())) for m in numbers]
                known[listing_id] = made.kept, scaled
        made.indexed(2 * PRODUCTS)
        shots = [_shot(identity, 1) for identity in list(DEMO_IDENTITIES)[:PRODUCTS]]
        orders = []
        for rescore, theirs in ((True, known), (False, {})):
            with served(made, rescore=rescore):
                for data in shots:
                    found = made.search(data, f"?k={2 * PRODUCTS}")[1]["neighbours"]
                    expected = _by_hand(made, data, theirs)
                    for one in found:
                        assert one["likeness"] == pytest.approx(max(0.0, expected[one["listing_id"]]), abs=2e-4)
                    in_order = [round(expected[one["listing_id"]], 4) for one in found]
                    assert in_order == sorted(in_order, reverse=True)
                    orders.append([one["listing_id"] for one in found])
        assert orders[:PRODUCTS] != orders[PRODUCTS:], "the two orders are the same one: nothing was shown"


@pytest.mark.timeout(120)
def test_a_photo_orders_by_its_bits_before_they_were_rounded(tmp_path):
    """The default for rows without margins, and off by `fine=false` and for a stored listing, whose bits are
    rounded."""
    with rig(tmp_path, BUNDLE) as made:
        made.kept = "nothing"
        for identity in list(DEMO_IDENTITIES)[: 2 * PRODUCTS]:
            made.add(f"studio/{identity}", {"front": _shot(identity, 0)})
        made.indexed(2 * PRODUCTS)
        differs = 0
        for identity in list(DEMO_IDENTITIES)[:PRODUCTS]:
            data = _shot(identity, 1)
            fine = made.search(data, f"?k={2 * PRODUCTS}")[1]["neighbours"]
            plain = made.search(data, f"?k={2 * PRODUCTS}&fine=false")[1]["neighbours"]
            by_hand = sorted((-alike, listing_id) for listing_id, alike in _by_hand(made, data, {}).items())
            assert [n["listing_id"] for n in fine] == [listing_id for _, listing_id in by_hand]
            assert [n["distance"] for n in plain] == sorted(n["distance"] for n in plain)
            for found in (fine, plain):
                likeness = [n["likeness"] for n in found]
                assert likeness == sorted(likeness, reverse=True)
            same = [sorted(_unmeasured(one), key=lambda n: n["listing_id"]) for one in (fine, plain)]
            assert same[0] == same[1]
            assert made.search(data, "?k=3")[1]["neighbours"] == fine[:3]
            differs += fine != plain
        assert differs, "the two orders are the same one: nothing was shown"
        body = json.dumps({"listing_id": f"studio/{next(iter(DEMO_IDENTITIES))}"}).encode()
        answer = HTTP.request(
            "POST", made.server.url + "/v1/search", body=body, headers={"content-type": "application/json"}
        )
        found = json.loads(answer.data)["neighbours"]
        assert [n["distance"] for n in found] == sorted(n["distance"] for n in found)
