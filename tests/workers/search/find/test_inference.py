"""Full, starting, broken or cut off: every case answers at once, says why, and says when to come back."""

from __future__ import annotations

import json
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import msgspec
import numpy as np
import pytest
from urllib3 import encode_multipart_formdata

from engines.recognition import Predictions, RecognitionEngine
from schemas.boxes import DetectPlan
from schemas.errors import Invalid, Reject
from schemas.manifest import Manifest
from tests.engines.colour_detector import ColourDetector, grid, scene
from tests.workers.indexer.hash_topic import stream_at
from tests.workers.indexer.running import Running, counted, until
from tests.workers.search.rig import HTTP, photo, rig, served
from tests.workers.tagger.outages import Outage, guarded_store
from workers.http.serving import Health
from workers.search.find.inference import Inference
from workers.stages.detect import Looking
from workers.watching import metrics


class Gate:
    """The rig's engine behind a gate, with a fault on demand."""

    def __init__(self, engine: RecognitionEngine) -> None:
        self.inner = engine
        self.max_batch = engine.max_batch
        self.backend = engine.backend
        self.open = threading.Event()
        self.open.set()
        self.batches: list[int] = []
        self.fault: Exception | None = None

    @property
    def manifest(self) -> Manifest:
        return self.inner.manifest

    def warm_up(self) -> None:
        self.inner.warm_up()

    def infer(self, photos: np.ndarray) -> Predictions:
        assert self.open.wait(30)
        self.batches.append(len(photos))
        if self.fault is not None:
            raise self.fault
        if (photos == 255).all(axis=(1, 2, 3)).any():
            raise Invalid("engine", "non_finite", "the network gave not-a-number for a photo; leave that photo out")
        return self.inner.infer(photos)

    def close(self) -> None:
        self.inner.close()


@pytest.fixture
def gated(tmp_path):
    with rig(tmp_path) as made:
        made.add("one", {"p": photo(1)})
        made.indexed(1)
        made.server.stop()
        gate = Gate(made.engine)
        made.engine = gate
        yield made, gate
        made.engine = gate.inner


def test_a_full_queue_answers_503_and_the_others_are_answered(gated):
    made, gate = gated
    with served(made, max_waiting=3), ThreadPoolExecutor(8) as clients:
        until(lambda: made.health.ready)
        gate.open.clear()
        asked = [clients.submit(made.search, photo(i)) for i in range(3)]
        refused: list[Any] = []

        def full() -> bool:
            answer = HTTP.request("POST", made.server.url + "/v1/search?k=0")
            assert answer.status == 422, "parameters are looked at first"
            answer = HTTP.request("POST", made.server.url + "/v1/search", body=b"", headers={"content-type": ""})
            refused.append(answer)
            return answer.status == 503

        until(full)
        assert refused[-1].headers["retry-after"] == "1"
        assert json.loads(refused[-1].data)["type"] == "urn:groknet:problem:busy"
        assert made.get("/v1/listings/one")[0] == 200, "reading goes on"
        gate.open.set()
        assert [future.result()[0] for future in asked] == [200, 200, 200]
        assert made.search(photo(1))[0] == 200


@pytest.mark.parametrize("what", ["clip", "all"])
def test_each_frame_and_each_product_takes_a_slot(gated, what: str) -> None:
    """One request of three fills the service; a body without bytes is refused for that, and not for being empty."""
    made, gate = gated
    detector = ColourDetector()
    plan = DetectPlan(mode="subject", detector_id=detector.detector_id, padding=0.1, threshold=0.5, most_boxes=4)
    looking = Looking(detector, plan, made.engine.manifest.preprocess)
    body, query, kind = scene(grid(3)), "?detect=all", "image/png"
    if what == "clip":
        body, kind = encode_multipart_formdata([("photo", (f"{i}.jpg", photo(i), "image/jpeg")) for i in range(3)])
        query = "?detect=off"
    with served(made, looking=looking, max_waiting=3), ThreadPoolExecutor(1) as client:
        until(lambda: made.health.ready)
        gate.open.clear()
        asked = client.submit(made.search, body, query, kind)

        def full() -> bool:
            url = f"{made.server.url}/v1/search"
            return HTTP.request("POST", url, body=b"", headers={"content-type": ""}).status == 503

        until(full)
        gate.open.set()
        assert asked.result()[0] == 200
        assert made.search(photo(1))[0] == 200


def test_photos_that_wait_share_batches(gated):
    made, gate = gated

    def predict(data: bytes) -> tuple[int, Any]:
        answer = HTTP.request("POST", made.server.url + "/v1/predict", body=data)
        return answer.status, json.loads(answer.data)

    with served(made), ThreadPoolExecutor(8) as clients:
        until(lambda: made.health.ready)
        gate.open.clear()
        gate.batches.clear()
        asked = [clients.submit(made.search if i % 2 else predict, photo(i)) for i in range(8)]
        until(lambda: counted("groknet_queue_depth", queue="search") >= 4)
        gate.open.set()
        hashes = [future.result()[1]["hash"] for future in asked]
        assert sum(gate.batches) == 8
        assert max(gate.batches) > 1
        alone = [made.search(photo(i))[1]["hash"] for i in range(8)]
        assert hashes == alone


