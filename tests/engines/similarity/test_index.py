"""The index against a brute force that is written another way: dictionaries, Python integers and sorting."""

from __future__ import annotations

import random
import threading
from pathlib import Path

import msgspec
import numpy as np
import pytest

import engines.similarity
from engines.similarity import HashIndex, IndexLimits, IndexStats, Neighbour, SnapshotRefused
from engines.similarity._parts import Asked, Found, Sealed
from schemas.errors import ConfigError, EpochMismatch
from schemas.hashes import HashMessage, ImageHash

EPOCH, OTHER = "0123456789ab", "ba9876543210"


def message(
    listing_id: str,
    event_time: int,
    images: dict[str, bytes],
    *,
    epoch: str = EPOCH,
    category: str | None = None,
    state: str = "active",
) -> HashMessage:
    hashes = [ImageHash(image_id=image_id, hash=code.hex()) for image_id, code in images.items()]
    return HashMessage(
        listing_id=listing_id,
        event_time=event_time,
        epoch=epoch,
        model_version="m1",
        state=state,
        category=category,
        images=hashes,
    )


def limits(**given: int) -> IndexLimits:
    """Merges happen inside the change that asks for them, so that a test knows when."""
    return IndexLimits(background=False, **given)


def query(*codes: bytes) -> np.ndarray:
    return np.frombuffer(b"".join(codes), np.uint8).reshape(-1, 32).copy()


class Twin:
    """What the index must answer: last writer by event time, a removal wins a tie, distances by counting bits."""

    def __init__(self) -> None:
        self.listings: dict[str, tuple[int, dict[str, bytes]]] = {}
        self.removed: dict[str, int] = {}

    def apply(self, listing_id: str, event_time: int, images: dict[str, bytes]) -> bool:
        newest = self.listings.get(listing_id, (0, {}))[0]
        if event_time < newest or event_time <= self.removed.get(listing_id, 0):
            return False
        self.listings[listing_id] = event_time, images
        self.removed.pop(listing_id, None)
        return True

    def remove(self, listing_id: str, event_time: int) -> bool:
        newest = max(self.listings.get(listing_id, (0, {}))[0], self.removed.get(listing_id, 0))
        if event_time < newest:
            return False
        self.listings.pop(listing_id, None)
        self.removed[listing_id] = event_time
        return True

    def search(self, code: bytes, k: int) -> list[Neighbour]:
        wanted = int.from_bytes(code, "big")
        found = [
            ((wanted ^ int.from_bytes(other, "big")).bit_count(), listing_id, image_id)
            for listing_id, (_, images) in self.listings.items()
            for image_id, other in images.items()
        ]
        return [Neighbour(listing, image, distance) for distance, listing, image in sorted(found)[:k]]

    def __len__(self) -> int:
        return sum(len(images) for _, images in self.listings.values())


