"""What `groknet doctor` says about workers: late events, holds, and taggers that were given up."""

from __future__ import annotations

from starlette.applications import Starlette

from groknet.diagnosis.lag import measure
from groknet.diagnosis.worker_checks import lag_check
from groknet.home.paths import Home
from groknet.home.running import Hold as HoldSaid
from groknet.home.running import Lock, Readiness, Running, write_running
from schemas.topics import UPLOADED
from tests.groknet.conftest import Call
from tests.groknet.diagnosis.flow import LONG, NOW, SHORT, Flow
from workers.http.serving import Health, operations_routes, serve
from workers.watching import metrics


def test_late_events_fail_unless_an_outage_is_the_reason(flow: Flow) -> None:
    flow.send(UPLOADED, "a")
    flow.send(LONG, "a")
    live, retry = flow.records(UPLOADED)[0].timestamp_ms, flow.records(LONG)[0].timestamp_ms
    running = Running(pid=1, host="127.0.0.1", port=1)
    held = Readiness(ready=False, hold=HoldSaid(service="store", since=0.0))

    def check(topic: str, now_ms: int, says: Readiness | None = None) -> tuple[str, str, str]:
        taggers = {} if says is None else {"tagger": (running, says)}
        found = lag_check(measure(flow.admin, topic, now_ms), now_ms, taggers, flow.home)
        return found.state, found.detail, found.remedy

    assert check(UPLOADED, live + 60_000)[:2] == ("ok", "1 waiting, the oldest for 60 s")
    state, detail, remedy = check(UPLOADED, live + 61_000)
    assert (state, detail) == ("failed", "1 waiting, the oldest for 61 s")
    assert f"groknet run all --home {flow.home.root}" in remedy
    assert "groknet run tagger" in check(UPLOADED, live + 61_000, Readiness(ready=True))[2]
    assert check(UPLOADED, live + 61_000, held)[0] == "note"
    assert check(LONG, retry + 599_000)[:2] == ("ok", "1 waiting, 0 due")
    assert check(LONG, retry + 640_000)[:2] == ("ok", "1 waiting, 1 due, the oldest due since 40 s")
    assert check(LONG, retry + 661_000)[0] == "failed"
    assert check(SHORT, live)[:2] == ("ok", "nothing waiting")


def doctor(groknet: Call, home: Home) -> dict[str, dict[str, str]]:
    return {line["check"]: line for line in groknet("doctor", "--home", home.root, "--json").lines}


def test_the_doctor_names_each_tagger_its_hold_and_those_that_were_given_up(groknet: Call, flow: Flow) -> None:
    health, holding = Health(), Health()
    holding.mark_started()
    holding.mark_ready()
    holding.hold = {"service": "store", "since": NOW, "why": "no node answers"}
    apps = {
        "tagger": Starlette(routes=operations_routes(health, "tagger")),
        "tagger-2": Starlette(routes=operations_routes(holding, "tagger")),
    }
    servers = {name: serve(app, "127.0.0.1", 0) for name, app in apps.items()}
    locks = [Lock(flow.home, name) for name in (*apps, "supervisor")]
    (flow.home.run / "gave-up.json").write_text('{"tagger-3": "no such keyspace", "products": "no such keyspace"}')
    for name, server in servers.items():
        write_running(flow.home, name, Running(pid=1, host=server.host, port=server.port))
    try:
        health.waiting_for = "the stream: no broker answers"
        found = doctor(groknet, flow.home)
        assert found["tagger"]["state"] == found["tagger-2"]["state"] == found["tagger-3"]["state"] == "failed"
        assert "it waits for the stream: no broker answers" in found["tagger"]["detail"]
        assert "the store does not answer: no node answers" in found["tagger-2"]["detail"]
        for worker in ("tagger-3", "products"):
            assert "its supervisor gave it up: no such keyspace" in found[worker]["detail"]
            assert f"then: groknet run {worker.partition('-')[0]} --home" in found[worker]["remedy"]
        assert found[UPLOADED]["detail"] == "nothing waiting"
        health.mark_started()
        health.mark_unready("tagger of /elsewhere, which does the work")
        health.standby = True
        standby = doctor(groknet, flow.home)["tagger"]
        assert standby["state"] == "ok"
        assert "it waits for tagger of /elsewhere" in standby["detail"]
        health.standby = False
        health.mark_ready()
        metrics.ASSIGNED.labels(UPLOADED).set(5)
        tagger = doctor(groknet, flow.home)["tagger"]
        assert tagger["state"] == "ok"
        assert f"; partitions 5 of {UPLOADED}" in tagger["detail"]
    finally:
        for server in servers.values():
            server.stop()
        for lock in locks:
            lock.release()
    assert {name for name in doctor(groknet, flow.home) if name.startswith("tagger")} == {"tagger"}
