"""An indexer that is started again and finds its port taken: the search service finds it at its new one."""

from __future__ import annotations

import socket
import time
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import urllib3

from groknet.run.open_back_ends import make_topics
from schemas.manifest import load_manifest
from schemas.topics import topics_for
from tests.faults.cluster import Cluster
from workers.streams import build_stream

pytestmark = pytest.mark.slow

BUNDLE = Path(__file__).parents[2] / "training" / "bundles" / "demo"
WITHIN_S = 60.0


def ready(url: str) -> bool:
    return urllib3.request("GET", f"{url}/readyz", retries=False, timeout=5).status == 200


def wait(done, what: str) -> None:
    deadline = time.monotonic() + WITHIN_S
    while not done():
        assert time.monotonic() < deadline, what
        time.sleep(0.1)


def test_search_follows_an_indexer_to_another_port_without_a_restart(tmp_path: Path) -> None:
    make_topics(build_stream(f"sqlite:///{tmp_path}/stream.db", "faults"), topics_for(load_manifest(BUNDLE).epoch))
    cluster = Cluster(tmp_path, bundle=BUNDLE)
    try:
        for worker in ("indexer", "search"):
            cluster.start(worker)
        search, before = cluster.url("search"), cluster.url("indexer")
        cluster.leave("indexer")
        wait(lambda: not ready(search), "search never noticed that the indexer is away")
        with socket.create_server(("127.0.0.1", urlsplit(before).port or 0)):  # another program takes the port
            cluster.start("indexer")
            assert cluster.url("indexer") != before
            wait(lambda: ready(search), "search does not find the indexer at its new port")
            found = urllib3.request("GET", f"{search}/v1/recent?n=3", retries=False, timeout=5)
            assert found.status == 200, found.data
        assert cluster.url("search") == search
    finally:
        cluster.stop()
