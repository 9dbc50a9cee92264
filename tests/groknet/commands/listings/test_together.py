from __future__ import annotations

import base64
import json
import time
from pathlib import Path

import pytest
import urllib3

from groknet.cli.exits import Exit
from groknet.home.config import load_config
from groknet.home.paths import Home
from groknet.home.running import read_running
from groknet.run.open_back_ends import open_stream
from schemas.occasions import decode_occasion
from schemas.topics import TOGETHER
from tests.groknet.conftest import START_S, Call, Cluster
from tests.workers.search.rig import photo
from workers.streams import Record

TABLE = "order_id,product_id\n1,x\n1,y\n2,x\n3,y\n3,z z\n"


def sent(home: Path) -> list[Record]:
    with open_stream(load_config(Home(home), {}), "test") as stream:
        admin = stream.admin()
        records = list(admin.read(TOGETHER))
        admin.close()
    return records


def test_occasions_are_sent_under_their_id_and_problems_are_named(groknet: Call, tmp_path: Path) -> None:
    home, file = tmp_path / "home", tmp_path / "orders.csv"
    file.write_text(TABLE)
    answer = groknet("together", "import", "--home", home, "--prefix", "acme/", file)
    assert answer.code == Exit.OK
    assert answer.out == "3 read: 1 sent, 1 refused, 1 left out\n"
    assert "orders.csv, line 5" in answer.err
    (record,) = sent(home)
    assert record.key == b"1"
    occasion = decode_occasion(record.value)
    assert (occasion.kind, occasion.listing_ids) == ("cart", ["acme/x", "acme/y"])
    groknet("together", "import", "--home", home, "--prefix", "acme/", file)
    assert len({record.value for record in sent(home)}) == 1, "the same file again sends the same"


def test_a_dry_run_sends_nothing_and_json_has_every_problem(groknet: Call, tmp_path: Path) -> None:
    home, file = tmp_path / "home", tmp_path / "orders.csv"
    file.write_text(TABLE)
    answer = groknet("together", "import", "--home", home, "--dry-run", "--json", file)
    *problems, total = [json.loads(line) for line in answer.out.splitlines()]
    assert [(one["problem"], one["place"]) for one in problems] == [("left_out", "line 4"), ("refused", "line 5")]
    assert total == {"read": 3, "sent": 1, "refused": 1, "left_out": 1}
    assert not home.exists()


def test_occasions_that_are_too_old_are_left_out_and_counted(groknet: Call, tmp_path: Path) -> None:
    home, file, day_us = tmp_path / "home", tmp_path / "orders.jsonl", 24 * 3600 * 1_000_000
    now_us = int(time.time() * 1e6)
    ages = {"new": 0, "old": 91, "very-old": 400, "still": 89}
    lines = [
        {"id": name, "listing_ids": ["x", "y"], "event_time": now_us - days * day_us} for name, days in ages.items()
    ]
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    answer = groknet("together", "import", "--home", home, file)
    assert (answer.code, answer.out) == (Exit.OK, "4 read: 2 sent, 0 refused, 2 left out\n")
    assert "2 of the occasions that are left out: older than 90 days" in answer.err
    assert sorted(record.key or b"" for record in sent(home)) == [b"new", b"still"]
    answer = groknet("together", "import", "--home", home, "--json", file)
    *problems, _total = [json.loads(line) for line in answer.out.splitlines()]
    assert [one["place"] for one in problems] == ["occasion 2", "occasion 3"]
    assert {one["why"] for one in problems} == {"older than 90 days, so it does not count"}


def test_a_file_without_an_occasion_fails(groknet: Call, tmp_path: Path) -> None:
    file = tmp_path / "empty.csv"
    file.write_text("")
    assert groknet("together", "import", "--home", tmp_path / "home", file).code == Exit.FAILED
    assert groknet("together", "import", "--home", tmp_path / "home", tmp_path / "none.csv").code == Exit.NOT_FOUND


@pytest.mark.slow
def test_on_a_running_home_a_feed_of_prices_and_orders_is_answered_over_http(
    cluster: Cluster, groknet: Call, tmp_path: Path
) -> None:
    """From outside: events of six sellers of one mug, orders in which a lamp was, and what the service then answers."""
    mug, lamp = (base64.b64encode(photo(seed)).decode() for seed in (1, 3))  # 59 bits apart
    event = {"type": "created", "event_time": 1_790_000_000_000_001}
    listings = [
        event
        | {"event_id": f"e{i}", "listing_id": f"mug/{i}", "images": [{"image_id": "p", "data": mug}]}
        | {"seller_id": f"seller-{i}", "price": {"amount": f"{10 + i}.00", "currency": "EUR"}}
        for i in range(6)
    ]
    listings.append(event | {"event_id": "l", "listing_id": "lamp", "images": [{"image_id": "p", "data": lamp}]})
    events, orders = tmp_path / "events.ndjson", tmp_path / "orders.csv"
    events.write_text("\n".join(json.dumps(one) for one in listings))
    orders.write_text("order_id,product_id\n" + "".join(f"{i},mug/0\n{i},lamp\n" for i in range(3)))
    assert groknet("submit", "--home", cluster.home, "--wait", events).code == Exit.OK
    assert groknet("together", "import", "--home", cluster.home, orders).code == Exit.OK
    running = read_running(Home(cluster.home), "search")
    assert running is not None

    def ask(path: str) -> dict:
        answer = urllib3.request("GET", running.url + path)
        assert answer.status in (200, 503), answer.data
        return json.loads(answer.data)

    deadline = time.monotonic() + START_S
    while ask("/v1/listings/mug%2F0/goes-with").get("occasions") != 3 and time.monotonic() < deadline:
        time.sleep(0.05)
    (companion,) = ask("/v1/listings/mug%2F0/goes-with")["companions"]
    assert (companion["listing_id"], companion["from"], companion["together"]) == ("lamp", "counts", 3)
    price = ask("/v1/listings/mug%2F0/price")["price"]
    assert price["point"] == "12.92", "the geometric mean of 11, 12, 13, 14 and 15"
    assert (price["sellers"], price["from"], price["currency"]) == (5, "copies", "EUR")
    groknet("remove", "--home", cluster.home, "--wait", "lamp")
    assert ask("/v1/listings/mug%2F0/goes-with")["companions"] == []
