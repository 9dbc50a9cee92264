"""Prices, goes-with and scenes over HTTP, on a running service with an index, a store and a stream."""

from __future__ import annotations

import json
from collections.abc import Iterator

import msgspec
import pytest

from schemas.events import Price
from schemas.hashes import HashMessage, ImageHash
from tests.workers.indexer.hash_topic import BASE_US, stream_at
from tests.workers.indexer.running import counted, until
from tests.workers.search.rig import HTTP, Rig, photo, rig, served
from tests.workers.together.topic import cart, now_us, send

MUG, SAUCER, SPOON, LAMP = (photo(seed, format_="PNG") for seed in (1, 2, 3, 29))  # more than 24 bits apart


def price(amount: str, currency: str = "EUR") -> dict[str, str]:
    return {"amount": amount, "currency": currency}


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    """Nine listings of one mug, of seven sellers, and other things, of which some were in carts together."""
    with rig(tmp_path_factory.mktemp("shop")) as made:
        amounts = ["10.00", "10.50", "9.50", "11.00", "9.00", "10.20"]
        for i, amount in enumerate(amounts):
            made.add(f"mug/{i}", {"p": MUG}, price=Price(**price(amount)), seller_id=f"s{i}", category="mugs")
        made.add("mug/cent", {"p": MUG}, price=Price(**price("0.01")), seller_id="joker", category="mugs")
        for i in range(3):
            made.add(f"mug/dear{i}", {"p": MUG}, price=Price(**price("999999")), seller_id="one", category="mugs")
        made.add("mug/mine", {"p": MUG}, price=Price(**price("50.00")), seller_id="me", category="mugs")
        made.add("mug/mine2", {"p": MUG}, price=Price(**price("80.00")), seller_id="me", category="mugs")
        made.add("mug/unpriced", {"p": MUG}, category="mugs")
        made.add("saucer", {"p": SAUCER}, title="Saucer", category="saucers")
        made.add("spoon", {"p": SPOON}, title="Spoon", category="spoons")
        made.add("lamp", {"p": LAMP}, title="Lamp", category="lamps")
        made.add("gone", {"p": photo(27, format_="PNG")}, category="lamps")
        send(
            made.stream,
            *(cart(f"a{i}", "mug/0", "saucer") for i in range(4)),
            *(cart(f"b{i}", "mug/0", "spoon", "gone", "mug/1") for i in range(2)),
            cart("c", "mug/0", "lamp"),
        )
        made.indexed(17)
        until(lambda: made.get("/v1/listings/mug%2F0/goes-with")[0] == 200)
        until(lambda: made.get("/v1/listings/mug%2F0/goes-with")[1]["occasions"] == 7)
        yield made


def test_a_price_is_that_of_other_sellers_of_the_product(shop: Rig) -> None:
    """Worked out by hand: the geometric mean of the six sellers; a cent, 999999 and the asker's own prices are out."""
    status, answer = shop.get("/v1/listings/mug%2Fmine/price")
    found = answer["price"]
    assert (status, answer["support"], answer["listing_id"]) == (200, 5, "mug/mine")
    assert found["point"] == "10.01"
    assert (found["currency"], found["from"], found["sellers"], found["listings"]) == ("EUR", "copies", 6, 6)
    assert found["left_out"] == 2
    assert 8.0 < float(found["low"]) < 9.0
    assert 11.0 < float(found["high"]) < 12.0


def test_no_seller_is_named(shop: Rig) -> None:
    text = json.dumps([shop.get("/v1/listings/mug%2Fmine/price")[1], shop.search(MUG, "?price=true")[1]])
    assert not [name for name in ("seller_id", "joker", '"s0"', '"me"') if name in text]


