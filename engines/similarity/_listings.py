"""Where each listing's newest state lies, and the view that readers see. One thread at a time changes it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from engines.similarity._flat import Codes
from engines.similarity._merge import Held, Merge
from engines.similarity._parts import ALIVE, Sealed, Tail
from engines.similarity._profiles import Profile, Profiles
from engines.similarity._view import View
from engines.similarity.types import CODE_BYTES, IndexedListing
from schemas.hashes import HashMessage

_Scalar = TypeVar("_Scalar", bound=np.generic)


class Place(NamedTuple):
    """The living state of a listing: `rows` of `part`, which is a tail where `slot` is -1."""

    listing_id: str
    event_time: int
    profile: int
    part: Sealed | Tail
    slot: int
    rows: Sequence[int]


class Fresh(NamedTuple):
    """A listing of a tail, in full: codes uint8 [images, 32]."""

    listing_id: str
    event_time: int
    profile: int
    image_ids: list[str]
    codes: Codes


class Listings:
    """The parts and what lives in them. `view` is swapped as a whole; every other method needs the caller's lock."""

    def __init__(self) -> None:
        self.profiles = Profiles()
        self.view = View((), (_empty_tail(),), 0, 0, 0)
        self._new: dict[str, Held] = {}  # of the last tail, which grows
        self._frozen: dict[str, Held] = {}  # of the tail before it, while it is merged
        self._killed: list[str] | None = None  # since the freeze, outside of the last tail

    def find(self, listing_id: str) -> Place | None:
        """Where its living state lies; None when it has none."""
        tails = self.view.tails
        for held, tail in ((self._new.get(listing_id), tails[-1]), (self._frozen.get(listing_id), tails[0])):
            if held is not None:
                return Place(listing_id, held.event_time, held.profile, tail, -1, held.rows)
        for part in self.view.sealed:
            slot = part.directory.find(listing_id)
            if slot >= 0 and part.died[slot] == ALIVE:
                directory = part.directory
                event_time, profile = int(directory.event_times[slot]), int(directory.profiles[slot])
                return Place(listing_id, event_time, profile, part, slot, directory.rows_of(slot))
        return None

    def show(self, place: Place) -> IndexedListing:
        """What is held there."""
        profile = self.profiles[place.profile]
        images = {place.part.owner(row)[1]: place.part.code(row) for row in place.rows}
        return IndexedListing(place.listing_id, place.event_time, *profile, images)

    def put(self, held: Place | None, message: HashMessage, codes: Codes) -> None:
        """Let a message's codes [images, 32] take the place of what is held; the same once more changes nothing."""
        profile = self.profiles.number(Profile(message.model_version, message.state, message.category))
        image_ids = [image.image_id for image in message.images]
        if held is not None and (held.event_time, held.profile) == (message.event_time, profile):
            images = list(zip(image_ids, map(bytes, codes), strict=True))
            if [(held.part.owner(row)[1], held.part.code(row)) for row in held.rows] == images:
                return  # a replay must not leave tombstones
        self._change(held, Fresh(message.listing_id, message.event_time, profile, image_ids, codes))

    def drop(self, held: Place) -> None:
        """Its state dies."""
        self._change(held, None)

    def _change(self, held: Place | None, new: Fresh | None) -> None:
        """Kill a state and add another in one step for readers."""
        view = self.view
        generation, vectors, listings = view.generation + 1, view.vectors, view.listings
        tails = view.tails
        if new is not None:
            tail = _grown(tails[-1], new)
            self._new[new.listing_id] = Held(new.event_time, new.profile, tuple(range(tails[-1].count, tail.count)))
            tails = (*tails[:-1], tail)
            vectors, listings = vectors + len(new.codes), listings + (len(new.codes) > 0)  # without one: never found
        if held is not None:
            self._kill(held, generation, tails, replaced=new is not None)
            vectors, listings = vectors - len(held.rows), listings - (len(held.rows) > 0)
        self.view = replace(view, tails=tails, generation=generation, vectors=vectors, listings=listings)

    def _kill(self, held: Place, generation: int, tails: tuple[Tail, ...], *, replaced: bool) -> None:
        if isinstance(held.part, Sealed):
            held.part.died[held.slot] = generation
        elif held.part is self.view.tails[-1]:
            tails[-1].died[list(held.rows)] = generation  # the array that the next view has, which may have grown
            if not replaced:
                del self._new[held.listing_id]
            return
        else:
            held.part.died[list(held.rows)] = generation
            del self._frozen[held.listing_id]
        if self._killed is not None:
            self._killed.append(held.listing_id)

    def freeze(self, sealed: tuple[Sealed, ...]) -> Merge:
        """End the tail that grows and begin another; the frozen one and `sealed` are to be merged."""
        view = self.view
        tail = view.tails[-1]
        whole = len(sealed) == len(view.sealed)
        merge = Merge(tail, list(self._new.items()), sealed, view.generation, whole)
        self._frozen, self._new, self._killed = self._new, {}, []
        self.view = replace(view, tails=(tail, _empty_tail()))
        return merge

    def killed(self) -> list[str]:
        """Who died since the freeze, or since this was last asked, outside of the last tail."""
        killed, self._killed = self._killed or [], []
        return killed

    def take(self, merge: Merge, part: Sealed) -> None:
        """Put the merged part in the place of what it was made of; who died meanwhile is dead in it too."""
        view = self.view
        left = tuple(one for one in view.sealed if one not in merge.sealed)
        tail, generation = view.tails[-1], view.generation
        if merge.whole:  # nobody who lives now knows an older generation: begin again, so that it never overflows
            generation = 1
            tail = replace(tail, died=np.where(tail.died == ALIVE, tail.died, np.uint32(0)))
        part.bury(self._killed or ())
        self._frozen, self._killed = {}, None
        sealed = (*left, part) if len(part.directory) else left
        self.view = replace(view, sealed=sealed, tails=(tail,), generation=generation)

    def fresh(self) -> list[Fresh]:
        """The living listings of the tails."""
        tails = self.view.tails
        listings = []
        for held_by, tail in ((self._frozen, tails[0]), (self._new, tails[-1])):
            for listing_id, held in held_by.items():
                rows = list(held.rows)
                image_ids = [tail.owners[row][1] for row in rows]
                listings.append(Fresh(listing_id, held.event_time, held.profile, image_ids, tail.codes[rows]))
        return listings

    def fill(self, profiles: Iterable[Profile], sealed: Sequence[Sealed], fresh: Iterable[Fresh]) -> None:
        """Take on what a snapshot held, before anybody reads; generation 0 died before it."""
        self.profiles = Profiles(profiles)
        living = [np.diff(part.directory.first_rows)[part.died > 0] for part in sealed]  # codes of each listing
        listings = sum(int(np.count_nonzero(codes)) for codes in living)
        vectors = sum(int(codes.sum()) for codes in living)
        self.view = View(tuple(sealed), (_empty_tail(),), 1, vectors, listings)
        for one in fresh:
            self._change(None, one)


def _empty_tail() -> Tail:
    return Tail(np.empty((0, CODE_BYTES), np.uint8), np.empty(0, np.uint32), np.empty(0, np.uint32), [], 0)


def _grown(tail: Tail, new: Fresh) -> Tail:
    """The tail with one more listing; arrays are shared while they have room."""
    count = tail.count + len(new.codes)
    codes, died, profiles = _room(tail.codes, count), _room(tail.died, count), _room(tail.profiles, count)
    codes[tail.count : count] = new.codes
    died[tail.count : count] = ALIVE
    profiles[tail.count : count] = new.profile
    tail.owners.extend((new.listing_id, image_id) for image_id in new.image_ids)
    return Tail(codes, died, profiles, tail.owners, count)


def _room(array: npt.NDArray[_Scalar], rows: int) -> npt.NDArray[_Scalar]:
    """`array` if it has that many rows, else a copy with twice the room; readers keep the old one."""
    if rows <= len(array):
        return array
    grown = np.empty((max(rows, 2 * len(array), 1024), *array.shape[1:]), array.dtype)
    grown[: len(array)] = array
    return grown
