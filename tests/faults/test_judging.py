"""What the judge of liveness says, on embedded back ends and by figures worked out by hand."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest
import urllib3

from groknet.run.open_back_ends import make_topics
from schemas.dead_letters import DeadLetter
from schemas.envelope import Headers
from schemas.events import ImageRef, ListingEvent, encode_event
from schemas.topics import DEAD_LETTERS, UPLOADED, topics_for
from tests.faults import groups
from tests.faults.deadline import Deadline
from tests.faults.ladder import DELAYS_S
from tests.faults.oracle import Verdict
from tests.faults.photo_host import PhotoHost, addressed
from workers.streams import build_stream
from workers.streams.base import RebalanceListener, Stream

RETRY = next(iter(DELAYS_S))
PHOTO = b"\xff\xd8 any bytes \xff\xd9"


def event(name: str, *images: ImageRef) -> ListingEvent:
    return ListingEvent(
        event_id=name, listing_id=name, event_time=1_700_000_000_000_000, type="created", images=list(images)
    )


INLINE = event("run/0", ImageRef(image_id="a", data=PHOTO))
BY_URL = event("run/1", ImageRef(image_id="a", url="http://127.0.0.1:1/a.jpg"))


@pytest.fixture
def stream(tmp_path: Path) -> Stream:
    stream = build_stream(f"sqlite:///{tmp_path}/stream.db", "judging")
    make_topics(stream, topics_for("0" * 12))
    return stream


def send(stream: Stream, topic: str, sent: ListingEvent, headers: Headers, value: bytes | None = None) -> None:
    producer = stream.producer()
    producer.send(topic, sent.listing_id.encode(), value or encode_event(sent), headers).wait(30)
    producer.close()


def test_the_deadline_has_three_parts() -> None:
    deadline = Deadline(backlog=90, rate=6.0, base_s=60.0)
    assert deadline.allowed_s == 75.0
    assert (deadline.report()["backlog"], deadline.report()["rate"], deadline.report()["took_s"]) == (90, 6.0, None)
    deadline.began -= 74.0
    assert not deadline.over
    deadline.began -= 2.0
    assert deadline.over


def test_a_retry_has_half_a_minute_from_its_due_time_or_as_long_as_listings_have() -> None:
    deadline = Deadline(backlog=0, rate=1.0, base_s=60.0)
    deadline.began -= 45.0
    deadline.began_ms -= 45_000
    assert deadline.retry_over(deadline.began_ms + 1_000)  # due 44 s ago
    assert not deadline.retry_over(deadline.began_ms + 20_000)  # 25 s ago
    assert not deadline.retry_over(deadline.began_ms - 1_000)  # due while the faults went on: 15 s are left


def test_what_still_waits_in_a_topic_is_late_and_the_rest_is_lost() -> None:
    verdict = Verdict(
        lost=["store: run-1/7", "store: run-1/77", "dead letter: run-1/7/broken"],
        wrong=["topic: run-1/7: 5, tombstone False", "store: run-2/7/v1-0: hash"],
    )
    verdict.excuse({"run-1/7"})
    assert verdict.lost == ["store: run-1/77"]
    assert verdict.wrong == ["store: run-2/7/v1-0: hash"]
    assert len(verdict.late) == 3


@pytest.mark.parametrize(
    ("shares", "members", "even"),
    [({"a": 4, "b": 4}, 2, True), ({"a": 8, "b": 0}, 2, False), ({"a": 3, "b": 3, "c": 2}, 3, True), ({}, 1, False)],
)
def test_shares_are_even_within_one(shares: dict[str, int], members: int, even: bool) -> None:
    assert groups.even(shares, members) is even


def test_progress_is_that_of_both_groups(stream: Stream) -> None:
    for sent in (INLINE, BY_URL, INLINE):
        send(stream, RETRY, sent, ())
    admin = stream.admin()
    for group, most in ((groups.GROUPS[0], 1), (groups.GROUPS[1], 2)):
        consumer = stream.consumer(group, [RETRY], RebalanceListener())
        for _ in range(most):
            for record in consumer.poll(5, 1):
                consumer.commit({record.partition: record.next_offset})
        consumer.close()
    every = [admin.committed(group, RETRY) for group in groups.GROUPS]
    found = groups.committed(admin, RETRY)
    assert found == {p: max(one.get(p, 0) for one in every) for one in every for p in one}
    assert sum(found.values()) >= 2
    admin.close()


def test_only_a_photo_that_could_not_be_fetched_may_be_retried(stream: Stream) -> None:
    from tests.faults.letters import judge_retries

    send(stream, RETRY, BY_URL, (("groknet.retry.error", b"fetch: http_503"),))
    verdict = Verdict()
    judge_retries([INLINE, BY_URL], stream.admin(), verdict)
    assert verdict.clean, str(verdict)
    send(stream, RETRY, INLINE, (("groknet.retry.error", b"store: unavailable"),))
    send(stream, RETRY, BY_URL, (("groknet.retry.error", b"store: unavailable"),))
    judge_retries([INLINE, BY_URL], stream.admin(), verdict)
    assert sorted(verdict.flood) == [f"{RETRY}: run/{n}: store: unavailable" for n in (0, 1)]


def letter_headers(sent: ListingEvent) -> Headers:
    letter = DeadLetter(
        topic=UPLOADED,
        partition=0,
        offset=0,
        timestamp_ms=1,
        group="tagger",
        stage="decode",
        error="not_an_image",
        message="",
        attempt=1,
        first_failed_at_ms=1,
        failed_at_ms=1,
        model_version="m",
        worker_version="w",
        listing_id=sent.listing_id,
        image_id="broken",
    )
    return letter.headers()


def test_a_large_event_has_one_letter_that_is_cut_and_says_so(stream: Stream) -> None:
    from tests.faults.large import large_event
    from tests.faults.letters import judge_large

    sent = large_event([PHOTO, PHOTO + b"1", PHOTO + b"2"], "run-large/0", random.Random(0))
    verdict = Verdict()
    said = (*letter_headers(sent), ("groknet.dlq.replayable", b"no"))
    send(stream, DEAD_LETTERS, sent, said, value=b"{")
    judge_large([sent], stream.admin(), verdict)
    assert verdict.clean, str(verdict)
    send(stream, DEAD_LETTERS, sent, letter_headers(sent), value=b"{")
    judge_large([sent], stream.admin(), verdict)
    assert [text.partition(" is ")[0] for text in verdict.wrong] == ["dead letter: run-large/0:"]
    assert verdict.extra == ["dead letter: run-large/0: 2 times"]


@pytest.fixture
def host() -> Iterator[PhotoHost]:
    made = PhotoHost()
    yield made
    made.close()


def test_a_photo_host_fails_for_its_time_and_serves_after_it(host: PhotoHost) -> None:
    never = host.offer("/never.jpg", PHOTO, away_s=1e9, hangs=False)
    at_once = host.offer("/at-once.jpg", PHOTO, away_s=0.0, hangs=True)
    assert urllib3.request("GET", never, retries=False).status == 503
    answer = urllib3.request("GET", at_once, retries=False)
    assert (answer.status, answer.data) == (200, PHOTO)


def test_an_event_that_is_sent_twice_has_its_photo_at_one_address(host: PhotoHost) -> None:
    moved = addressed([INLINE, INLINE], host, seed=1, share=1.0, hanging=0.0)
    assert moved[0] == moved[1]
    assert host.photos == {moved[0].images[0].url: PHOTO}
