"""What a node does wrong, and what a client may not: paused, killed, refused, silent; bounded all the while."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from deploy.local import Services
from schemas.errors import ConfigError, Transient, is_outage
from tests.contract.cassandra_keyspace import drop, fresh_url, make, place
from tests.contract.test_store_contract import dump, effects, event, naive, timeless
from workers.stores import Setting, Store, build_store
from workers.stores.cassandra import CassandraStore, _session, open_session, parse_cassandra_url

NODE = "cassandra-1"


@pytest.fixture
def impatient(url: str) -> str:
    return url.replace("timeout_s=30", "timeout_s=1")


def write_until_taken(store: Store, number: int) -> None:
    """As a tagger does: Transient is tried again."""
    wait_until_taken(lambda: store.write(*effects(event(f"l{number}", 1))))


def wait_until_taken(call: Callable[[], object]) -> None:
    for _ in range(60):
        try:
            call()
        except Transient:
            threading.Event().wait(0.5)
        else:
            return
    raise AssertionError("never taken")


@pytest.mark.services
def test_a_paused_node_is_transient_and_then_all_goes_on(services: Services, impatient: str) -> None:
    store = build_store(impatient)
    store.write(*effects(event("before", 1)))
    services.pause(NODE)
    try:
        for call in (
            lambda: store.write(*effects(event("during", 1))),
            lambda: store.remove(event("during", 2, ())),
            lambda: store.get(["before"]),
            lambda: store.latest(["before"]),
            lambda: store.thumbnail("before", "a"),
            lambda: list(store.scan()),
        ):
            with pytest.raises(Transient):
                call()
    finally:
        services.resume(NODE)
    write_until_taken(store, 1)
    assert timeless(store.get(["before"])["before"]) == effects(event("before", 1))[0]
    store.close()


@pytest.mark.services
def test_a_killed_node_loses_nothing_that_it_acknowledged(services: Services, url: str) -> None:
    store = build_store(url)
    for number in range(50):
        store.write(*effects(event(f"l{number}", 1)))
    services.kill(NODE)
    with pytest.raises(Transient):
        store.get(["l1"])
    services.start(NODE)
    write_until_taken(store, 50)  # the same store finds the node again
    assert dump(store, "a") == naive([event(f"l{number}", 1) for number in range(51)])
    store.close()


@pytest.mark.services
def test_a_probe_says_so_in_time_and_the_store_comes_back_from_a_freeze(services: Services, url: str) -> None:
    store = build_store(url)  # its other calls wait for 30 s
    store.probe()
    services.pause(NODE)
    try:
        frozen = time.monotonic()
        while time.monotonic() - frozen < 12:  # until the heartbeat has given the connections up
            began = time.monotonic()
            with pytest.raises(Transient) as caught:
                store.probe()
            assert time.monotonic() - began < 10
            assert is_outage(caught.value)
    finally:
        services.resume(NODE)
    wait_until_taken(store.probe)
    write_until_taken(store, 1)
    store.close()


@pytest.mark.services
def test_a_node_is_found_again_after_more_tries_than_the_driver_makes(
    services: Services, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The driver's own policy ends after 64 tries: with waits of 3 s a node that was away for 200 s stayed unused."""
    monkeypatch.setattr(_session, "_RECONNECT_S", (0.01, 0.05))
    store = build_store(url)
    services.kill(NODE)
    wait = threading.Event()
    with pytest.raises(Transient):
        store.probe()
    for _ in range(40):
        wait.wait(0.25)  # 10 s: three times 64 waits of 0.05 s
    services.start(NODE)
    wait_until_taken(store.probe)
    write_until_taken(store, 1)
    store.close()


@pytest.mark.services
def test_a_setting_that_was_written_before_its_time_out_is_its_writers(url: str) -> None:
    settings = parse_cassandra_url(url)
    store = CassandraStore(open_session(settings), settings)
    deadline = time.monotonic() + 60
    for version in (0, 1):  # the first try of each was taken, and its answer lost
        assert store._compare_and_set("s", b"v", version, f"writer {version}", deadline)
        assert store._compare_and_set("s", b"v", version, f"writer {version}", deadline)
        assert not store._compare_and_set("s", b"v", version, "another", deadline)
    assert not store._compare_and_set("absent", b"v", 1, "writer 1", deadline)
    assert store.setting("s") == Setting(b"v", 2)
    store.close()


