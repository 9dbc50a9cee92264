"""`groknet where` and the lag of `groknet doctor`, on an embedded stream that no worker reads."""

from __future__ import annotations

import random
import sqlite3
import time
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path

import msgspec
import pytest
from starlette.applications import Starlette

from groknet.cli.exits import Exit
from groknet.cli.terminal import duration, local_time, shown
from groknet.diagnosis.lag import measure
from groknet.diagnosis.where_text import details, sentence
from groknet.diagnosis.whereabouts import Dead, Indexed, Patience, Stored, Waiting, Whereabouts
from groknet.diagnosis.worker_checks import lag_check
from groknet.home.config import load_config
from groknet.home.paths import Home
from groknet.home.running import Hold as HoldSaid
from groknet.home.running import Lock, Readiness, Running, write_running
from groknet.run.open_back_ends import open_stream
from schemas.dead_letters import DeadLetter
from schemas.envelope import Headers
from schemas.topics import DEAD_LETTERS, RETRY_DELAYS_S, UPLOADED
from tests.groknet.conftest import Call
from workers import metrics
from workers.serving import Health, operations_routes, serve
from workers.stages.job import Job
from workers.streams import Partition, RebalanceListener, Record, Stream
from workers.tagger import GROUP, RETRY_GROUP, InHand

SHORT, LONG = RETRY_DELAYS_S
TIMED_OUT: Headers = (("groknet.attempt", b"2"), ("groknet.retry.error", b"fetch: timeout"))


class Flow:
    """A home with a stream."""

    def __init__(self, home: Home, stream: Stream) -> None:
        self.home = home
        self.stream = stream
        self.admin = stream.admin()
        self._producer = stream.producer()

    def send(
        self, topic: str, listing_id: str, *, key: bool = True, headers: Headers = (), event_time: int = 1
    ) -> None:
        value = msgspec.json.encode({"listing_id": listing_id, "event_time": event_time, "images": []})
        self._producer.send(topic, listing_id.encode() if key else None, value, headers).wait(10)

    def records(self, topic: str) -> list[Record]:
        return sorted(self.admin.read(topic), key=lambda record: (record.partition, record.offset))

    def commit(self, group: str, topic: str, offsets: dict[Partition, int]) -> None:
        consumer = self.stream.consumer(group, [topic], RebalanceListener())
        while not consumer.poll(0.1, 1000):
            pass
        consumer.commit(offsets)
        consumer.close()

    def spread(self, topic: str, stamps: dict[tuple[int, int], int]) -> None:
        """Let records be of other times: (partition, offset) to UTC milliseconds."""
        with sqlite3.connect(self.home.root / "stream.db") as db:
            ids = dict(db.execute("SELECT number, id FROM partitions WHERE topic = ?", (topic,)).fetchall())
            for (number, offset), stamp in stamps.items():
                position = (ids[number] << 40) + offset
                db.execute("UPDATE records SET timestamp_ms = ? WHERE position = ?", (stamp, position))
        db.close()

    def close(self) -> None:
        self._producer.close()
        self.admin.close()


@pytest.fixture
def flow(tmp_path: Path) -> Iterator[Flow]:
    home = Home(tmp_path / "home").make()
    with open_stream(load_config(home), "test") as stream:
        made = Flow(home, stream)
        yield made
        made.close()


def clock(seconds: float) -> str:
    return datetime.fromtimestamp(seconds).strftime("%H:%M:%S")


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

NOW = 1_760_000_000.0
COMPLETE = Stored(status="complete", event_time=int((NOW - 100) * 1e6), model_version="m1", stored_at=int(NOW * 1e6))


def dead(**changes: object) -> Dead:
    letter = Dead(
        id="0:1",
        at=NOW - 50,
        stage="decode",
        error="undecodable",
        message="no JSON",
        image_id=None,
        event_time=COMPLETE.event_time + 1,
        replayable=True,
        replayed=False,
    )
    return msgspec.structs.replace(letter, **changes)


def waiting(**changes: object) -> Waiting:
    event = Waiting(topic=UPLOADED, partition=0, offset=7, since=NOW - 5, before=1, attempt=1, event_time=1)
    return msgspec.structs.replace(event, **changes)


@pytest.mark.parametrize(
    ("found", "said"),
    [
        ({"stored": COMPLETE, "indexed": Indexed(held=COMPLETE.event_time, removed=0)}, "is stored and searchable ("),
        ({"stored": COMPLETE, "indexed": Indexed(held=0, removed=0)}, "and not searchable yet"),
        ({"stored": COMPLETE}, "whether it is searchable is not known"),
        (
            {"stored": COMPLETE, "indexed": Indexed(held=COMPLETE.event_time, removed=0), "dead": [dead()]},
            "searchable (event of " + clock(NOW - 100) + "); of a newer event it became a dead letter",
        ),
        ({"stored": COMPLETE, "waiting": [waiting(done=True)]}, "x is stored"),
        ({"waiting": [waiting()]}, "1 event is before it"),
        ({"waiting": [waiting(before=12)]}, "12 events are before it"),
        ({"waiting": [waiting(), waiting(event_time=9, before=4)]}, "4 events are before it (1 more of its events"),
        ({"waiting": [waiting(topic=SHORT, due=NOW - 40, why="fetch: http_503")]}, "host answered 503; it was due at"),
        ({"waiting": [waiting(topic=SHORT, due=NOW - 40, why="store: torn_listing")]}, "40 s ago"),
        ({"dead": [dead(replayed=True)]}, "it was sent again since"),
        (
            {"indexed": Indexed(held=COMPLETE.event_time, removed=0), "unknown": {"store": "no node answers"}},
            "is searchable (event of " + clock(NOW - 100) + "); whether something newer is stored is not known",
        ),
        ({"indexed": Indexed(held=9, removed=0)}, "is not stored and not on the way, but is searchable"),
        ({"stored": Stored(status="removed", event_time=5), "indexed": Indexed(held=0, removed=5)}, "x was removed ("),
        ({"stored": Stored(status="removed", event_time=5), "indexed": Indexed(held=4, removed=0)}, "still holds it"),
    ],
)
def test_one_sentence_says_where_it_is(found: dict[str, object], said: str) -> None:
    text = sentence(Whereabouts(listing_id="x", **found), NOW)  # type: ignore[arg-type]
    assert said in text
    assert text.startswith("x ")