def test_a_photo_gets_a_price_on_request_and_predict_as_well(shop: Rig) -> None:
    asked, silent = (shop.search(MUG, query)[1] for query in ("?price=true", "?k=3"))
    assert silent["price"] is None
    assert asked["price"]["currency"] == "EUR"
    assert asked["price"]["sellers"] == 6
    answer = HTTP.request(
        "POST", shop.server.url + "/v1/predict?price=true&currency=USD", body=MUG, headers={"content-type": "image/png"}
    )
    assert (answer.status, json.loads(answer.data)["price"]) == (200, None), "nobody asks a price in dollars"
    by_listing = HTTP.request("POST", shop.server.url + "/v1/search?price=true", json={"listing_id": "mug/mine"})
    assert json.loads(by_listing.data)["price"] == shop.get("/v1/listings/mug%2Fmine/price")[1]["price"]


def test_too_few_sellers_get_none_and_the_support_is_said(shop: Rig) -> None:
    before = counted("groknet_price_suggestions_total", source="none")
    assert shop.get("/v1/listings/lamp/price")[1]["price"] is None
    with served(shop, price_support=7):
        until(lambda: shop.get("/readyz")[0] == 200)
        answer = shop.get("/v1/listings/mug%2Fmine/price")[1]
        assert (answer["price"], answer["support"]) == (None, 7)
    assert counted("groknet_price_suggestions_total", source="none") == before + 2


def test_what_was_together_goes_together_the_surest_first(shop: Rig) -> None:
    answer = shop.get("/v1/listings/mug%2F0/goes-with")[1]
    found = [(one["listing_id"], one["from"], one["together"]) for one in answer["companions"]]
    assert found[:3] == [("saucer", "counts", 4), ("gone", "counts", 2), ("spoon", "counts", 2)]
    assert "lamp" not in [one for one, _, _ in found], "one cart may be one person's"
    assert not [one for one, _, _ in found if one.startswith("mug/")], "the same product is no companion"
    first = answer["companions"][0]
    assert (first["title"], first["category"]) == ("Saucer", "saucers")
    assert first["score"] == pytest.approx(4 / ((7 + 5) * (4 + 5)) ** 0.5, abs=1e-4)


def test_a_listing_that_was_never_in_a_cart_asks_its_neighbours(shop: Rig) -> None:
    answer = shop.get("/v1/listings/mug%2F3/goes-with?k=2")[1]
    assert answer["occasions"] == 0
    assert next((one["listing_id"], one["from"]) for one in answer["companions"]) == ("saucer", "neighbours")
    assert len(answer["companions"]) == 2


def test_scenes_without_a_detector_are_none(shop: Rig) -> None:
    status, answer = shop.get("/v1/listings/mug%2F0/scenes")
    assert (status, answer["scenes"], answer["radius"]) == (200, [], 64)


@pytest.mark.parametrize("route", ["price", "goes-with", "scenes"])
def test_a_listing_that_is_not_there_is_named(shop: Rig, route: str) -> None:
    assert shop.get(f"/v1/listings/none/{route}")[0] == 404


def test_a_box_of_another_photo_is_a_scene(tmp_path) -> None:
    with rig(tmp_path) as made:
        made.add("mug", {"p": MUG})
        made.add("table", {"p": LAMP})
        stored = made.store.get(["table"])["table"]
        code = made.hashes["mug", "p"]
        boxed = msgspec.structs.replace(stored.images[0], hash=code, box=(0.1, 0.1, 0.5, 0.5))
        event = msgspec.structs.replace(stored.event, event_time=stored.event_time + 1)
        rows = [stored.images[0], boxed]
        changed = msgspec.structs.replace(stored, event=event, event_time=event.event_time, images=rows)
        made.store.write(changed, {})
        made.publisher.put(
            HashMessage(
                listing_id="table",
                event_time=event.event_time,
                epoch=stored.epoch,
                model_version=stored.model_version,
                state="active",
                category=None,
                images=[ImageHash(image_id=row.image_id, hash=row.hash, box=row.box) for row in changed.images],
            )
        )
        made.publisher.flush()
        made.indexed(3)
        answer = made.get("/v1/listings/mug/scenes")[1]
        assert [(one["listing_id"], one["box"], one["distance"]) for one in answer["scenes"]] == [
            ("table", [0.1, 0.1, 0.5, 0.5], 0)
        ]
        assert made.get("/v1/listings/table/scenes")[1]["scenes"] == [], "the mug's photo is no scene"