@pytest.mark.services
def test_no_more_requests_are_under_way_than_allowed(url: str) -> None:
    settings = parse_cassandra_url(f"{url}&in_flight=3")
    session = open_session(settings)
    lock, now, most, sent = threading.Lock(), 0, 0, 0

    def ended(_: object) -> None:
        nonlocal now
        with lock:
            now -= 1

    def begun(future: object) -> None:
        nonlocal now, most, sent
        with lock:
            now, sent = now + 1, sent + 1
            most = max(most, now)
        future.add_callbacks(ended, ended)

    store = CassandraStore(session, settings)
    session.add_request_init_listener(begun)
    threads = [
        threading.Thread(target=lambda n=n: [store.write(*effects(event(f"l{n}-{i}", 1))) for i in range(10)])
        for n in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(store.get([f"l{n}-{i}" for n in range(8) for i in range(10)])) == 80
    assert sent == 8 * 10 * 2 + 80  # a write looks and joins
    assert most <= 3
    store.close()


@pytest.mark.services
def test_who_finds_no_turn_in_time_is_told(services: Services, impatient: str) -> None:
    store = build_store(f"{impatient}&in_flight=1")
    errors: list[str] = []

    def read() -> None:
        try:
            store.get(["l"])
        except Transient as error:
            errors.append(error.error)

    services.pause(NODE)
    try:
        threads = [threading.Thread(target=read) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        services.resume(NODE)
    assert len(errors) == 4
    assert "store_timeout" in errors
    store.close()


@pytest.mark.services
def test_a_closed_store_says_so(url: str) -> None:
    store = build_store(url)
    store.close()
    store.close()
    with pytest.raises(ValueError, match="closed"):
        store.get(["l"])


@pytest.fixture(params=["nobody", "silent"])
def wrong_address(request: pytest.FixtureRequest) -> Iterator[str]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        if request.param == "silent":
            listener.listen(64)
        yield f"127.0.0.1:{listener.getsockname()[1]}"


@pytest.mark.slow
@pytest.mark.timeout(15)
def test_a_wrong_address_is_said_within_fifteen_seconds(wrong_address: str) -> None:
    with pytest.raises(Transient, match=f"no Cassandra node of {wrong_address} .*correct the address"):
        build_store(f"cassandra://{wrong_address}/shop")


@pytest.mark.services
def test_another_datacenter_is_said(url: str) -> None:
    with pytest.raises(ConfigError, match=r"datacenter 'nowhere'; there are: datacenter1"):
        build_store(f"{url}&datacenter=nowhere")


@pytest.mark.services
def test_tls_and_password_are_asked_for_and_given(secured: Services) -> None:
    state = secured.status()
    assert state is not None
    url = fresh_url(secured, f"&tls=true&ca_file={state.security.ca_file}")
    make(url)
    store = build_store(url)
    store.write(*effects(event("l", 1)))
    assert timeless(store.get(["l"])["l"]) == effects(event("l", 1))[0]
    store.close()
    build_store(f"{url}&tls_name=localhost").close()
    for changed, word in (
        (url.replace(place(secured), place(secured, "wrong")), "refuses user 'cassandra'; correct USER:PASSWORD@"),
        (url.replace(place(secured), place(secured).rpartition("@")[2]), "refuses a client without a user"),
        (url.partition("&ca_file")[0], "correct ca_file="),
        (f"{url}&tls_name=elsewhere.example", "correct ca_file= and tls_name="),
    ):
        with pytest.raises(ConfigError, match=word) as caught:
            build_store(changed)
        assert "wrong" not in str(caught.value)
    with pytest.raises((ConfigError, Transient), match="TLS"):
        build_store(url.partition("&tls")[0])
    drop(url)
