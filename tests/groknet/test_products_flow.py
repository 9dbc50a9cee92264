"""Products from outside: `groknet run all` with the worker on, copies, edits, removals, kills and a restart."""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import urllib3

from groknet.cli.exits import Exit
from tests.groknet.conftest import Call, Cluster, start_all, write_photo

pytestmark = pytest.mark.slow

PATIENCE_S = 90.0
SEEDS = (0, 3)  # to the tiny network, these two and photo 1 differ in 9 bits or more
SETTINGS = "[products]\nenabled = true\nport = 0\nradius_bits = 2\nmost_differences = 9\n"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("home")
    (made / "groknet.toml").write_text(SETTINGS)
    return made


@pytest.fixture(scope="module")
def running(home: Path, bundle: Path) -> Iterator[list[Cluster]]:
    """The cluster that runs now, in a list, because a test replaces it."""
    now = [start_all(home, bundle)]
    try:
        now[0].wait_for("all workers are ready")
        yield now
    finally:
        now[-1].stop()


def ask(home: Path, path: str, worker: str = "search") -> tuple[int, Any]:
    said = json.loads((home / "run" / f"{worker}.json").read_text())
    answer = urllib3.request("GET", f"http://127.0.0.1:{said['port']}{path}", retries=False, timeout=20)
    return answer.status, json.loads(answer.data) if "json" in answer.headers["content-type"] else answer.data


def until(true: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not true():
        assert time.monotonic() < deadline, what
        time.sleep(0.1)


def product_of(home: Path, listing_id: str) -> str | None:
    status, found = ask(home, f"/v1/listings/{listing_id}")
    return found["product"] if status == 200 else None


def together(home: Path, *names: str) -> bool:
    found = {product_of(home, name) for name in names}
    return len(found) == 1 and None not in found


def apart(home: Path, one: str, other: str) -> bool:
    found = {product_of(home, one), product_of(home, other)}
    return len(found) == 2 and None not in found


def test_copies_are_one_product_through_edits_removals_kills_and_a_restart(
    groknet: Call, home: Path, running: list[Cluster], bundle: Path, tmp_path: Path
) -> None:
    photos = tmp_path / "photos"
    for seed in SEEDS:
        write_photo(photos / f"a/{seed}.jpg", seed)
        write_photo(photos / f"b/{seed}.jpg", seed)
    shutil.copy2(photos / f"a/{SEEDS[0]}.jpg", photos / "c.jpg")
    assert groknet("submit", "--home", home, "--wait", photos).code == Exit.OK
    until(lambda: together(home, "a/0", "b/0", "c") and together(home, "a/3", "b/3"), "copies are one product")
    assert apart(home, "a/0", "a/3")
    name = product_of(home, "a/0")
    status, product = ask(home, f"/v1/products/{name}")
    assert (status, product["size"], product["listing_ids"]) == (200, 3, ["a/0", "b/0", "c"])

    os.kill(running[-1].pid("products"), signal.SIGKILL)
    write_photo(photos / "c.jpg", 1)
    os.utime(photos / "c.jpg", ns=(1_700_000_100_000_000_000,) * 2)
    assert groknet("submit", "--home", home, "--wait", photos / "c.jpg").code == Exit.OK
    until(lambda: apart(home, "a/0", "c"), "an edit leaves the product, after a kill")
    founder = product["photo"]["listing_id"]
    survivors = sorted({"a/0", "b/0"} - {founder})
    assert groknet("remove", "--home", home, founder).code == Exit.OK
    until(lambda: ask(home, f"/v1/products/{name}")[1].get("listing_ids") == survivors, "a removal reaches the product")

    before = {one: product_of(home, one) for one in ("a/3", "b/3", "c", *survivors)}
    assert None not in before.values()
    assert running[-1].stop() == 0
    running.append(start_all(home, bundle))
    running[-1].wait_for("all workers are ready")
    assert {one: product_of(home, one) for one in before} == before


def test_the_worker_has_health_metrics_and_a_place_in_the_target_list(home: Path, running: list[Cluster]) -> None:
    assert ask(home, "/readyz", "products")[0] == 200
    shown = ask(home, "/metrics", "products")[1].decode()
    assert "groknet_products " in shown
    assert "groknet_index_vectors" not in shown
    line = next(line for line in running[-1].said if line.startswith("targets for Prometheus: "))
    targets = json.loads(urllib3.request("GET", line.rpartition(" ")[2], retries=False, timeout=20).data)
    assert {one["labels"]["worker"] for one in targets} == {"supervisor", "tagger", "indexer", "search", "products"}
