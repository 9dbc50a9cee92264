"""`groknet where`, on an embedded stream that no worker reads."""

from __future__ import annotations

import time

import msgspec
from starlette.applications import Starlette

from groknet.cli.exits import Exit
from groknet.cli.terminal import local_time
from groknet.diagnosis.whereabouts import _read
from groknet.home.running import Lock, Running, write_running
from schemas.dead_letters import DeadLetter
from schemas.topics import DEAD_LETTERS, UPLOADED
from tests.groknet.conftest import Call
from tests.groknet.diagnosis.flow import LONG, TIMED_OUT, Flow, clock
from workers.http.serving import serve
from workers.stages.job import Job
from workers.streams import Partition, Record
from workers.tagger import GROUP, InHand


def test_nothing_is_known_of_a_listing_that_was_never_sent(groknet: Call, flow: Flow) -> None:
    flow.send(UPLOADED, "shop/2")
    answer = groknet("where", "--home", flow.home.root, "shop/1")
    assert answer.code == Exit.NOT_FOUND
    assert "nothing is known of shop/1" in answer.err
    assert groknet("where", "--home", flow.home.root / "no", "shop/1").code == Exit.NOT_FOUND


def test_a_listing_that_waits_for_a_tagger(groknet: Call, flow: Flow) -> None:
    for _ in range(3):
        flow.send(UPLOADED, "shop/1")
    flow.send(UPLOADED, "shop/2")
    record = next(one for one in flow.records(UPLOADED) if one.key == b"shop/1")
    answer = groknet("where", "--home", flow.home.root, "--json", "shop/1")
    assert answer.code == Exit.OK
    assert [(one["partition"], one["before"]) for one in answer.json["waiting"]] == [
        (record.partition.number, record.offset + later) for later in range(3)
    ]
    assert answer.json["waiting"][0]["since"] == record.timestamp_ms / 1000
    flow.commit(GROUP, UPLOADED, {record.partition: record.offset + 2})
    text = groknet("where", "--home", flow.home.root, "shop/1").out
    assert text.startswith("shop/1 waits in listings.uploaded since ")
    assert "it is the next of its partition" in text.splitlines()[0]
    flow.commit(GROUP, UPLOADED, {record.partition: record.offset + 3})
    assert groknet("where", "--home", flow.home.root, "shop/1").code == Exit.NOT_FOUND


def test_a_producer_without_keys_is_found_by_the_value(groknet: Call, flow: Flow) -> None:
    flow.send(UPLOADED, "shop/1", key=False)
    flow.send(UPLOADED, "shop/2", key=False)
    answer = groknet("where", "--home", flow.home.root, "--json", "shop/1")
    assert (answer.code, len(answer.json["waiting"])) == (Exit.OK, 1)


def test_a_retry_says_why_it_waits_and_until_when(groknet: Call, flow: Flow) -> None:
    flow.send(LONG, "shop/1", headers=TIMED_OUT)
    since = flow.records(LONG)[0].timestamp_ms / 1000
    first, *lines = groknet("where", "--home", flow.home.root, "shop/1").out.splitlines()
    now = time.time()
    assert first == (
        f"shop/1 waits in {LONG} since {local_time(since, now)}, because its photo's host timed out;"
        f" it is tried next at {local_time(since + 600, now)}"
    )
    assert first.endswith(clock(since + 600))
    assert any(line.lstrip().startswith("on the way") and "attempt 2" in line for line in lines)
    plain = groknet("where", "--home", flow.home.root, "--json", "shop/1").json
    assert plain["sentence"] == first
    assert (plain["waiting"][0]["why"], plain["waiting"][0]["due"]) == ("fetch: timeout", since + 600)


def test_a_dead_letter_says_why_and_a_stranger_does_not_steer_the_terminal(groknet: Call, flow: Flow) -> None:
    letter = DeadLetter(
        topic=UPLOADED,
        partition=0,
        offset=0,
        timestamp_ms=0,
        group=GROUP,
        stage="decode",
        error="undecodable",
        message="not\x1b[2J JSON",
        attempt=1,
        first_failed_at_ms=0,
        failed_at_ms=time.time_ns() // 1_000_000,
        model_version="m",
        worker_version="w",
    )
    flow.send(DEAD_LETTERS, "shop/1", headers=letter.headers())
    flow.send(DEAD_LETTERS, "shop/2", headers=(*letter.headers(), ("groknet.dlq.replayable", b"no")))
    answer = groknet("where", "--home", flow.home.root, "shop/1")
    assert answer.code == Exit.OK
    assert r"decode undecodable, not\x1b[2J JSON" in answer.out
    assert "\x1b" not in answer.out
    assert "`groknet dlq replay` sends it again" in answer.out
    assert "its producer must send it again" in groknet("where", "--home", flow.home.root, "shop/2").out


def test_an_event_in_hand_is_asked_of_every_tagger(groknet: Call, flow: Flow) -> None:
    flow.send(UPLOADED, "a/1 &b")
    record = flow.records(UPLOADED)[0]

    job = Job(record=record, attempt=1, stage="store", why="the store does not answer")
    in_hand = InHand()
    in_hand.add([job])
    server = serve(Starlette(routes=in_hand.routes()), "127.0.0.1", 0)
    lock = Lock(flow.home, "tagger-2")
    write_running(flow.home, "tagger-2", Running(pid=1, host=server.host, port=server.port))
    try:
        answer = groknet("where", "--home", flow.home.root, "--json", "a/1 &b").json
        assert answer["in_hand"][0]["since"] == round(job.taken, 3)
        assert answer["sentence"].startswith("a/1 &b is in hand of tagger-2 since ")
        assert "at stage store, where it waits: the store does not answer" in answer["sentence"]
        assert answer["waiting"] == []
        assert groknet("where", "--home", flow.home.root, "a/1").code == Exit.NOT_FOUND
        in_hand.remove([job])
        assert len(groknet("where", "--home", flow.home.root, "--json", "a/1 &b").json["waiting"]) == 1
    finally:
        server.stop()
        lock.release()


def test_a_service_that_is_away_is_no_proof_that_nothing_is_known(groknet: Call, flow: Flow) -> None:
    (flow.home.root / "store.db").mkdir()
    answer = groknet("where", "--home", flow.home.root, "shop/1")
    assert answer.code == Exit.NOT_RUNNING
    assert "store: " in answer.err
    flow.send(UPLOADED, "shop/1")
    answer = groknet("where", "--home", flow.home.root, "shop/1")
    assert answer.code == Exit.OK
    assert "not asked    store: " in answer.out


# what a tagger of today would need an outage for -------------------------------------------------------------------


# lag ----------------------------------------------------------------------------------------------------------------


def test_an_event_in_a_dialect_is_read_as_the_tagger_reads_it() -> None:
    event = {"event_id": "e", "listing_id": "l", "event_time": "2025-01-01T00:00:00.5Z", "type": "removed"}
    for value in (event, {"specversion": "1.0", "data": event}):
        record = Record(Partition(UPLOADED, 0), 0, 0, None, msgspec.json.encode(value))
        assert (_read(record).listing_id, _read(record).event_time) == ("l", 1_735_689_600_500_000)
    assert _read(Record(Partition(UPLOADED, 0), 0, 0, None, b"{")).event_time == 0