def test_a_photo_that_breaks_the_engine_harms_only_itself(gated):
    made, gate = gated
    health = Health()
    inference = Inference(gate, health, max_waiting=16, timeout_s=30)
    gate.open.clear()
    rng = np.random.default_rng(3)
    photos = rng.integers(0, 200, (9, 16, 16, 3), dtype=np.uint8)
    photos[5] = 255
    answers = [inference.submit(one) for one in photos]
    gate.open.set()
    inference.start()
    for i, answer in enumerate(answers):
        if i == 5:
            with pytest.raises(Invalid, match="not-a-number"):
                answer.result(30)
        else:
            assert answer.result(30).hash == made.engine.inner.infer(photos[i : i + 1]).hash_hex(0)
    inference.close()
    with pytest.raises(Reject, match="stopping"):
        inference.submit(photos[0])


def test_too_late_is_told_and_the_photo_is_dropped(gated):
    made, gate = gated
    with served(made, answer_timeout_s=0.2):
        until(lambda: made.health.ready)
        gate.open.clear()
        status, answer = made.search(photo(1))
        assert (status, answer["type"]) == (503, "urn:groknet:problem:too-slow")
        gate.open.set()
        until(lambda: made.search(photo(1))[0] == 200)


def test_a_broken_engine_ends_the_worker(gated):
    made, gate = gated
    with served(made):
        until(lambda: made.health.ready)
        gate.fault = RuntimeError("device lost")
        assert made.search(photo(1))[0] == 500
        assert made.health.failed.wait(30)
        assert made.get("/healthz")[0] == 503
        assert made.get("/readyz")[0] == 503
        status, answer = made.search(photo(1))
        assert (status, answer["type"]) == (503, "urn:groknet:problem:busy")


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def test_without_an_index_it_is_not_ready_and_says_so(gated):
    made, _ = gated
    for urls, word in (([], "indexer_urls"), ([f"http://127.0.0.1:{_free_port()}"], "cannot be reached")):
        with served(made, indexer_urls=urls):
            until(lambda: made.health.started)
            until(lambda w=word: w in made.health.waiting_for)
            assert made.get("/readyz")[0] == 503
            answer = HTTP.request("POST", made.server.url + "/v1/search", body=photo(1))
            assert answer.status == 503
            assert answer.headers["retry-after"] == "2"
            assert json.loads(answer.data)["type"] == "urn:groknet:problem:index-not-ready"
            listing = made.get("/v1/listings/one")[1]
            assert listing["freshness"]["searchable"] is None


def test_a_store_that_is_away_degrades_the_service_and_it_stays_ready(gated):
    made, _ = gated
    outage, store = Outage("store"), made.store
    made.store = guarded_store(store, outage)
    with served(made):
        until(lambda: made.get("/readyz")[0] == 200)
        outage.begin()
        until(lambda: made.get("/readyz")[1]["degraded"])
        status, answer = made.get("/readyz")
        assert (status, answer["ready"]) == (200, True)
        assert answer["degraded"] == {"store": "the store does not answer"}
        assert made.get("/v1/listings/one")[0] == 503, "this is what degraded means"
        assert metrics.REACHABLE.labels("store")._value.get() == 0
        outage.end()
        until(lambda: not made.get("/readyz")[1]["degraded"])
        assert made.get("/v1/listings/one")[0] == 200
    made.store = store


def test_an_index_of_another_epoch_is_refused(gated, tmp_path):
    made, gate = gated

    class Other(Gate):
        @property
        def manifest(self) -> Manifest:
            return msgspec.structs.replace(self.inner.manifest, epoch="ffffffffffff")

    made.engine = Other(gate.inner)
    with served(made):
        until(lambda: "ffffffffffff" in made.health.waiting_for)
        assert made.get("/readyz")[0] == 503
        status, answer = made.search(photo(1))
        assert (status, answer["type"]) == (503, "urn:groknet:problem:epoch-mismatch")


def test_two_indexers_are_both_asked(gated, tmp_path):
    """Each of them holds its part; here the same topic twice, so that every neighbour comes twice and counts once."""
    made, _ = gated
    made.add("two", {"p": photo(2)})
    second = Running(stream_at(made.home), tmp_path / "second")
    second.start()
    try:
        with served(made, indexer_urls=[made.indexer.server.url, second.server.url]):
            until(lambda: made.health.ready)
            made.indexed(2)
            found = made.search(photo(1))[1]["neighbours"]
            assert [n["listing_id"] for n in found] == ["one", "two"]
            assert len(made.get("/v1/recent")[1]["listings"]) == 2
            second.server.stop()
            assert made.search(photo(1))[0] == 503, "a part of the index would look like the whole"
    finally:
        second.stop()


def test_a_slow_upload_ends_in_time(gated):
    made, _ = gated
    with served(made, upload_timeout_s=0.2):
        until(lambda: made.health.ready)
        with socket.create_connection((made.server.host, made.server.port), timeout=20) as connection:
            head = "POST /v1/search HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n"
            connection.sendall(head.encode() + b"\xff\xd8")
            assert connection.recv(100).startswith(b"HTTP/1.1 408")


def test_eight_clients_at_once_get_right_answers(tmp_path):
    with rig(tmp_path) as made:
        for i in range(12):
            made.add(f"l{i}", {"p": photo(i, format_="PNG")})
        made.indexed(12)
        with ThreadPoolExecutor(8) as clients:
            asked = [(i % 12, clients.submit(made.search, photo(i % 12, format_="PNG"))) for i in range(120)]
            for i, future in asked:
                status, answer = future.result()
                assert status == 200
                assert answer["hash"] == made.hashes[f"l{i}", "p"]
                assert answer["neighbours"][0]["distance"] == 0
