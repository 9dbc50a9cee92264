"""Searches and judgements that are kept, over HTTP: only with the operator's setting and the person's consent."""

from __future__ import annotations

import io
import json
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
from PIL import Image

from tests.workers.indexer.running import until
from tests.workers.search.rig import HTTP, Rig, photo, served
from workers.search.kept.ledger import Judgement, KeptSearch, Ledger
from workers.watching import metrics

NEW, KNOWN = 9999, 701  # photos of no listing, and of shop/7


def kept(shop: Rig) -> tuple[list[KeptSearch], list[Judgement]]:
    with closing(Ledger(shop.home / "kept.db", days=365, most=1_000_000)) as ledger:
        return list(ledger.searches()), list(ledger.judgements())


def not_kept(why: str) -> float:
    value: float = metrics.SEARCHES_NOT_KEPT.labels(why)._value.get()  # type: ignore[no-untyped-call]
    return value


@pytest.fixture
def keeping(shop: Rig) -> Iterator[Rig]:
    """The service, set to keep photos, with an empty file."""
    with served(shop, keep="photos", close_bits=0, fine=False) as made:
        until(lambda: made.health.ready)
        yield made
    for path in shop.home.glob("kept.db*"):
        path.unlink()


def judged(shop: Rig, **fields: Any) -> tuple[int, Any]:
    body = json.dumps({"consent": True, "epoch": shop.engine.manifest.epoch, "right": True} | fields)
    headers = {"content-type": "application/json"}
    answer = HTTP.request("POST", f"{shop.server.url}/v1/feedback", body=body, headers=headers)
    return answer.status, json.loads(answer.data)


def test_a_search_is_kept_only_if_the_client_agrees(keeping: Rig) -> None:
    box = "box=0.25,0,1,1"
    unknown = next(seed for seed in range(NEW, NEW + 50) if not keeping.search(photo(seed), f"?{box}")[1]["close"])
    assert kept(keeping) == ([], [])
    _, missed = keeping.search(photo(unknown), f"?keep=true&{box}")
    _, found = keeping.search(photo(KNOWN), "?keep=true")
    until(lambda: len(kept(keeping)[0]) == 2)
    searches, _ = kept(keeping)
    assert [(one.hash, one.close, one.box) for one in searches] == [
        (missed["hash"], False, "0.25,0,1,1"),
        (found["hash"], True, ""),
    ]
    assert searches[1].listing_id == found["neighbours"][0]["listing_id"]
    assert searches[1].likeness == found["neighbours"][0]["likeness"]
    assert searches[1].category == "things"
    with Image.open(io.BytesIO(searches[0].photo or b"")) as image:
        assert (image.format, image.size) == ("WEBP", (64, 64))


def test_an_answer_is_the_same_whether_it_is_kept_or_not(keeping: Rig) -> None:
    answers = [keeping.search(photo(NEW), query)[1] | {"took_s": 0} for query in ("", "?keep=true")]
    assert answers[0] == answers[1]
    assert keeping.search(b"no photo", "?keep=true")[0] == 415
    assert keeping.search(photo(1), "?keep=perhaps")[0] == 422


def test_a_search_by_listing_is_never_kept(keeping: Rig) -> None:
    body = b'{"listing_id": "shop/2"}'
    assert keeping.search(body, "?keep=true", "application/json")[0] == 200
    _, later = keeping.search(photo(KNOWN), "?keep=true")  # so that what came before it would be kept by now
    until(lambda: kept(keeping)[0] != [])
    assert [one.hash for one in kept(keeping)[0]] == [later["hash"]]


def test_hashes_are_kept_without_photos(shop: Rig) -> None:
    with served(shop, keep="hashes") as made:
        until(lambda: made.health.ready)
        made.search(photo(NEW), "?keep=true")
        until(lambda: kept(made)[0] != [])
        assert [one.photo for one in kept(made)[0]] == [None]
    for path in shop.home.glob("kept.db*"):
        path.unlink()