def test_a_removed_listing_is_never_answered_and_its_counts_leave(tmp_path) -> None:
    with rig(tmp_path) as made:
        for name, data in (("mug", MUG), ("saucer", SAUCER), ("spoon", SPOON)):
            made.add(name, {"p": data})
        send(made.stream, *(cart(f"o{i}", "mug", "saucer", "spoon", age_s=3_600) for i in range(3)))
        made.indexed(3)
        url = "/v1/listings/mug/goes-with"
        until(lambda: made.get(url)[0] == 200 and made.get(url)[1]["occasions"] == 3)
        assert [one["listing_id"] for one in made.get(url)[1]["companions"]] == ["saucer", "spoon"]
        later = now_us() - BASE_US
        made.remove("saucer", later)
        assert [one["listing_id"] for one in made.get(url)[1]["companions"]] == ["spoon"]
        made.add("saucer", {"p": SAUCER}, time_=later + 1)
        assert [one["listing_id"] for one in made.get(url)[1]["companions"]] == ["spoon"], "its old carts are forgotten"
        made.remove("mug", later)
        assert made.get(url)[0] == 410
        assert made.get("/v1/listings/mug/price")[0] == 410


def test_a_listing_of_another_epoch_still_has_its_counts(tmp_path) -> None:
    with rig(tmp_path) as made:
        made.add("mug", {"p": MUG})
        made.add("saucer", {"p": SAUCER})
        made.indexed(2)
        stored = made.store.get(["mug"])["mug"]
        event = msgspec.structs.replace(stored.event, event_time=stored.event_time + 1)
        other = msgspec.structs.replace(
            stored, model_version="next", epoch="f" * 12, event=event, event_time=event.event_time
        )
        made.store.write(other, {})
        send(made.stream, *(cart(f"o{i}", "mug", "saucer") for i in range(2)))
        url = "/v1/listings/mug/goes-with"
        until(lambda: made.get(url)[0] == 200 and made.get(url)[1]["occasions"] == 2)
        assert [one["listing_id"] for one in made.get(url)[1]["companions"]] == ["saucer"]
        assert made.get("/v1/listings/mug/price")[0] == 409


def test_an_outage_is_said_with_a_time_to_come_back(tmp_path) -> None:
    """The stream cannot be opened: prices are answered all the same. The index is gone: neither can be."""
    with rig(tmp_path) as made:
        made.add("mug", {"p": MUG})
        made.add("saucer", {"p": SAUCER})
        made.indexed(2)
        broken = tmp_path / "elsewhere"
        (broken / "stream.db").mkdir(parents=True)
        made.stream = stream_at(broken)
        with served(made):
            until(lambda: made.health.ready)
            url = f"{made.server.url}/v1/listings/mug"
            answer = HTTP.request("GET", url + "/goes-with")
            told = json.loads(answer.data)
            assert (answer.status, told["type"]) == (503, "urn:groknet:problem:together-not-ready")
            assert answer.headers["retry-after"] == "2"
            assert HTTP.request("GET", url + "/price").status == 200
            (broken / "stream.db").rmdir()
            until(lambda: HTTP.request("GET", url + "/goes-with").status == 200)
            send(made.stream, *(cart(f"o{i}", "mug", "saucer") for i in range(2)))
            until(lambda: bool(json.loads(HTTP.request("GET", url + "/goes-with?k=1").data)["companions"]))
            made.indexer.server.stop()
            answer = HTTP.request("GET", url + "/price")
            assert (answer.status, "retry-after" in answer.headers) == (503, True)
            enough = HTTP.request("GET", url + "/goes-with?k=1")
            assert enough.status == 200, "its own counts are enough, so the index is not asked"
            assert HTTP.request("GET", url + "/goes-with?k=5").status == 503
