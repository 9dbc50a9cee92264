"""What an operator sees of a tagger: lag beside a naive count, what is in hand, gauges that are true when idle."""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import replace

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from schemas.topics import RETRY_DELAYS_S, UPLOADED
from tests.workers.tagger.outages import Outage, guarded_store, guarded_stream
from tests.workers.tagger.rig import Rig, event, jpeg
from tests.workers.tagger.test_hold import until
from tests.workers.tagger.test_lane import SlowHost, slow
from workers.http.serving import Health, operations_routes
from workers.streams import Partition, RebalanceListener
from workers.tagger import GROUP, RETRY_GROUP, InHand
from workers.tagger.watch import lag, oldest_due_s
from workers.watching import metrics

RETRY_30S, RETRY_10M = RETRY_DELAYS_S


def sample(metric, **labels: str) -> float:
    found = [s for one in metric.collect() for s in one.samples if s.labels == labels]
    return found[0].value if found else -1.0


def test_lag_is_what_a_count_of_the_records_says(rig: Rig) -> None:
    rig.send(*(event(f"a/{i}", [jpeg(i)]) for i in range(40)))
    ends = rig.admin.end_offsets(UPLOADED)
    consumer = rig.stream.consumer(GROUP, [UPLOADED], RebalanceListener())
    while not (got := consumer.poll(0.1, 100)):
        pass
    done = {p: end // 2 for p, end in ends.items() if end > 1}
    consumer.commit(done)
    consumer.close()
    assert got
    some = frozenset(sorted(ends)[::2])
    records = [r for r in rig.admin.read(UPLOADED) if r.partition in some and r.offset >= done.get(r.partition, 0)]
    count, seconds = lag(rig.admin, GROUP, UPLOADED, some)
    assert count == len(records)
    oldest = min(record.timestamp_ms for record in records) / 1000
    assert oldest <= time.time() - seconds <= oldest + 1.0
    assert lag(rig.admin, GROUP, UPLOADED, frozenset()) == (0, 0.0)


def test_a_retry_lags_only_once_it_is_due() -> None:
    one = Partition(RETRY_10M, 0)
    assert oldest_due_s({one: 1_000_000}, RETRY_10M, now=1_000 + 599.0) == 0.0
    assert oldest_due_s({one: 1_000_000}, RETRY_10M, now=1_000 + 660.0) == pytest.approx(60.0)
    assert oldest_due_s({Partition(UPLOADED, 0): 1_000_000}, UPLOADED, now=1_005.0) == pytest.approx(5.0)
    assert oldest_due_s({}, UPLOADED, now=5.0) == 0.0


def test_what_is_in_hand_can_be_asked_and_gauges_are_true_when_idle(rig: Rig) -> None:
    host, in_hand, health = SlowHost(rig.intake), InHand(), Health()
    client = TestClient(Starlette(routes=[*operations_routes(health, "tagger"), *in_hand.routes()]))
    with rig.tagger(intake=host, in_hand=in_hand, health=health) as failure:
        rig.send(slow("slow/1"), event("quick", [jpeg(1)]))
        until(lambda: len(list(rig.store.scan())) == 1, "the quick one")
        (one,) = client.get("/v1/in-hand", params={"listing_id": "slow/1"}).json()["events"]
        assert (one["topic"], one["stage"], one["attempt"], one["why"]) == (UPLOADED, "prepare", 1, "")
        assert 0 <= time.time() - one["since"] < 60
        until(lambda: not client.get("/v1/in-hand", params={"listing_id": "quick"}).json()["events"], "its end")
        assert sample(metrics.IN_HAND, lane="live") == 1
        assert sample(metrics.OLDEST_IN_HAND) > 0
        until(lambda: sample(metrics.LAG_RECORDS, topic=UPLOADED) == 1, "lag of one record")
        assert sample(metrics.ASSIGNED, topic=UPLOADED) == 8
        until(lambda: client.get("/readyz").json()["ready"], "readiness: both lanes have joined")
        host.go.set()
        rig.wait(failure)
        until(lambda: sample(metrics.LAG_RECORDS, topic=UPLOADED) == 0, "no lag")
        assert sample(metrics.LAG_SECONDS, topic=UPLOADED) == 0
        assert sample(metrics.IN_HAND, lane="live") == 0
        assert sample(metrics.OLDEST_IN_HAND) == 0
        assert [sample(metrics.QUEUE_DEPTH, queue=q) for q in ("prepare", "batch", "settle", "waiting")] == [0] * 4


def test_a_hold_is_seen_from_outside(rig: Rig) -> None:
    outage, in_hand, health = Outage("store"), InHand(), Health()
    client = TestClient(Starlette(routes=[*operations_routes(health, "tagger"), *in_hand.routes()]))
    with rig.tagger(store=guarded_store(rig.store, outage), in_hand=in_hand, health=health) as failure:
        until(lambda: health.ready, "readiness")
        outage.begin()
        rig.send(event("a", [jpeg(1)]))
        until(lambda: health.hold is not None, "the hold")
        answer = client.get("/readyz")
        assert answer.status_code == 503
        assert answer.json()["hold"]["service"] == "store"
        assert answer.json()["waiting_for"] == "the store, which does not answer"
        assert client.get("/healthz").status_code == 200, "a restart would not help"
        assert (sample(metrics.HOLD, service="store"), sample(metrics.REACHABLE, service="store")) == (1, 0)
        assert (sample(metrics.HOLD, service="stream"), sample(metrics.REACHABLE, service="stream")) == (0, 1)
        outage.end()
        rig.wait(failure)
        until(lambda: client.get("/readyz").status_code == 200, "readiness again")
        assert (sample(metrics.HOLD, service="store"), sample(metrics.REACHABLE, service="store")) == (0, 1)


def test_a_tagger_without_a_partition_is_ready(rig: Rig) -> None:
    """The group has as many members as the topic has partitions, and one more."""
    member = [rig.stream.consumer(GROUP, [UPLOADED], RebalanceListener()) for _ in rig.admin.end_offsets(UPLOADED)]
    health, alone = Health(), threading.Event()

    def keep_joined() -> None:
        while not alone.is_set():
            for one in member:
                one.poll(0.01, 1)

    others = threading.Thread(target=keep_joined)
    others.start()
    try:
        until(lambda: all(one.joined for one in member), "the others")
        with rig.tagger(health=health) as failure:
            until(lambda: health.ready, "readiness")
            until(lambda: sample(metrics.ASSIGNED, topic=UPLOADED) == 0, "no partition")
            assert health.accepts
            assert not failure
    finally:
        alone.set()
        others.join()
        for one in member:
            one.close()


def test_a_tagger_is_not_ready_before_both_lanes_have_joined(rig: Rig) -> None:
    outage, health = Outage("stream"), Health()
    outage.begin()
    client = TestClient(Starlette(routes=operations_routes(health, "tagger")))
    with rig.tagger(stream=replace(rig.stream, consumer=guarded_stream(rig.stream, outage).consumer), health=health):
        until(lambda: outage.refused >= 4, "tries to join")
        answer = client.get("/readyz")
        assert (answer.status_code, answer.json()["waiting_for"]) == (503, "its consumer groups, which it joins")
        outage.end()
        until(lambda: client.get("/readyz").status_code == 200, "readiness")


def test_the_health_judges_the_loop_of_every_lane(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """A lane that is stuck in the stream stops the heartbeat, although the other lane runs."""
    monkeypatch.setattr("workers.tagger.tagger._STUCK_S", 0.5)  # a minute otherwise
    health, free = Health(heartbeat_limit_s=0.5), threading.Event()

    class Stuck:
        def __init__(self, behind) -> None:
            self._behind = behind

        def __getattr__(self, name: str):
            return getattr(self._behind, name)

        def poll(self, timeout_s: float, most: int):
            if health.ready:
                free.wait(60)
            return self._behind.poll(timeout_s, most)

    def consumer(group: str, *arguments, **named):
        made = rig.stream.consumer(group, *arguments, **named)
        return Stuck(made) if group == RETRY_GROUP else made

    client = TestClient(Starlette(routes=operations_routes(health, "tagger")))
    with rig.tagger(stream=replace(rig.stream, consumer=consumer), health=health) as failure:
        try:
            until(lambda: client.get("/healthz").status_code == 503, "the heartbeat to stop")
            assert not failure
        finally:
            free.set()


def test_events_write_no_line_each(rig: Rig, caplog) -> None:
    caplog.set_level(logging.INFO, logger="workers.tagger")
    rig.send(*(event(f"a/{i}", [jpeg(i)]) for i in range(50)))
    with rig.tagger() as failure:
        rig.wait(failure)
    (line,) = [record.getMessage() for record in caplog.records]
    assert line.startswith("last minute: 50 stored; 0 in hand; not committed: ")