def test_an_answer_does_not_wait_until_it_is_kept(keeping: Rig) -> None:
    """Another process holds the file: searches are answered, what cannot be written is counted, judgements are told."""
    before = not_kept("failed")
    other = sqlite3.connect(keeping.home / "kept.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    status, answer = keeping.search(photo(NEW), "?keep=true")
    assert (status, not_kept("failed")) == (200, before)
    until(lambda: not_kept("failed") == before + 1)
    status, problem = judged(keeping, hash=answer["hash"], listing_id="shop/7")
    assert (status, problem["type"]) == (503, "urn:groknet:problem:not-kept")
    assert str(keeping.home) not in problem["detail"]
    other.close()
    assert judged(keeping, hash=answer["hash"], listing_id="shop/7")[0] == 200
    assert [one.listing_id for one in kept(keeping)[1]] == ["shop/7"]
    assert kept(keeping)[0] == []


def test_what_does_not_fit_into_the_queue_is_dropped_and_counted(shop: Rig) -> None:
    """The queue has room for two uploads of the largest size: for a photo, but not for its long answer as well."""
    data = photo(NEW)
    before = not_kept("full")
    limits = {"max_upload_bytes": len(data), "max_keep_memory": 1}
    with served(shop, keep="photos", **limits) as made:
        until(lambda: made.health.ready)
        status, answer = made.search(data, "?keep=true&k=100")
        assert status == 200
        assert len(json.dumps(answer)) > len(data)
        until(lambda: not_kept("full") == before + 1)
        assert kept(made)[0] == []
    for path in shop.home.glob("kept.db*"):
        path.unlink()


def test_what_was_kept_ends_by_its_age_after_keeping_was_turned_off(shop: Rig) -> None:
    day, now = 86_400, int(time.time())
    about = {"epoch": shop.engine.manifest.epoch, "close": False, "likeness": 0.1}
    with closing(Ledger(shop.home / "kept.db", days=365, most=100)) as ledger:
        ledger.keep(KeptSearch(at=now - 8 * day, hash="0" * 64, photo=b"a very private photo" * 9, **about))
        ledger.keep(KeptSearch(at=now, hash="1" * 64, **about))
    with served(shop, keep="nothing", keep_days=7) as made:
        until(lambda: made.health.ready)
        assert made.search(photo(NEW), "?keep=true")[0] == 200
        until(lambda: [one.hash for one in kept(made)[0]] == ["1" * 64])
        assert not any(b"private" in path.read_bytes() for path in shop.home.glob("kept.db*"))
    for path in shop.home.glob("kept.db*"):
        path.unlink()


def test_a_damaged_file_does_not_end_a_service_that_keeps_nothing(shop: Rig) -> None:
    (shop.home / "kept.db").write_bytes(b"no database" * 1000)
    with served(shop, keep="nothing") as made:
        until(lambda: made.health.ready)
        assert made.search(photo(NEW), "?keep=true")[0] == 200
    (shop.home / "kept.db").unlink()


def test_judgements_on_results_and_labels_are_kept(keeping: Rig) -> None:
    _, answer = keeping.search(photo(KNOWN))
    head = keeping.engine.manifest.heads[0]
    label = head.labels[1].id
    assert judged(keeping, hash=answer["hash"], listing_id="shop/7", image_id="p/1") == (
        200,
        {"kept": True, "days": 30},
    )
    assert judged(keeping, hash=answer["hash"], head=head.id, label=label, right=False)[0] == 200
    assert judged(keeping, query_listing="shop/3", listing_id="shop/4", right=False)[0] == 200
    assert [(one.hash, one.query_listing, one.listing_id, one.label, one.right) for one in kept(keeping)[1]] == [
        (answer["hash"], "", "shop/7", "", True),
        (answer["hash"], "", "", label, False),
        ("", "shop/3", "shop/4", "", False),
    ]


WRONG: dict[str, tuple[dict[str, Any], int, str]] = {
    "no consent": ({"consent": False, "hash": "0" * 64, "listing_id": "a"}, 403, "consent"),
    "another epoch": ({"epoch": "ffffffffffff", "hash": "0" * 64, "listing_id": "a"}, 422, "epoch"),
    "nothing searched": ({"listing_id": "a"}, 422, "hash"),
    "two searched": ({"hash": "0" * 64, "query_listing": "b", "listing_id": "a"}, 422, "hash"),
    "no hash": ({"hash": "0" * 63 + "X", "listing_id": "a"}, 422, "hash"),
    "nothing judged": ({"hash": "0" * 64}, 422, "listing_id"),
    "two judged": ({"hash": "0" * 64, "listing_id": "a", "head": "h", "label": "l"}, 422, "listing_id"),
    "a photo without its listing": (
        {"hash": "0" * 64, "head": "colour", "label": "red", "image_id": "p"},
        422,
        "image_id",
    ),
    "a head without a label": ({"hash": "0" * 64, "listing_id": "a", "head": "colour"}, 422, "head"),
    "the listing itself": ({"query_listing": "a", "listing_id": "a"}, 422, "listing_id"),
    "unknown label": ({"hash": "0" * 64, "head": "colour", "label": "<b>"}, 422, "label"),
    "an id of spaces": ({"hash": "0" * 64, "listing_id": "a b"}, 422, "listing_id"),
    "more": ({"hash": "0" * 64, "listing_id": "a", "user": "me"}, 422, "user"),
    "too long": ({"hash": "0" * 64, "listing_id": "a" * 5_000}, 413, "body"),
}


def test_a_wrong_judgement_is_refused_by_its_field(keeping: Rig) -> None:
    for case, (fields, status, named) in WRONG.items():
        code, problem = judged(keeping, **fields)
        assert code == status, case
        assert named in problem["detail"], case
    assert kept(keeping)[1] == []


def test_without_the_setting_nothing_is_kept_and_feedback_is_refused(shop: Rig) -> None:
    assert shop.search(photo(NEW), "?keep=true")[0] == 200
    status, problem = judged(shop, hash="0" * 64, listing_id="shop/7")
    assert status == 403
    assert "search.keep" in problem["detail"]
    assert not (shop.home / "kept.db").exists()
