"""Knows where each listing's newest state is, and has the view that readers see. One thread at a time changes it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from engines.similarity._flat import Codes
from engines.similarity._merge import Held, Merge
from engines.similarity._owners import owner_text, read_owner
from engines.similarity._parts import ALIVE, Sealed, Tail
from engines.similarity._profiles import Profile, Profiles
from engines.similarity._view import View
from engines.similarity.types import CODE_BYTES, HeldCode, IndexedListing
from schemas.hashes import HashMessage

_Scalar = TypeVar("_Scalar", bound=np.generic)


class Place(NamedTuple):
    """Where a listing's current state is: `rows` of `part`. A `slot` of -1 means that the part is a tail."""

    listing_id: str
    event_time: int
    profile: int
    part: Sealed | Tail
    slot: int
    rows: Sequence[int]


class Fresh(NamedTuple):
    """A listing of a tail with its codes, uint8 [photos, 32], and their texts (`engines/similarity/_owners.py`)."""

    listing_id: str
    event_time: int
    profile: int
    image_ids: list[str]
    codes: Codes


class Listings:
    """The parts, and which codes are alive. `view` is replaced as a whole. Every method needs the caller's lock."""

    def __init__(self) -> None:
        self.profiles = Profiles()
        self.view = View((), (_empty_tail(),), 0, 0, 0)
        self._new: dict[str, Held] = {}  # listings of the last tail, which grows
        self._frozen: dict[str, Held] = {}  # listings of the tail before it, while it is merged
        self._killed: list[str] | None = None  # listings deleted since the freeze, outside the last tail

    def find(self, listing_id: str) -> Place | None:
        """Return where a listing's current state is, or None."""
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
        """Return what the index holds at a place."""
        profile = self.profiles[place.profile]
        codes = []
        for row in place.rows:
            image_id, box = read_owner(place.part.owner(row)[1])
            codes.append(HeldCode(image_id, place.part.code(row), box))
        return IndexedListing(place.listing_id, place.event_time, *profile, codes)

    def put(self, held: Place | None, message: HashMessage, codes: Codes) -> None:
        """Replace a listing's state by a message with codes uint8 [photos, 32]. A repeated message changes nothing."""
        profile = self.profiles.number(Profile(message.model_version, message.state, message.category))
        image_ids = [owner_text(image) for image in message.images]
        if held is not None and (held.event_time, held.profile) == (message.event_time, profile):
            images = list(zip(image_ids, map(bytes, codes), strict=True))
            if [(held.part.owner(row)[1], held.part.code(row)) for row in held.rows] == images:
                return  # a replay must not leave dead codes
        self._change(held, Fresh(message.listing_id, message.event_time, profile, image_ids, codes))

    def drop(self, held: Place) -> None:
        """Delete a listing's state."""
        self._change(held, None)

    def _change(self, held: Place | None, new: Fresh | None) -> None:
        """Delete a state and add another one; readers see both at once."""
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
            tails[-1].died[list(held.rows)] = generation  # the array of the next view, which may have grown
            if not replaced:
                del self._new[held.listing_id]
            return
        else:
            held.part.died[list(held.rows)] = generation
            del self._frozen[held.listing_id]
        if self._killed is not None:
            self._killed.append(held.listing_id)

    def freeze(self, sealed: tuple[Sealed, ...]) -> Merge:
        """Freeze the growing tail, begin another, and return the merge of the frozen one and `sealed`."""
        view = self.view
        tail = view.tails[-1]
        whole = len(sealed) == len(view.sealed)
        merge = Merge(tail, list(self._new.items()), sealed, view.generation, whole)
        self._frozen, self._new, self._killed = self._new, {}, []
        self.view = replace(view, tails=(tail, _empty_tail()))
        return merge

    def killed(self) -> list[str]:
        """Return the listings deleted outside the last tail since the freeze, or since the last call."""
        killed, self._killed = self._killed or [], []
        return killed

    def take(self, merge: Merge, part: Sealed) -> None:
        """Replace the merged parts by the new one. Codes deleted during the merge are marked deleted in it."""
        view = self.view
        left = tuple(one for one in view.sealed if one not in merge.sealed)
        tail, generation = view.tails[-1], view.generation
        if merge.whole:  # nothing alive has an older generation, so start again at 1: it never overflows
            generation = 1
            tail = replace(tail, died=np.where(tail.died == ALIVE, tail.died, np.uint32(0)))
        part.mark_deleted(self._killed or ())
        self._frozen, self._killed = {}, None
        sealed = (*left, part) if len(part.directory) else left
        self.view = replace(view, sealed=sealed, tails=(tail,), generation=generation)

    def fresh(self) -> list[Fresh]:
        """Return the current listings of the tails."""
        tails = self.view.tails
        listings = []
        for held_by, tail in ((self._frozen, tails[0]), (self._new, tails[-1])):
            for listing_id, held in held_by.items():
                rows = list(held.rows)
                image_ids = [tail.owners[row][1] for row in rows]
                listings.append(Fresh(listing_id, held.event_time, held.profile, image_ids, tail.codes[rows]))
        return listings

    def fill(self, profiles: Iterable[Profile], sealed: Sequence[Sealed], fresh: Iterable[Fresh]) -> None:
        """Load a snapshot's content, before any reader. A `died` of 0 means deleted before the snapshot."""
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
    """Return the tail with one more listing. Both share arrays while these have room."""
    count = tail.count + len(new.codes)
    codes, died, profiles = _room(tail.codes, count), _room(tail.died, count), _room(tail.profiles, count)
    codes[tail.count : count] = new.codes
    died[tail.count : count] = ALIVE
    profiles[tail.count : count] = new.profile
    tail.owners.extend((new.listing_id, image_id) for image_id in new.image_ids)
    return Tail(codes, died, profiles, tail.owners, count)


def _room(array: npt.NDArray[_Scalar], rows: int) -> npt.NDArray[_Scalar]:
    """Return `array` if it has `rows` rows, otherwise a copy with twice the room. Readers keep the old array."""
    if rows <= len(array):
        return array
    grown = np.empty((max(rows, 2 * len(array), 1024), *array.shape[1:]), array.dtype)
    grown[: len(array)] = array
    return grown
