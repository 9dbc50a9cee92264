"""Photo hosts that answer, but slowly: only the listings that name them wait. A real tagger and real hosts on loopback.

What is checked is an order, never a time: the slow host finishes no photo before the test says so.
"""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Iterator

import pytest

from schemas.topics import RETRY_DELAYS_S
from tests.workers.intake.loopback import Loopback, answer, serving
from tests.workers.tagger.rig import PATIENCE_S, Rig, event, jpeg
from tests.workers.tagger.test_hold import until
from tests.workers.tagger.test_watch import sample
from workers.intake import IntakeSettings
from workers.watching import metrics

HONEST = 40
PHOTOS = 20
CONNECTIONS = 4
RETRY_30S, _ = RETRY_DELAYS_S


class DripHost:
    """Sends a photo byte by byte until `release`, and then its rest."""

    def __init__(self, server: Loopback, photo: bytes) -> None:
        self.server, self.photo = server, photo
        self.release = threading.Event()
        self.open = self.most = self.finished = 0
        self._lock = threading.Lock()
        server.scripts["/drip"] = self._drip

    def _drip(self, sock: socket.socket, _: str) -> None:
        with self._lock:
            self.open += 1
            self.most = max(self.most, self.open)
        try:
            sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(self.photo))
            sent = 0
            while not self.release.wait(0.05) and not self.server.stopped.is_set():
                sock.sendall(self.photo[sent : sent + 1])
                sent += 1
            sock.sendall(self.photo[sent:])
            with self._lock:
                self.finished += 1
        finally:
            with self._lock:
                self.open -= 1


@pytest.fixture
def drip() -> Iterator[DripHost]:
    with serving() as server:
        host = DripHost(server, jpeg(1, (400, 300)) + bytes(100_000))
        yield host
        host.release.set()


@pytest.fixture
def honest() -> Iterator[Loopback]:
    with serving() as server:
        server.scripts["/p"] = answer(200, jpeg(2))
        yield server


def patient_intake(*servers: Loopback) -> IntakeSettings:
    """Reaches both hosts. No time-out of a photo can end before the test does."""
    ports = [server.port for server in servers]
    private = (*(f"127.0.0.1:{port}" for port in ports), *(f"localhost:{port}" for port in ports))
    return IntakeSettings(
        allowed_private=private, total_timeout_s=600.0, attempts_time_cap_s=600.0, read_timeout_s=600.0
    )


def slow_events(drip: DripHost, count: int):
    return [event(f"slow/{n}", [drip.server.url(f"/drip?{i}") for i in range(PHOTOS)]) for n in range(count)]


def honest_events(server: Loopback):
    """Half of them inline, half by the address of a host of another name."""
    inline = [event(f"inline/{n}", [jpeg(n)]) for n in range(HONEST // 2)]
    web = [event(f"web/{n}", [f"http://localhost:{server.port}/p?{n}"] * 1) for n in range(HONEST // 2)]
    return [one for pair in zip(inline, web, strict=True) for one in pair]


def stored(rig: Rig) -> set[str]:
    return {state.listing_id for state in rig.store.scan()}


@pytest.mark.parametrize("processes", [0, 1])
def test_honest_listings_are_stored_before_a_dripping_host_finishes_one_photo(
    make_rig, drip: DripHost, honest: Loopback, processes: int
) -> None:
    rig: Rig = make_rig(
        intake=patient_intake(drip.server, honest),
        decode_processes=processes,
        host_connections=CONNECTIONS,
        fetch_event_s=600.0,
    )
    rig.send(*slow_events(drip, 4))
    with rig.tagger() as failure:
        until(lambda: drip.open == CONNECTIONS, "the slow host is busy")
        wanted = honest_events(honest)
        rig.send(*wanted)
        until(lambda: failure or stored(rig) == {one.listing_id for one in wanted}, "all honest listings")
        assert not failure, failure
        assert (drip.finished, drip.open) == (0, CONNECTIONS), "no photo of the slow host came first"
        drip.release.set()
        rig.wait(failure)
    assert drip.most == CONNECTIONS
    assert drip.finished == 4 * PHOTOS
    assert len(stored(rig)) == HONEST + 4
    assert rig.dead_letters() == []


def test_more_slow_events_than_places_go_to_the_retry_topic_and_leave_the_places_free(
    make_rig, drip: DripHost, honest: Loopback, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, logger="workers.intake.pool")
    rig: Rig = make_rig(
        intake=patient_intake(drip.server, honest), max_in_flight_events=8, fetch_event_s=0.5, retry_fetch_event_s=600.0
    )
    slow, wanted = slow_events(drip, 30), honest_events(honest)
    rig.send(*slow)
    with rig.tagger() as failure:
        until(lambda: drip.open > 0, "the slow host is busy")
        rig.send(*wanted)
        rig.wait_live(failure)
        assert stored(rig) == {one.listing_id for one in wanted}
        assert drip.finished == 0
        assert sample(metrics.SLOW_HOSTS) == 1
    moved = [record.key for record in rig.admin.read(RETRY_30S)]
    assert sorted(moved) == sorted(one.listing_id.encode() for one in slow)
    assert rig.dead_letters() == []
    assert caplog.text.count("the photos of an event from 127.0.0.1 took longer than 0.5 s") == 1


def test_a_retry_waits_for_its_slow_host_and_is_stored(
    make_rig, drip: DripHost, honest: Loopback, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(RETRY_DELAYS_S, RETRY_30S, 0.0)
    rig: Rig = make_rig(
        intake=patient_intake(drip.server, honest), fetch_event_s=0.2, retry_fetch_event_s=PATIENCE_S * 10
    )
    rig.send(*slow_events(drip, 3))
    with rig.tagger() as failure:
        rig.wait_live(failure)
        until(lambda: drip.open == CONNECTIONS, "the retries wait for the slow host")
        drip.release.set()
        rig.wait(failure)
    assert len(stored(rig)) == 3
    assert rig.dead_letters() == []
