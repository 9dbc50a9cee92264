"""What the sealed parts promise: kinds by size, merges beside a writer and readers, files written once."""

from __future__ import annotations

import random
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from engines.similarity import HashIndex, IndexLimits, SnapshotRefused
from engines.similarity._directory import Entry, build_directory, join
from engines.similarity._flat import SURE_BITS, FlatCodes
from engines.similarity._ivf import IvfCodes
from engines.similarity.index import _wait_for_readers
from schemas.errors import ConfigError
from schemas.hashes import HashMessage, ImageHash

EPOCH = "0123456789ab"


def message(listing_id: str, event_time: int, *codes: int) -> HashMessage:
    images = [ImageHash(image_id=f"p{i}", hash=f"{code:064x}") for i, code in enumerate(codes)]
    return HashMessage(
        listing_id=listing_id,
        event_time=event_time,
        epoch=EPOCH,
        model_version="m1",
        state="active",
        category=None,
        images=images,
    )


def filled(count: int, rng: random.Random, **limits: int) -> HashIndex:
    index = HashIndex(EPOCH, IndexLimits(background=False, **limits))
    for n in range(count):
        index.apply(message(f"L{n}", 1, rng.getrandbits(256)))
    return index


def kinds(index: HashIndex) -> list[type]:
    return [type(part.codes) for part in index._listings.view.sealed]


def test_the_kind_of_a_part_goes_by_its_size_and_centres_are_learned_anew_when_outgrown() -> None:
    rng = random.Random(1)
    index = filled(150, rng, max_pending=16, exact_below=200)
    index.compact()
    assert kinds(index) == [FlatCodes]
    for n in range(150, 300):
        index.apply(message(f"L{n}", 1, rng.getrandbits(256)))
    index.compact()
    part = index._listings.view.sealed[0].codes
    assert isinstance(part, IvfCodes)
    centres = part.centres
    for n in range(300, 1000):
        index.apply(message(f"L{n}", 1, rng.getrandbits(256)))
    index.compact()
    grown = index._listings.view.sealed[0].codes
    assert isinstance(grown, IvfCodes)
    assert grown.centres is centres, "new codes are assigned to the lists there are"
    for n in range(1000, 1400):
        index.apply(message(f"L{n}", 1, rng.getrandbits(256)))
    index.compact()
    index.apply(message("L1", 2, 0))
    index.compact()
    anew = index._listings.view.sealed[0].codes
    assert isinstance(anew, IvfCodes)
    assert len(anew.centres) > len(centres)
    for n in range(2, 1400):
        index.remove(f"L{n}", 3)
    index.compact()
    assert kinds(index) == [FlatCodes]
    assert len(index) == 2


def test_near_duplicates_by_multi_index_hash_equal_reading_all() -> None:
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 256, (3000, 32), dtype=np.uint8)
    for row in range(1, 600):  # a chain of near ones
        codes[row] = codes[row - 1]
        codes[row, rng.integers(0, 32, 3)] ^= np.uint8(1 << rng.integers(0, 8))
    plain = FlatCodes(codes, IndexLimits())
    hashed = FlatCodes(codes, IndexLimits(multihash_from=100))
    assert (plain.near, hashed.near) == (0, SURE_BITS)
    for row in (0, 100, 599, 2999):
        for bits in (0, 1, 8, SURE_BITS, SURE_BITS + 1):
            found = [
                dict(zip(*reversed(one.within(codes[row : row + 1], bits)), strict=True)) for one in (plain, hashed)
            ]
            distances = np.bitwise_count(codes ^ codes[row]).sum(axis=1)
            assert found[0] == found[1] == {i: distances[i] for i in np.flatnonzero(distances <= bits)}


def test_merges_beside_a_writer_and_readers_lose_nothing() -> None:
    """Readers ask for a listing that always is there, and for one whose photos change all together."""
    rng = random.Random(2)
    index = HashIndex(EPOCH, IndexLimits(max_pending=64, max_tombstones=300, exact_below=900, probes=10_000))
    fixed = rng.getrandbits(256)
    index.apply(message("fixed", 1, fixed))
    stop, wrong = threading.Event(), []

    def read() -> None:
        code = np.frombuffer(fixed.to_bytes(32, "big"), np.uint8)[None]
        while not stop.is_set():
            found = index.search(code, 1, epoch=EPOCH)[0]
            if [n.listing_id for n in found] != ["fixed"]:
                wrong.append(found)

    reader = threading.Thread(target=read)
    reader.start()
    held: dict[str, int] = {"fixed": fixed}
    for step in range(2, 3000):
        name, code = f"L{rng.randrange(900)}", rng.getrandbits(256)
        if rng.random() < 0.2:
            index.remove(name, step)
            held.pop(name, None)
        else:
            index.apply(message(name, step, code))
            held[name] = code
    stop.set()
    reader.join()
    assert wrong == []
    index.settle()
    assert len(index) == len(held)
    for name, code in held.items():
        got = index.get(name)
        assert got is not None
        assert got.codes == [("p0", code.to_bytes(32, "big"), None)]