class Walk:
    """A random walk over every operation; few listings, times and hashes, so that ties and conflicts are common."""

    def __init__(self, seed: int, folder: Path) -> None:
        self.rng = random.Random(seed)
        self.path = folder / "index.npz"
        self.limits = limits(max_pending=23, max_tombstones=40)
        self.index = HashIndex(EPOCH, self.limits)
        self.twin = Twin()
        self.centres = [self.rng.randbytes(32) for _ in range(6)]
        self.saved: tuple[Twin, dict[str, int]] | None = None

    def code(self) -> bytes:
        value = int.from_bytes(self.rng.choice(self.centres), "big")
        for _ in range(self.rng.randrange(4)):
            value ^= 1 << self.rng.randrange(256)
        return value.to_bytes(32, "big")

    def listing(self) -> tuple[str, int]:
        return f"L{self.rng.randrange(60)}", self.rng.randrange(1, 400)

    def apply(self) -> None:
        listing_id, event_time = self.listing()
        images = {f"i{n}": self.code() for n in range(self.rng.randrange(5))}
        expected = self.twin.apply(listing_id, event_time, images)
        assert self.index.apply(message(listing_id, event_time, images)) is expected

    def replay(self) -> None:
        if self.twin.listings:
            listing_id = self.rng.choice(sorted(self.twin.listings))
            event_time, images = self.twin.listings[listing_id]
            before = self.index.stats()
            assert self.index.apply(message(listing_id, event_time, images))
            assert self.index.stats() == before

    def remove(self) -> None:
        listing_id, event_time = self.listing()
        assert self.index.remove(listing_id, event_time) is self.twin.remove(listing_id, event_time)

    def search(self) -> None:
        codes = [self.code() for _ in range(self.rng.randrange(1, 4))]
        k = self.rng.choice([1, 2, 5, 20, 500])
        assert self.index.search(query(*codes), k, epoch=EPOCH) == [self.twin.search(c, k) for c in codes]
        assert len(self.index) == len(self.twin)
        assert self.index.stats().listings == sum(bool(images) for _, images in self.twin.listings.values())

    def get(self) -> None:
        listing_id, _ = self.listing()
        got, expected = self.index.get(listing_id), self.twin.listings.get(listing_id)
        assert (got and (got.event_time, {one.image_id: one.code for one in got.codes})) == expected

    def compact(self) -> None:
        self.index.compact()
        assert self.index.stats().tombstones == 0

    def snapshot(self) -> None:
        copy = Twin()
        copy.listings, copy.removed = dict(self.twin.listings), dict(self.twin.removed)
        self.saved = copy, {"0": self.rng.randrange(1000)}
        self.index.snapshot(self.path, self.saved[1])

    def restore(self) -> None:
        """As after a crash: what came since the snapshot is gone, and comes again from the stream in real life."""
        if self.saved:
            self.twin.listings, self.twin.removed = dict(self.saved[0].listings), dict(self.saved[0].removed)
            self.index, offsets = HashIndex.restore(self.path, EPOCH, self.limits)
            assert offsets == self.saved[1]

    def step(self) -> None:
        steps = [self.apply, self.replay, self.remove, self.search, self.get]
        rare = [self.compact, self.snapshot, self.restore]
        self.rng.choices([*steps, *rare], weights=[40, 5, 12, 30, 5, 0.7, 0.7, 0.4])[0]()

    def run(self, steps: int) -> None:
        for _ in range(steps):
            self.step()
        self.search()