def test_an_older_dead_letter_is_history() -> None:
    old = dead(event_time=COMPLETE.event_time - 1)
    found = Whereabouts(
        listing_id="x", stored=COMPLETE, indexed=Indexed(held=COMPLETE.event_time, removed=0), dead=[old]
    )
    assert "dead letter" not in sentence(found, NOW)
    assert sum(line.startswith("dead letter") for line in details(found, NOW)) == 1


def test_a_long_reading_says_how_far_it_is() -> None:
    said: list[str] = []
    patience = Patience(said.append, first_s=0.0, every_s=3600.0)
    for step in ("1 of 3", "2 of 3", "3 of 3"):
        patience(step)
    assert said == ["1 of 3"]


def test_words_for_times_and_strange_text() -> None:
    assert [duration(s) for s in (0.4, 119, 120, 7199, 7200)] == ["0 s", "119 s", "2 min", "119 min", "2 h"]
    assert local_time(NOW, NOW) == clock(NOW)
    assert local_time(NOW, NOW + 200_000) == datetime.fromtimestamp(NOW).strftime("%Y-%m-%d %H:%M:%S")
    assert local_time(2.0**62, NOW) == "a time that no calendar has"
    assert shown("mug ☕\r\n\x1b]0;x\x07\u202e") == r"mug ☕\r\n\x1b]0;x\x07\u202e"


# lag ----------------------------------------------------------------------------------------------------------------


def brute_force(records: Sequence[Record], done: dict[Partition, int], due_ms: int) -> tuple[int, int, int]:
    left = [record for record in records if record.offset >= done.get(record.partition, 0)]
    return len(left), sum(r.timestamp_ms <= due_ms for r in left), min(r.timestamp_ms for r in left)


@pytest.mark.parametrize("seed", range(4))
def test_due_retries_are_counted_as_a_reading_of_all_would(flow: Flow, seed: int) -> None:
    chance = random.Random(seed)
    for i in range(60):
        flow.send(LONG, f"l/{i}")
    records = flow.records(LONG)
    stamps = sorted(chance.randrange(1_000_000, 2_000_000) for _ in records)
    chance.shuffle(records)
    by_partition: dict[int, list[int]] = {}
    for record, stamp in zip(records, stamps, strict=True):
        by_partition.setdefault(record.partition.number, []).append(stamp)
    flow.spread(LONG, {(n, offset): s for n, all_ in by_partition.items() for offset, s in enumerate(sorted(all_))})
    done = {record.partition: record.offset for record in chance.sample(records, 3)}
    flow.commit(GROUP, LONG, done)
    for now_ms in (1_000_000, 1_800_000, 2_100_000, 2_400_000, 3_000_000):
        waiting_, due, oldest = brute_force(flow.records(LONG), done, now_ms - 600_000)
        lag = measure(flow.admin, LONG, now_ms)
        assert (lag.waiting, lag.due, lag.oldest_ms) == (waiting_, due, oldest)
        assert lag.oldest_due_ms == (oldest + 600_000 if due else None)


def test_the_retry_group_counts_where_it_has_committed_and_the_old_group_elsewhere(flow: Flow) -> None:
    for i in range(40):
        flow.send(SHORT, f"l/{i}")
    ends = flow.admin.end_offsets(SHORT)
    one, *others = [partition for partition, end in ends.items() if end]
    flow.commit(GROUP, SHORT, ends)
    assert measure(flow.admin, SHORT, 0).waiting == 0
    flow.commit(RETRY_GROUP, SHORT, {one: 0})
    assert measure(flow.admin, SHORT, 0).waiting == ends[one]
    flow.commit(RETRY_GROUP, SHORT, {others[0]: ends[others[0]] - 1})
    assert measure(flow.admin, SHORT, 0).waiting == ends[one] + 1


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
    (flow.home.run / "gave-up.json").write_text('{"tagger-3": "no such keyspace"}')
    for name, server in servers.items():
        write_running(flow.home, name, Running(pid=1, host=server.host, port=server.port))
    try:
        health.waiting_for = "the stream: no broker answers"
        found = doctor(groknet, flow.home)
        assert found["tagger"]["state"] == found["tagger-2"]["state"] == found["tagger-3"]["state"] == "failed"
        assert "it waits for the stream: no broker answers" in found["tagger"]["detail"]
        assert "the store does not answer: no node answers" in found["tagger-2"]["detail"]
        assert "its supervisor gave it up: no such keyspace" in found["tagger-3"]["detail"]
        assert found[UPLOADED]["detail"] == "nothing waiting"
        health.mark_started()
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