def test_who_dies_while_a_part_is_made_is_dead_in_it() -> None:
    """Most are buried before the part is taken, the last ones as it is."""
    index = filled(300, random.Random(5))
    index.compact()
    with index._lock:
        index._begin(whole=True)
    merge = index._merge
    assert merge is not None
    part = merge.run(index._limits)
    for n in range(200):
        index.remove(f"L{n}", 2)
    index._catch_up(part)
    assert np.count_nonzero(part.died == 0) == 200
    for n in range(200, 220):
        index.remove(f"L{n}", 2)
    with index._lock:
        index._take(part)
    found = index.search(np.zeros((1, 32), np.uint8), 400, epoch=EPOCH)[0]
    assert {n.listing_id for n in found} == {f"L{n}" for n in range(220, 300)}
    assert index.stats().listings == 80


def test_a_replaced_part_outlives_its_readers() -> None:
    """The thread that merged frees it; here a reader has it for half a second longer."""
    index = filled(50, random.Random(6))
    index.compact()
    parts = index._listings.view.sealed
    read = [parts[0]]
    index.apply(message("more", 1, 1))
    index.compact()
    del parts
    old, began = tuple(read), time.monotonic()
    threading.Timer(0.5, read.clear).start()
    _wait_for_readers(old)
    assert 0.4 < time.monotonic() - began < 5


def test_a_part_is_written_once_and_its_file_goes_with_it(tmp_path: Path) -> None:
    rng = random.Random(3)
    index, path = filled(100, rng, max_pending=10), tmp_path / "s"
    index.compact()
    index.snapshot(path, {"0": 1})
    (part,) = tmp_path.glob("s.*.part")
    before = part.stat().st_ino
    index.remove("L5", 2)
    index.apply(message("L6", 2, 0))
    index.snapshot(path, {"0": 2})
    assert [p.stat().st_ino for p in tmp_path.glob("s.*.part")] == [before]
    restored, offsets = HashIndex.restore(path, EPOCH)
    assert (offsets, len(restored), restored.get("L5")) == ({"0": 2}, 99, None)
    index.compact()
    index.snapshot(path, {"0": 3})
    (newer,) = tmp_path.glob("s.*.part")
    assert newer.name != part.name
    newer.write_bytes(newer.read_bytes()[:-300])
    with pytest.raises(SnapshotRefused, match="delete it to rebuild"):
        HashIndex.restore(path, EPOCH)
    newer.unlink()
    with pytest.raises(SnapshotRefused, match="delete it to rebuild"):
        HashIndex.restore(path, EPOCH)


def test_joined_directories_keep_every_id_whatever_its_length() -> None:
    rng = random.Random(4)
    entries = [
        Entry(f"{'x' * rng.randrange(100)}{n}", n, n % 3, tuple(f"i{rng.randrange(10**9)}" for _ in range(n % 4)))
        for n in range(200)
    ]
    first, order_1 = build_directory(entries[:120])
    second, order_2 = build_directory(entries[120:])
    kept = [np.arange(0, 120, 2), np.arange(80)]
    joined, moved = join([(first, kept[0]), (second, kept[1])])
    expected = [entries[order_1[i]] for i in kept[0]] + [entries[120 + order_2[i]] for i in kept[1]]
    assert len(joined) == len(expected)
    for entry in expected:
        slot = joined.find(entry.listing_id)
        assert joined.ids(slot) == (entry.listing_id, entry.image_ids)
        assert (joined.event_times[slot], joined.profiles[slot]) == (entry.event_time, entry.profile)
        assert len(joined.rows_of(slot)) == len(entry.image_ids)
    assert joined.find("nobody") == -1
    for source, (old, new) in zip((first, second), moved, strict=True):
        for before, after in zip(old.tolist(), new.tolist(), strict=True):
            slot_before, slot_after = source.slot_of(before), joined.slot_of(after)
            assert source.ids(slot_before) == joined.ids(slot_after)
            assert before - source.first_rows[slot_before] == after - joined.first_rows[slot_after]


def test_a_gpu_that_is_not_there_is_named_at_once() -> None:
    with pytest.raises(ConfigError, match="finds no GPU"):
        HashIndex(EPOCH, IndexLimits(gpu=True))
