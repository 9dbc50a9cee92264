from __future__ import annotations

import json
from pathlib import Path

from groknet.cli.exits import Exit
from groknet.home.config import load_config
from groknet.home.paths import Home
from groknet.run.open_back_ends import open_stream
from schemas.occasions import decode_occasion
from schemas.topics import TOGETHER
from tests.groknet.conftest import Call
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


def test_a_file_without_an_occasion_fails(groknet: Call, tmp_path: Path) -> None:
    file = tmp_path / "empty.csv"
    file.write_text("")
    assert groknet("together", "import", "--home", tmp_path / "home", file).code == Exit.FAILED
    assert groknet("together", "import", "--home", tmp_path / "home", tmp_path / "none.csv").code == Exit.NOT_FOUND
