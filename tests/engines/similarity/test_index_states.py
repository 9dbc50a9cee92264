"""Ten thousand random operations on live indexes of two epochs, and after each a search that must equal brute force.

The world beside the indexes is written another way: dictionaries, Python integers, sorting. Each epoch has a log, as
its topic is one; a crash loses the index, a restore reads the snapshot and then the log from its offset on. New
messages go to the log of the epoch in force; the other one is filled by a back-fill and takes over at a cutover.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from engines.similarity import HashIndex, IndexLimits, Neighbour, Where, _snapshot
from engines.similarity._listings import Listings
from engines.similarity._merge import Merge
from engines.similarity._parts import Asked, Found, Sealed
from schemas.errors import EpochMismatch
from schemas.hashes import HashMessage, ImageHash

EPOCHS = ("0123456789ab", "ba9876543210")
CATEGORIES = ("mug", "cup", "shoe", None)
STATES = ("active", "sold")
COVERAGE = 0.8
EXACT = {"max_pending": 40, "max_tombstones": 90}
LISTS = {**EXACT, "exact_below": 60, "probes": 10_000}  # every list is read, so that answers are exact all the same
HASHED = {**EXACT, "multihash_from": 30}

Photos = dict[str, int]  # image id -> 256 bits


@dataclass
class State:
    """A listing as its newest event has it; codes are those of a model that does not exist, see `World.code`."""

    event_time: int
    photos: Photos
    category: str | None
    state: str


@dataclass
class Epoch:
    """A hash space: its log of (listing, state or None, event time), what that says, the index that follows it."""

    name: str
    index: HashIndex
    log: list[tuple[str, State | None, int]] = field(default_factory=list)
    holds: dict[str, State] = field(default_factory=dict)
    removed: dict[str, int] = field(default_factory=dict)
    saved: int | None = None


class World:
    def __init__(self, seed: int, folder: Path, **limits: int) -> None:
        self.rng = random.Random(seed)
        self.folder = folder
        self.limits = IndexLimits(background=False, **limits)
        self.epochs = [Epoch(name, HashIndex(name, self.limits)) for name in EPOCHS]
        self.active = 0
        self.truth: dict[str, State] = {}
        self.gone: dict[str, int] = {}
        self.clock = 100
        self.centres = [self.rng.getrandbits(256) for _ in range(6)]
        self.done: dict[str, int] = {}

    # what happens ----------------------------------------------------------------------------------------------

    def add(self) -> None:
        """A listing, new or newer; sometimes an event comes late."""
        self.clock += 1
        listing, late = f"shop/{self.rng.randrange(70)}", self.rng.random() < 0.15
        event_time = self.clock - (self.rng.randrange(40) if late else 0)
        photos = {f"p{i}": self.photo() for i in range(self.rng.choice([0, 1, 1, 2, 3]))}
        new = State(event_time, photos, self.rng.choice(CATEGORIES), self.rng.choice(STATES))
        self.publish(listing, new)

    def update(self) -> None:
        """One photo changes, or only the state; or nothing does, which is a replay."""
        if not self.truth:
            return
        listing = self.rng.choice(sorted(self.truth))
        old = self.truth[listing]
        self.clock += 1
        kind = self.rng.randrange(3)
        if kind == 0:
            epoch = self.epochs[self.active]
            before, known = epoch.index.stats(), epoch.holds.get(listing) == old
            self.publish(listing, old)
            after = epoch.index.stats()
            assert not known or (after.vectors, max(after.tombstones, before.tombstones)) == (
                before.vectors,
                before.tombstones,  # fewer when a merge was due
            ), "a replay leaves nothing behind"
        elif kind == 1:
            self.publish(listing, State(self.clock, old.photos, old.category, self.rng.choice(STATES)))
        else:
            self.publish(listing, State(self.clock, {**old.photos, "p0": self.photo()}, old.category, old.state))

    def delete(self) -> None:
        self.clock += 1
        late = self.rng.random() < 0.2
        self.publish(f"shop/{self.rng.randrange(70)}", None, self.clock - (30 if late else 0))

    def publish(self, listing: str, state: State | None, event_time: int = 0) -> None:
        event_time = state.event_time if state else event_time
        newest = max(self.truth[listing].event_time if listing in self.truth else 0, self.gone.get(listing, 0))
        if state is None and event_time >= newest:
            self.truth.pop(listing, None)
            self.gone[listing] = event_time
        elif state is not None and event_time >= newest and event_time > self.gone.get(listing, 0):
            self.truth[listing] = state
        self.send(self.epochs[self.active], listing, state, event_time)

    def send(self, epoch: Epoch, listing: str, state: State | None, event_time: int) -> None:
        epoch.log.append((listing, state, event_time))
        self.note(epoch, listing, state, event_time)
        self.follow(epoch, epoch.log[-1])

    def note(self, epoch: Epoch, listing: str, state: State | None, event_time: int) -> None:
        """What the epoch holds afterwards: the newest wins, a removal wins a tie."""
        held = epoch.holds.get(listing)
        newest = held.event_time if held else 0
        if state is None:
            if event_time >= max(newest, epoch.removed.get(listing, 0)):
                epoch.holds.pop(listing, None)
                epoch.removed[listing] = event_time
        elif event_time >= newest and event_time > epoch.removed.get(listing, 0):
            epoch.holds[listing] = state
            epoch.removed.pop(listing, None)

    def follow(self, epoch: Epoch, record: tuple[str, State | None, int]) -> None:
        listing, state, event_time = record
        if state is None:
            epoch.index.remove(listing, event_time)
        else:
            epoch.index.apply(self.message(epoch.name, listing, state))

    def begin_merge(self) -> None:
        """Freeze what there is; the merge ends some steps later, and what happens meanwhile must not be lost."""
        index = self.any_epoch().index
        if index._merge is None:
            with index._lock:
                index._begin(whole=self.rng.random() < 0.5)

    def end_merge(self) -> None:
        for epoch in self.epochs:
            with epoch.index._lock:
                epoch.index._finish_here()

    def compact(self) -> None:
        self.end_merge()
        index = self.any_epoch().index
        index.compact()
        assert index.stats().tombstones == index.stats().pending == 0

    def snapshot(self) -> None:
        epoch = self.any_epoch()
        epoch.index.snapshot(self.folder / epoch.name, {"0": len(epoch.log)})
        epoch.saved = len(epoch.log)

    def crash(self) -> None:
        """Without a snapshot the whole log is read again."""
        epoch = self.any_epoch()
        if epoch.saved is None:
            epoch.index, start = HashIndex(epoch.name, self.limits), 0
        else:
            epoch.index, offsets = HashIndex.restore(self.folder / epoch.name, epoch.name, self.limits)
            assert offsets == {"0": epoch.saved}
            start = epoch.saved
        for record in epoch.log[start:]:
            self.follow(epoch, record)

    def backfill(self) -> None:
        """A few of the listings that the other epoch lacks, or has an older state of."""
        other = self.epochs[1 - self.active]
        lacking = [name for name, state in self.truth.items() if other.holds.get(name) != state]
        for listing in self.rng.sample(sorted(lacking), min(8, len(lacking))):
            self.send(other, listing, self.truth[listing], self.truth[listing].event_time)
        for listing in sorted(set(other.holds) - set(self.truth))[:8]:
            self.send(other, listing, None, self.gone[listing])

    def cutover(self) -> None:
        other = self.epochs[1 - self.active]
        covered = sum(other.holds.get(name) == state for name, state in self.truth.items())
        if covered >= COVERAGE * len(self.truth):
            self.active = 1 - self.active
            self.done["switched"] = self.done.get("switched", 0) + 1

    # what is asked ---------------------------------------------------------------------------------------------

    def check(self) -> None:
        """The epoch in force, and now and then the other one, answers as brute force does."""
        self.compare(self.epochs[self.active])
        if self.rng.random() < 0.2:
            other = self.epochs[1 - self.active]
            self.compare(other)
            with pytest.raises(EpochMismatch):
                other.index.search(np.zeros((1, 32), np.uint8), 1, epoch=self.epochs[self.active].name)
            with pytest.raises(EpochMismatch):
                other.index.apply(self.message(self.epochs[self.active].name, "x", State(1, {}, None, "active")))

    def compare(self, epoch: Epoch) -> None:
        code, k = self.code(epoch.name, self.photo()), self.rng.choice([1, 3, 10, 400])
        radius = self.rng.choice([None, None, 0, 5, 31, 200])
        where = None
        if self.rng.random() < 0.4:
            categories = self.rng.choice([None, {"mug"}, {"cup", "shoe"}, {"nothing"}])
            where = Where(categories and frozenset(categories), self.rng.choice([None, frozenset({"sold"})]))
        asked = np.frombuffer(code.to_bytes(32, "big"), np.uint8)[None]
        found = epoch.index.search(asked, k, epoch=epoch.name, where=where, radius=radius)[0]
        assert found == self.brute_force(epoch, code, k, where, radius)
        listing = f"shop/{self.rng.randrange(70)}"
        held, got = epoch.holds.get(listing), epoch.index.get(listing)
        assert (held is None) == (got is None)
        if held and got:
            codes = {image: self.code(epoch.name, photo).to_bytes(32, "big") for image, photo in held.photos.items()}
            assert (got.event_time, got.category, got.state, {one.image_id: one.code for one in got.codes}) == (
                held.event_time,
                held.category,
                held.state,
                codes,
            )
        stats = epoch.index.stats()
        photos = [len(state.photos) for state in epoch.holds.values()]
        assert (stats.listings, stats.vectors) == (sum(count > 0 for count in photos), sum(photos))

    def brute_force(self, epoch: Epoch, code: int, k: int, where: Where | None, radius: int | None) -> list[Neighbour]:
        found = []
        for listing, state in epoch.holds.items():
            if where and where.categories is not None and state.category not in where.categories:
                continue
            if where and where.states is not None and state.state not in where.states:
                continue
            for image, photo in state.photos.items():
                found.append(((code ^ self.code(epoch.name, photo)).bit_count(), listing, image))
        near = [one for one in sorted(found) if radius is None or one[0] <= radius]
        return [Neighbour(listing, image, distance) for distance, listing, image in near[:k]]

    # helpers ---------------------------------------------------------------------------------------------------

    def photo(self) -> int:
        value = self.rng.choice(self.centres)
        for _ in range(self.rng.randrange(5)):
            value ^= 1 << self.rng.randrange(256)
        return value

    def code(self, epoch: str, photo: int) -> int:
        """The hash of a photo under an epoch: near photos stay near, two epochs have nothing in common."""
        return photo ^ int.from_bytes(hashlib.sha256(epoch.encode()).digest(), "big")

    def message(self, epoch: str, listing: str, state: State) -> HashMessage:
        images = [ImageHash(image_id=i, hash=f"{self.code(epoch, p):064x}") for i, p in state.photos.items()]
        return HashMessage(
            listing_id=listing,
            event_time=state.event_time,
            epoch=epoch,
            model_version="m1",
            state=state.state,
            category=state.category,
            images=images,
        )

    def any_epoch(self) -> Epoch:
        return self.epochs[self.active if self.rng.random() < 0.7 else 1 - self.active]

    def run(self, steps: int) -> dict[str, int]:
        common = [self.add, self.update, self.delete, self.end_merge, self.begin_merge, self.backfill]
        rare = [self.compact, self.snapshot, self.crash, self.cutover]
        for _ in range(steps):
            operation = self.rng.choices([*common, *rare], weights=[40, 22, 14, 6, 5, 4, 1, 2, 1.5, 2])[0]
            operation()
            self.done[operation.__name__] = self.done.get(operation.__name__, 0) + 1
            self.check()
        self.end_merge()
        self.check()
        return self.done


@pytest.mark.parametrize(
    ("seed", "limits", "steps"),
    [
        pytest.param(1, EXACT, 10_000, marks=pytest.mark.slow, id="exact, long"),
        pytest.param(4, EXACT, 2_000, id="exact"),
        pytest.param(2, LISTS, 2_500, id="lists"),
        pytest.param(3, HASHED, 2_500, id="hashed"),
    ],
)
def test_every_answer_equals_brute_force(seed: int, limits: dict[str, int], steps: int, tmp_path: Path) -> None:
    done = World(seed, tmp_path, **limits).run(steps)
    assert min(done.values()) >= 5, done
    assert len(done) == 11, f"every operation, and switches of the epoch: {done}"


def _forget_the_killed(world: World, patch: pytest.MonkeyPatch) -> None:
    take = Listings.take

    def forgetful(self: Listings, merge: Merge, part: Sealed) -> None:
        self._killed = []
        take(self, merge, part)

    patch.setattr(Listings, "take", forgetful)


def _save_offsets_ahead(world: World, patch: pytest.MonkeyPatch) -> None:
    def ahead() -> None:
        for epoch in world.epochs:
            epoch.saved = len(epoch.log) + 1
            epoch.index.snapshot(world.folder / epoch.name, {"0": epoch.saved})

    patch.setattr(world, "snapshot", ahead)


def _forget_the_filter(world: World, patch: pytest.MonkeyPatch) -> None:
    living = Sealed._living

    def all_of_them(self: Sealed, distances: np.ndarray, rows: np.ndarray, asked: Asked) -> Found:
        return living(self, distances, rows, asked._replace(admitted=None))

    patch.setattr(Sealed, "_living", all_of_them)


def _forget_the_dead_of_a_snapshot(world: World, patch: pytest.MonkeyPatch) -> None:
    read = _snapshot._read_part
    patch.setattr(_snapshot, "_read_part", lambda path, dead, limits: read(path, dead[:0], limits))


@pytest.mark.parametrize(
    "plant", [_forget_the_killed, _save_offsets_ahead, _forget_the_filter, _forget_the_dead_of_a_snapshot]
)
def test_the_walk_catches_a_planted_bug(
    plant: Callable[[World, pytest.MonkeyPatch], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(1, tmp_path, **EXACT)
    plant(world, monkeypatch)
    with pytest.raises(AssertionError):
        world.run(4_000)
