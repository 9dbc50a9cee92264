"""The pool that fetches photos of many events: its bounds, its order, and what ends an event."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from schemas.errors import Invalid, Transient
from schemas.events import ImageRef
from workers.intake import FetchPool, Intake, IntakeSettings, Photos
from workers.intake.addresses import host_of

PATIENCE_S = 30.0


class Hosts(Intake):
    """An intake whose hosts answer when the test lets them, with the URL itself as the photo."""

    def __init__(self) -> None:
        super().__init__(IntakeSettings())
        self.asked: list[str] = []
        self.open: Counter[str] = Counter()
        self.most: Counter[str] = Counter()
        self.gates: dict[str, threading.Event] = {}
        self.lock = threading.Lock()
        self.largest = 0
        self.pool: Any = None

    def gate(self, host: str) -> threading.Event:
        return self.gates.setdefault(host, threading.Event())

    def fetch(self, ref: ImageRef, until: float | None = None, grown: Any = None) -> bytes:
        url, host = ref.url or "", host_of(ref.url or "")
        with self.lock:
            self.asked.append(url)
            self.open[host] += 1
            self.most[host] = max(self.most[host], self.open[host])
        try:
            if host in self.gates:
                patience = PATIENCE_S if until is None else until - time.monotonic()
                if not self.gates[host].wait(max(0.0, patience)):
                    raise Transient("fetch", "timeout", "too slow")
        finally:
            with self.lock:
                self.open[host] -= 1
        if "large" in url:
            for count in (500, 1_000):
                grown(count)
                self.largest = max(self.largest, self.pool._bytes)
            return bytes(1_000)
        if "bad" in url:
            raise Invalid("fetch", "http_404", "not there")
        if "away" in url:
            raise Transient("fetch", "http_503", "away")
        return url.encode()


class Outcomes:
    def __init__(self) -> None:
        self.of: dict[str, Photos | Transient] = {}

    def __call__(self, name: str) -> Callable[[Any], None]:
        def done(outcome: Photos | Transient) -> None:
            assert name not in self.of, "an event ends once"
            self.of[name] = outcome

        return done

    def wait(self, *names: str) -> None:
        until(lambda: self.of.keys() >= set(names), f"an end of {names}")


def until(true: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not true():
        assert time.monotonic() < deadline, what
        time.sleep(0.005)


def refs(*urls: str) -> list[ImageRef]:
    return [ImageRef(image_id=str(i), url=url) for i, url in enumerate(urls)]


@pytest.fixture
def make() -> Iterator[Callable[..., tuple[FetchPool, Hosts, Outcomes]]]:
    pools: list[tuple[FetchPool, Hosts]] = []

    def build(**changes: Any) -> tuple[FetchPool, Hosts, Outcomes]:
        hosts = Hosts()
        limits = {"threads": 32, "host_connections": 2, "event_s": 600.0, "most_bytes": 10**9, "patient": False}
        pool = FetchPool(hosts, **{**limits, **changes})
        hosts.pool = pool
        pools.append((pool, hosts))
        return pool, hosts, Outcomes()

    yield build
    for pool, hosts in pools:
        for gate in hosts.gates.values():
            gate.set()
        pool.close()


def test_an_event_gets_its_photos_once_and_a_bad_one_raises(make) -> None:
    pool, _, outcomes = make()
    pool.fetch(refs("https://a.example/0", "https://a.example/bad", "https://b.example/2"), outcomes("e"))
    outcomes.wait("e")
    photos = outcomes.of["e"]
    assert isinstance(photos, Photos)
    assert photos.take("0") == b"https://a.example/0"
    with pytest.raises(Invalid, match="not there"):
        photos.take("1")
    assert photos.take("2") == b"https://b.example/2"
    assert (photos.take("0"), photos.take("other")) == (None, None)
    assert (pool.waiting(), pool.running()) == (0, 0)


def test_a_photo_that_is_away_ends_the_event_and_begins_no_further_one(make) -> None:
    pool, hosts, outcomes = make(threads=1)
    pool.fetch(refs("https://a.example/away", *(f"https://a.example/{i}" for i in range(9))), outcomes("e"))
    outcomes.wait("e")
    assert isinstance(outcomes.of["e"], Transient)
    pool.fetch(refs("https://a.example/next"), outcomes("next"))
    outcomes.wait("next")
    assert hosts.asked == ["https://a.example/away", "https://a.example/next"]


def test_a_host_has_few_connections_and_a_site_a_few_more(make) -> None:
    pool, hosts, outcomes = make()
    names = [f"h{n}.slow.example" for n in range(9)]
    for name in names:
        hosts.gate(name)
        for event in range(3):
            pool.fetch(refs(f"https://{name}/0", f"https://{name}/1"), outcomes(f"{name} {event}"))
    until(lambda: hosts.open.total() == 8, "four times two connections")
    pool.fetch(refs("https://other.example/0"), outcomes("other"))
    pool.fetch(refs("https://10.9.8.7/0"), outcomes("address"))
    outcomes.wait("other", "address")
    assert hosts.open.total() == 8
    for name in names:
        hosts.gates[name].set()
    outcomes.wait(*(f"{name} {event}" for name in names for event in range(3)))
    assert max(hosts.most.values()) == 2


def test_one_event_with_many_hosts_fetches_few_photos_at_a_time(make) -> None:
    pool, hosts, outcomes = make()
    urls = [f"https://x.a{n}.example/0" for n in range(20)]
    for ref in refs(*urls):
        hosts.gate(host_of(ref.url or ""))
    pool.fetch(refs(*urls), outcomes("wide"))
    until(lambda: hosts.open.total() == 2, "two photos")
    pool.fetch(refs("https://other.test/0"), outcomes("other"))
    outcomes.wait("other")
    assert len(hosts.asked) == 3
    for gate in hosts.gates.values():
        gate.set()
    outcomes.wait("wide")


def test_an_event_out_of_time_marks_its_host_and_the_next_ones_do_not_wait(make, caplog) -> None:
    pool, hosts, outcomes = make(event_s=0.05)
    hosts.gate("slow.example")
    for name in ("first", "second", "third"):
        pool.fetch(refs(*(f"https://slow.example/{name}{i}" for i in range(5))), outcomes(name))
    outcomes.wait("first", "second", "third")
    assert {outcome.error for outcome in outcomes.of.values()} <= {"timeout", "event_time", "slow_host"}
    assert outcomes.of["third"].error == "slow_host"
    assert not any("third" in url for url in hosts.asked)
    assert pool.slow_hosts() == 1
    assert caplog.text.count("slow.example took longer than 0.05 s") == 1
    hosts.gates["slow.example"].set()
    until(lambda: pool.running() == 0, "an idle host")
    pool.fetch(refs("https://slow.example/again"), outcomes("again"))  # one at a time is tried
    outcomes.wait("again")
    assert isinstance(outcomes.of["again"], Photos)


def test_events_of_one_photo_mark_their_host_too(make) -> None:
    """Most listings have one photo. A host that never answers must not fill all places with them, four at a time."""
    pool, hosts, outcomes = make(event_s=0.2, host_connections=2)
    hosts.gate("dead.example")
    for i in range(20):
        pool.fetch(refs(f"https://dead.example/{i}"), outcomes(f"dead{i}"))
    for i in range(20):
        outcomes.wait(f"dead{i}")
    errors = Counter(outcomes.of[f"dead{i}"].error for i in range(20))
    assert errors == {"timeout": 2, "slow_host": 18}
    assert pool.slow_hosts() == 1
    assert len(hosts.asked) == 2


def test_retries_wait_for_a_slow_host(make) -> None:
    pool, hosts, outcomes = make(event_s=0.05, patient=True)
    hosts.gate("slow.example")
    pool.fetch(refs("https://slow.example/0"), outcomes("first"))
    outcomes.wait("first")
    assert outcomes.of["first"].error == "timeout"
    hosts.gates["slow.example"].set()
    pool.fetch(refs("https://slow.example/1"), outcomes("second"))
    outcomes.wait("second")
    assert isinstance(outcomes.of["second"], Photos)
    assert pool.slow_hosts() == 0


def test_above_the_bytes_only_the_oldest_event_goes_on(make) -> None:
    """The others go on when the photos of the first are taken, so that nothing waits for ever."""
    pool, hosts, outcomes = make(most_bytes=1, host_connections=4)
    hosts.gate("b.example")
    pool.fetch(refs("https://a.example/0", "https://b.example/1", "https://a.example/2"), outcomes("old"))
    until(lambda: pool.running() == 1 and len(hosts.asked) == 3, "two photos of the oldest")
    pool.fetch(refs("https://c.example/0"), outcomes("new"))
    hosts.gates["b.example"].set()
    outcomes.wait("old")
    for name, count in (("old", 3), ("new", 1)):
        assert len(hosts.asked) == 3 + (name == "new")
        photos = outcomes.of[name]
        assert isinstance(photos, Photos)
        assert all(photos.take(str(image)) for image in range(count))
        outcomes.wait("new")
    assert pool._bytes == 0


def test_bytes_on_their_way_count_and_nothing_is_lost_for_want_of_room(make) -> None:
    """Ten events of three photos of 1,000 bytes, with room for 2,500: at most one event more than fits is in memory."""
    pool, hosts, outcomes = make(most_bytes=2_500, host_connections=3)
    names = [f"h{n}.a{n}.example" for n in range(10)]
    for name in names:
        hosts.gate(name)
        pool.fetch(refs(*(f"https://{name}/large{i}" for i in range(3))), outcomes(name))
    until(lambda: hosts.open.total() == 30, "all photos have begun")
    for name in names:
        hosts.gates[name].set()
    done: set[str] = set()

    def take() -> bool:
        for name in outcomes.of.keys() - done:
            photos = outcomes.of[name]
            assert isinstance(photos, Photos)
            assert [len(photos.take(str(i)) or b"") for i in range(3)] == [1_000] * 3
            done.add(name)
        return len(done) == len(names)

    until(take, "every event")
    assert len(hosts.asked) > 30, "some were begun again"
    assert hosts.largest <= 2_500 + 3_000
    until(lambda: pool.running() == 0, "an idle pool")
    assert pool._bytes == 0


def test_an_error_of_ours_is_reported(make) -> None:
    pool, hosts, outcomes = make()
    faults: list[BaseException] = []
    pool.on_fault = faults.append

    def broken(ref: ImageRef, until: float | None = None, grown: Any = None) -> bytes:
        raise RuntimeError("a bug")

    hosts.fetch = broken  # type: ignore[method-assign]
    pool.fetch(refs("https://a.example/0"), outcomes("e"))
    until(lambda: bool(faults), "the fault")
    assert str(faults[0]) == "a bug"


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("https://Photos.Example:8443/a", "photos.example"),
        ("https://[2001:db8::1]/a", "2001:db8::1"),
        ("https://user:pw@a.example/", "a.example"),
        ("https://exämple.test/", ""),
        ("http://[", ""),
        ("https:///a", ""),
        ("no url", ""),
    ],
)
def test_the_host_of_an_address(url: str, host: str) -> None:
    assert host_of(url) == host
