"""What every store promises of what workers share: settings by compare-and-set, who is alive, blobs, the probe."""

from __future__ import annotations

import hashlib
import random
import threading
import time
from collections.abc import Callable

import pytest

from schemas.errors import Invalid
from tests.contract.backends import StoreBackend, start
from tests.contract.test_store_contract import effects, event, timeless
from workers.stores import Setting, Store
from workers.stores.base import MAX_BLOB_BYTES, MAX_VALUE_BYTES

_RACE = """
import sys
from tests.contract.backends import StoreBackend
store = StoreBackend(sys.argv[1]).build()
won = 0
for version in range(15):
    won += store.put_setting("raced", f"{sys.argv[2]} {version}".encode(), version)
    while (found := store.setting("raced")) is None or found.version <= version:
        pass
print(won)
store.close()
"""


def in_threads(work: Callable[[int], None], threads: int) -> None:
    failures: list[BaseException] = []

    def guarded(number: int) -> None:
        try:
            work(number)
        except BaseException as failure:
            failures.append(failure)

    running = [threading.Thread(target=guarded, args=(n,)) for n in range(threads)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    assert failures == []


def until(true: Callable[[], bool], patience_s: float = 30.0) -> float:
    """Seconds until something is true."""
    began = time.monotonic()
    while not true():
        assert time.monotonic() < began + patience_s
        time.sleep(0.02)
    return time.monotonic() - began


def test_a_probe_passes_where_writes_do_and_touches_no_listing(store_backend: StoreBackend) -> None:
    one, two = store_backend.build(), store_backend.build()
    one.write(*effects(event("l", 1)))
    in_threads(lambda n: [(one, two)[n % 2].probe() for _ in range(5)], threads=4)
    assert [timeless(listing) for listing in one.scan()] == [effects(event("l", 1))[0]]
    assert (one.announced(), one.setting("l")) == ({}, None)
    one.close()
    with pytest.raises(ValueError, match="close"):
        one.probe()
    two.close()


def test_a_setting_is_changed_by_who_has_read_it_last(store_backend: StoreBackend) -> None:
    one, two = store_backend.build(), store_backend.build()
    assert one.setting("epochs") is None
    assert not one.put_setting("epochs", b"early", 1)
    assert one.setting("epochs") is None
    assert one.put_setting("epochs", b"first", 0)
    assert two.setting("epochs") == Setting(b"first", 1)
    assert not two.put_setting("epochs", b"again", 0)
    assert two.put_setting("epochs", b"\x00second\xff", 1)
    assert not one.put_setting("epochs", b"late", 1)
    assert not one.put_setting("epochs", b"much too early", 7)
    assert one.setting("epochs") == Setting(b"\x00second\xff", 2)
    assert one.put_setting("epochs", b"", 2)
    assert two.setting("epochs") == Setting(b"", 3)
    assert two.setting("other") is None
    one.close()
    two.close()
    again = store_backend.build()
    assert again.setting("epochs") == Setting(b"", 3)
    again.close()


def test_of_eight_that_change_a_setting_at_once_exactly_one_wins_each_round(store_backend: StoreBackend) -> None:
    store = store_backend.build()
    rounds, contestants = 6, 8
    winners: dict[int, list[int]] = {version: [] for version in range(rounds)}
    together = threading.Barrier(contestants)

    def contest(number: int) -> None:
        for version in range(rounds):
            together.wait(120)
            if store.put_setting("raced", f"{number}".encode(), version):
                winners[version].append(number)
            together.wait(120)
            found = store.setting("raced")
            assert found is not None
            assert (found.value, found.version) == (f"{winners[version][0]}".encode(), version + 1)

    in_threads(contest, contestants)
    assert [len(won) for won in winners.values()] == [1] * rounds
    store.close()


def test_of_processes_that_change_a_setting_at_once_one_wins_each_round(store_backend: StoreBackend) -> None:
    store_backend.build().close()
    children = [start(_RACE, store_backend.url, str(number)) for number in range(2)]
    won = [int(child.communicate(timeout=120)[0]) for child in children]
    assert [child.returncode for child in children] == [0, 0]
    assert sum(won) == 15


def test_who_is_alive_is_known_until_it_withdraws_or_falls_silent(store_backend: StoreBackend) -> None:
    store, other = store_backend.build(), store_backend.build()
    assert other.announced() == {}
    store.announce("home/tagger", b"1", 60)
    store.announce("home/tagger", b"2", 60)
    other.announce("home/search", b"\xff\x00", 60)
    store.announce("short", b"gone soon", 1)
    assert set(other.announced()) in ({"home/tagger", "home/search", "short"}, {"home/tagger", "home/search"})
    until(lambda: "short" not in other.announced())
    assert other.announced() == {"home/tagger": b"2", "home/search": b"\xff\x00"}
    other.withdraw("home/tagger")
    other.withdraw("home/tagger")
    other.withdraw("never there")
    assert store.announced() == {"home/search": b"\xff\x00"}
    store.announce("home/tagger", b"back", 60)
    assert other.announced()["home/tagger"] == b"back"
    for built in (store, other):
        built.close()


def test_an_announcement_lives_as_long_as_it_is_said_again(store_backend: StoreBackend) -> None:
    store = store_backend.build()
    store.announce("silent", b"", 1)
    store.announce("alive", b"", 2)

    def silent_is_forgotten() -> bool:
        store.announce("alive", b"", 2)
        return "silent" not in store.announced()

    until(silent_is_forgotten)
    assert "alive" in store.announced()
    until(lambda: store.announced() == {})
    store.close()


def test_blobs_are_found_by_their_digest(store_backend: StoreBackend) -> None:
    store, other = store_backend.build(), store_backend.build()
    rng = random.Random(7)
    blobs = [b"", b"\x00", rng.randbytes(700_000), rng.randbytes(MAX_BLOB_BYTES)]
    for data in blobs:
        digest = hashlib.sha256(data).hexdigest()
        assert other.blob(digest) is None
        assert store.keep_blob(data) == digest
        assert other.keep_blob(data) == digest
        assert other.blob(digest) == data
    assert store.blob("0" * 64) is None
    assert list(store.scan()) == []
    store.close()
    other.close()


@pytest.mark.parametrize(
    ("put", "limit"),
    [
        (lambda store, data: store.put_setting("s", data, 0), MAX_VALUE_BYTES),
        (lambda store, data: store.announce("w", data, 60), MAX_VALUE_BYTES),
        (lambda store, data: store.keep_blob(data), MAX_BLOB_BYTES),
    ],
    ids=["setting", "announcement", "blob"],
)
def test_what_is_too_large_is_invalid(
    store_backend: StoreBackend, put: Callable[[Store, bytes], object], limit: int
) -> None:
    store = store_backend.build()
    put(store, bytes(limit))
    with pytest.raises(Invalid, match=str(limit)) as caught:
        put(store, bytes(limit + 1))
    assert (caught.value.stage, caught.value.error) == ("store", "too_large")
    store.close()


def test_a_name_is_neither_empty_nor_endless(store_backend: StoreBackend) -> None:
    store = store_backend.build()
    for name in ("", "n" * 257):
        for call in (
            lambda name=name: store.setting(name),
            lambda name=name: store.put_setting(name, b"", 0),
            lambda name=name: store.announce(name, b"", 1),
            lambda name=name: store.withdraw(name),
        ):
            with pytest.raises(ValueError, match="256 characters"):
                call()
    assert store.put_setting("n" * 256, b"", 0)
    store.close()