@pytest.mark.parametrize(("seed", "spare"), [(1, 64), (2, 0), (3, 0), (4, 4)])
def test_equals_brute_force_at_every_step(
    seed: int, spare: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With nothing to spare, a first pass often falls short, so that the later passes are walked as well."""
    monkeypatch.setattr("engines.similarity._parts._SPARE", spare)
    monkeypatch.setattr("engines.similarity._parts._ESCALATION", 2)
    Walk(seed, tmp_path).run(2500)


def test_the_walk_catches_a_skipped_tombstone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The oracle itself: an index whose dead codes stay visible must not pass."""

    def all_of_them(_: Sealed, distances: np.ndarray, rows: np.ndarray, __: Asked) -> Found:
        return Found(distances, rows)

    monkeypatch.setattr(Sealed, "_living", all_of_them)
    with pytest.raises(AssertionError):
        Walk(1, tmp_path).run(2500)


def test_known_distances() -> None:
    base = bytes(32)
    codes = {f"d{d}": ((1 << d) - 1).to_bytes(32, "big") for d in (0, 1, 8, 100, 255, 256)}
    index = HashIndex(EPOCH)
    index.apply(message("a", 1, codes))
    found = index.search(query(base), 10, epoch=EPOCH)[0]
    assert [(n.image_id, n.distance) for n in found] == [(name, int(name[1:])) for name in codes]
    index.compact()  # the same from the sealed part
    assert index.search(query(base), 10, epoch=EPOCH)[0] == found


@pytest.mark.parametrize("sealed", [False, True])
def test_many_equal_codes_come_in_order_of_ids(sealed: bool) -> None:
    ids = [f"L{n:04}" for n in range(500)]
    random.Random(5).shuffle(ids)
    index = HashIndex(EPOCH)
    for listing_id in ids:
        index.apply(message(listing_id, 1, {"i": b"\7" * 32}))
    if sealed:
        index.compact()
    found = index.search(query(b"\7" * 32), 7, epoch=EPOCH)[0]
    assert [n.listing_id for n in found] == sorted(ids)[:7]


def test_the_dead_near_a_query_do_not_hide_the_living(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engines.similarity._parts._SPARE", 0)
    index = HashIndex(EPOCH, limits(max_pending=100))
    near, far = bytes(32), b"\xff" * 32
    for n in range(400):
        index.apply(message(f"near{n}", 1, {"i": near}))
    index.apply(message("far", 1, {"i": far}))
    index.compact()
    for n in range(95):  # below the bound of a compaction
        index.remove(f"near{n}", 2)
    for n in range(95, 100):
        index.apply(message(f"near{n}", 2, {"i": far}))
    assert index.stats().tombstones == 100
    found = index.search(query(near), 310, epoch=EPOCH)[0]
    assert [n.distance for n in found] == [0] * 300 + [256] * 6
    few = index.search(query(near), 5, epoch=EPOCH)[0]  # the dead fill the first pass, and ties the second
    assert few == [Neighbour(f"near{n}", "i", 0) for n in range(100, 105)]


def test_when_all_the_nearest_are_dead_the_search_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engines.similarity._parts._SPARE", 0)
    index = HashIndex(EPOCH, limits(max_pending=200))
    for n in range(100):
        index.apply(message(f"near{n}", 1, {"i": bytes(32)}))
    for n in range(150):
        index.apply(message(f"far{n:03}", 1, {"i": b"\xff" * 32}))
    index.compact()
    for n in range(100):
        index.remove(f"near{n}", 2)
    assert (index.stats().tombstones, index.stats().pending) == (100, 0)
    found = index.search(query(bytes(32)), 5, epoch=EPOCH)[0]
    assert found == [Neighbour(f"far{n:03}", "i", 256) for n in range(5)]


def test_bounds_trigger_merge_and_compaction() -> None:
    rng = random.Random(0)
    index = HashIndex(EPOCH, limits(max_pending=10, max_tombstones=1000))
    for n in range(11):
        index.apply(message(f"L{n}", 1, {"i": rng.randbytes(32)}))
    assert index.stats() == IndexStats(vectors=11, listings=11, tombstones=0, pending=0, removed=0)
    for n in range(10):
        index.remove(f"L{n}", 2)
    assert index.stats() == IndexStats(vectors=1, listings=1, tombstones=10, pending=0, removed=10)
    index.remove("L10", 2)
    assert index.stats() == IndexStats(vectors=0, listings=0, tombstones=0, pending=0, removed=11)
    assert index.search(query(bytes(32)), 3, epoch=EPOCH) == [[]]


def test_older_events_and_removals_of_unknown_listings() -> None:
    index, code = HashIndex(EPOCH), bytes(32)
    assert index.remove("a", 10)
    assert not index.apply(message("a", 9, {"i": code}))
    assert not index.apply(message("a", 10, {"i": code}))  # at one event time a removal wins
    assert index.apply(message("a", 11, {"i": code}, category="mugs", state="reserved"))
    assert not index.remove("a", 10)
    held = index.get("a")
    assert held is not None
    assert (held.event_time, held.category, held.state, held.model_version) == (11, "mugs", "reserved", "m1")
    assert index.remove("a", 11)
    assert index.get("a") is None


def test_removals_beyond_the_bound_forget_the_oldest() -> None:
    index = HashIndex(EPOCH, limits(max_removed=20))
    for n in range(20):
        index.remove(f"L{n}", 100 + n)
    index.remove("L1", 200)  # again, so that it is not among the oldest any more
    index.remove("L20", 120)
    index.remove("L21", 121)
    assert index.stats().removed == 20
    for forgotten in ("L0", "L2"):  # the price
        assert index.apply(message(forgotten, 1, {"i": bytes(32)}))
    assert not index.apply(message("L1", 1, {"i": bytes(32)}))
    assert not index.apply(message("L20", 1, {"i": bytes(32)}))


def test_epochs_never_meet(tmp_path: Path) -> None:
    index = HashIndex(EPOCH)
    index.apply(message("a", 1, {"i": bytes(32)}))
    with pytest.raises(EpochMismatch, match=OTHER):
        index.apply(message("b", 1, {"i": bytes(32)}, epoch=OTHER))
    with pytest.raises(EpochMismatch, match=OTHER):
        index.search(query(bytes(32)), 1, epoch=OTHER)
    index.snapshot(tmp_path / "s", {})
    with pytest.raises(EpochMismatch):
        HashIndex.restore(tmp_path / "s", OTHER)
    assert len(index) == 1


def test_refuses_what_it_cannot_search() -> None:
    index = HashIndex(EPOCH)
    with pytest.raises(ValueError, match=r"hashes: int64 \[1, 32\]"):
        index.search(np.zeros((1, 32), np.int64), 1, epoch=EPOCH)
    with pytest.raises(ValueError, match=r"hashes: uint8 \[32\]"):
        index.search(np.zeros(32, np.uint8), 1, epoch=EPOCH)
    with pytest.raises(ValueError, match="k: 0"):
        index.search(query(bytes(32)), 0, epoch=EPOCH)
    with pytest.raises(ConfigError, match="max_pending"):
        HashIndex(EPOCH, limits(max_pending=0))


def test_a_crash_while_writing_leaves_the_old_snapshot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "state" / "index.npz"
    index = HashIndex(EPOCH)
    index.apply(message("a", 1, {"i": bytes(32)}))
    index.snapshot(path, {"0": 5})
    index.remove("a", 2)

    def power_cut(*_: object) -> None:
        raise OSError("power cut")

    monkeypatch.setattr("os.fsync", power_cut)
    with pytest.raises(OSError, match="power cut"):
        index.snapshot(path, {"0": 6})
    monkeypatch.undo()
    restored, offsets = HashIndex.restore(path, EPOCH)
    assert (len(restored), offsets) == (1, {"0": 5})
    index.snapshot(path, {"0": 6})  # and what was left behind is no obstacle
    restored, offsets = HashIndex.restore(path, EPOCH)
    assert (len(restored), offsets) == (0, {"0": 6})
    assert not restored.apply(message("a", 1, {"i": bytes(32)}))
    assert [p.name for p in path.parent.iterdir()] == ["index.npz"]


def test_a_damaged_snapshot_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "index.npz"
    index = HashIndex(EPOCH)
    index.apply(message("a", 1, {f"i{n}": random.Random(n).randbytes(32) for n in range(20)}))
    index.snapshot(path, {"0": 5})
    whole = path.read_bytes()
    for damaged in (whole[:200], whole[:-300], b"", b"PK not a zip", _flip(whole, len(whole) // 2)):
        path.write_bytes(damaged)
        with pytest.raises(SnapshotRefused, match="delete it to rebuild"):
            HashIndex.restore(path, EPOCH)
    path.unlink()
    with pytest.raises(FileNotFoundError):
        HashIndex.restore(path, EPOCH)


def _flip(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


def test_readers_always_see_a_listing_whole() -> None:
    """While one thread replaces a listing's photos, another must find all of the old ones or all of the new."""
    index = HashIndex(EPOCH, limits(max_pending=50, max_tombstones=60, threads=1))
    index.apply(message("a", 1, {f"v1-{n}": bytes(32) for n in range(3)}))
    stop, torn = threading.Event(), []

    def read() -> None:
        while not stop.is_set():
            images = [n.image_id.split("-")[0] for n in index.search(query(bytes(32)), 3, epoch=EPOCH)[0]]
            if len(images) != 3 or len(set(images)) != 1:
                torn.append(images)

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    for version in range(2, 1500):
        index.apply(message("a", version, {f"v{version}-{n}": bytes(32) for n in range(3)}))
    stop.set()
    for reader in readers:
        reader.join()
    assert torn == []


def test_public_names() -> None:
    names = [
        "HashIndex",
        "HeldCode",
        "IndexLimits",
        "IndexStats",
        "IndexedListing",
        "Neighbour",
        "SnapshotRefused",
        "Where",
    ]
    assert engines.similarity.__all__ == names


def test_boxes_of_a_photo_are_found_one_by_one_also_after_a_merge_and_a_restart(tmp_path: Path) -> None:
    """A brute force over boxes; an entry without a box stays a whole photo."""
    rng = np.random.default_rng(5)
    boxes = [None, (0.1, 0.2, 0.5, 0.6), (0.25, 0.0, 1.0, 0.3333)]
    truth = {}
    index = HashIndex(EPOCH, IndexLimits(max_pending=10, background=False))
    for number in range(30):
        codes = [(f"p{i // 3}", boxes[i % 3], rng.bytes(32)) for i in range(6)]
        truth |= {(f"L{number}", *place): code for *place, code in codes}
        images = [ImageHash(image_id=photo, hash=code.hex(), box=box) for photo, box, code in codes]
        index.apply(msgspec.structs.replace(message(f"L{number}", 1, {}), images=images))
    index.snapshot(tmp_path / "index", {})
    for one in (index, HashIndex.restore(tmp_path / "index", EPOCH)[0]):
        asked = rng.bytes(32)
        distances = {place: (int.from_bytes(code) ^ int.from_bytes(asked)).bit_count() for place, code in truth.items()}
        nearest = sorted(distances, key=lambda place: (distances[place], place[0], place[1], place[2] or ()))
        (found,) = one.search(np.frombuffer(asked, np.uint8)[None], 40, epoch=EPOCH)
        assert [(n.listing_id, n.image_id, n.box) for n in found] == nearest[:40]
        held = one.get("L7")
        assert {(c.image_id, c.box): c.code for c in held.codes} == {p[1:]: c for p, c in truth.items() if p[0] == "L7"}
