"""Which listings share photos: near copies of photos, by the binary index, kept up to date with each change.

Two photos are near copies if at most `radius` of 256 bits differ. A photo of which more than `most_copies` other
listings have a near copy is *common*: a placeholder, a size chart, a logo. It says nothing about the product, and joins
nothing. Two listings are linked if at least half of the photos of the one with fewer photos have a near copy in the
other; common photos do not count.

The links are a function of the listings that are held now. The order in which they came does not matter, with one
exception: a common photo of which more than `most_visits` near copies are held is *crowded*. Others do not count it, so
that its listing costs no visit to all of these. When a listing is removed or changed, and no more than `most_visits`
near copies of its photo are left, the crowded ones among them are counted after all.

Links are kept, and each change makes those anew that it may change: the links of the listing itself, and of listings
with a photo that becomes common or is common no longer. Two other listings are linked as before, because their photos
and what counts of these are the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Set

import msgspec
import numpy as np

from engines.similarity import HashIndex, IndexedListing, IndexLimits
from schemas.hashes import HASH_BYTES, HashMessage

_FIRST_K = 64  # near copies to ask for at first; four times as many while there are more
_NEVER = 2**62  # an inverted file would miss some near copies, and then the groups would depend on the order
_NONE: frozenset[str] = frozenset()


class _Photo:
    """One photo of a listing. `copies`: the number of other listings with a near copy of it that is counted. `near`:
    these listings; None if the photo is common. `counted`: whether its near copies count it, too."""

    __slots__ = ("code", "copies", "counted", "near")

    def __init__(self, code: bytes) -> None:
        self.code = code
        self.copies = 0
        self.counted = True
        self.near: set[str] | None = set()


class Links:
    """The photos of all live listings of an epoch, and their near copies. Only one thread may call it."""

    def __init__(self, epoch: str, *, radius: int, most_copies: int, most_visits: int) -> None:
        self._index = HashIndex(epoch, IndexLimits(exact_below=_NEVER))
        self._radius = radius
        self._most_copies = most_copies
        self._most_visits = most_visits
        self._photos: dict[str, dict[str, _Photo]] = {}
        self._linked: dict[str, set[str]] = {}

    def __len__(self) -> int:
        return len(self._photos)

    def __contains__(self, listing_id: object) -> bool:
        return listing_id in self._photos

    def __iter__(self) -> Iterator[str]:
        return iter(self._photos)

    def put(self, message: HashMessage) -> set[str] | None:
        """Replace the photos of a listing. A photo with several boxes counts by its first one.

        Returns:
            The listings whose links may have changed, this one included; None if the message is older than what is
            held.

        Raises:
            EpochMismatch: the message has another epoch.
        """
        first = {image.image_id: image for image in reversed(message.images)}
        bare = msgspec.structs.replace(message, images=[first[image_id] for image_id in reversed(first)])
        if not self._index.apply(bare):
            return None
        listing_id, held = message.listing_id, self._photos.get(message.listing_id, {})
        codes = {image.image_id: bytes.fromhex(image.hash) for image in bare.images}
        if codes == {image_id: photo.code for image_id, photo in held.items()}:
            return {listing_id, *self.linked(listing_id)}  # its attributes may have changed
        turned = self._forget(listing_id)
        if codes:
            turned |= self._hold(listing_id, codes)
        return self._link_anew(listing_id, turned)

    def remove(self, listing_id: str, event_time: int) -> set[str] | None:
        """Remove a listing at `event_time` (UTC microseconds). Returns as `put`."""
        if not self._index.remove(listing_id, event_time):
            return None
        return self._link_anew(listing_id, self._forget(listing_id))

    def knows(self, listing_id: str) -> bool:
        """Whether the topic said anything of a listing: its photos, that it has none, or its removal."""
        return self._index.get(listing_id) is not None or self._index.removed_at(listing_id) is not None

    def codes(self, listing_id: str) -> dict[str, bytes]:
        """The hash of each photo that is held of a listing, 32 bytes each; empty for an unknown one."""
        return {image_id: photo.code for image_id, photo in self._photos.get(listing_id, {}).items()}

    def event_time(self, listing_id: str) -> int:
        """The event time (UTC microseconds) of what is held of a listing. Raises KeyError for an unknown one."""
        return self._held(listing_id).event_time

    def category(self, listing_id: str) -> str | None:
        """The category that the seller gave. Raises KeyError for an unknown listing."""
        return self._held(listing_id).category

    def _held(self, listing_id: str) -> IndexedListing:
        held = self._index.get(listing_id)
        if held is None:
            raise KeyError(listing_id)
        return held

    def linked(self, listing_id: str) -> Set[str]:
        """The listings that share enough photos with a listing. The set changes with the next change."""
        return self._linked.get(listing_id, _NONE)

    def _link_anew(self, listing_id: str, turned: set[str]) -> set[str]:
        """Make the links of a listing anew, and of those with a photo that became common or is common no longer.
        Returns the listings whose links may have changed."""
        touched = {listing_id}
        for name in (listing_id, *(turned - {listing_id})):
            before, now = self._linked.pop(name, set()), self._shared(name)
            for other in before - now:
                if other in self._linked:
                    self._linked[other].discard(name)
            for other in now - before:
                if other in self._linked:
                    self._linked[other].add(name)
            if name in self._photos:
                self._linked[name] = now
            touched |= before | now if name == listing_id else (before ^ now) | {name}
        return touched

    def _shared(self, listing_id: str) -> set[str]:
        """The listings that share enough photos with a listing, by their photos."""
        photos = self._counting(listing_id)
        shared: dict[str, int] = {}
        for photo in photos:
            for other in photo.near or ():
                shared[other] = shared.get(other, 0) + 1
        found = set()
        for other, mine in shared.items():
            theirs, back = self._counting(other), 0
            for photo in theirs:
                back += listing_id in (photo.near or ())
            if back and 2 * min(mine, back) >= min(len(photos), len(theirs)):
                found.add(other)
        return found

    def _counting(self, listing_id: str) -> list[_Photo]:
        """The photos of a listing that are not common."""
        return [photo for photo in self._photos.get(listing_id, {}).values() if photo.near is not None]

    def _hold(self, listing_id: str, codes: dict[str, bytes]) -> set[str]:
        """Hold the photos of a listing. Returns the listings with a photo that became common."""
        turned: set[str] = set()
        photos = {image_id: _Photo(code) for image_id, code in codes.items()}
        seen: set[tuple[str, str]] = set()
        for photo in photos.values():
            hits = self._hits(photo.code, listing_id, bounded=True)
            if hits is None:
                photo.counted, photo.near = False, None
                continue
            near = self._counted(hits)
            photo.copies = len(near)
            photo.near = None if photo.copies > self._most_copies else near
            seen |= hits
        for other, image_id in seen:
            if self._copied(self._photos[other][image_id], by=listing_id):
                turned.add(other)
        self._photos[listing_id] = photos
        return turned

    def _copied(self, photo: _Photo, by: str) -> bool:
        """A photo has a near copy more. Returns whether it became common."""
        photo.copies += 1
        if photo.near is None:
            return False
        if photo.copies > self._most_copies:
            photo.near = None
            return True
        photo.near.add(by)
        return False

    def _forget(self, listing_id: str) -> set[str]:
        """Forget the photos of a listing. Returns the listings with a photo that is common or crowded no longer, or
        that became common because a crowded one counts now. While a photo is crowded, the listings that count visit
        all of its near copies here, and the others no more than about `most_visits`."""
        turned: set[str] = set()
        seen: set[tuple[str, str]] = set()
        few: set[tuple[str, str]] = set()
        for photo in self._photos.pop(listing_id, {}).values():
            hits = self._hits(photo.code, listing_id, bounded=True)
            few |= hits or set()
            if photo.counted:
                seen |= (self._hits(photo.code, listing_id) or set()) if hits is None else hits
        for other, image_id in seen:
            photo = self._photos[other][image_id]
            photo.copies -= 1
            if photo.near is not None:
                photo.near.discard(listing_id)
        for other, image_id in sorted(seen | few):
            photo = self._photos[other][image_id]
            if photo.near is not None:
                continue
            if photo.copies <= self._most_copies if photo.counted else (other, image_id) in few:
                turned |= self._count_anew(other, photo)
        return turned

    def _count_anew(self, listing_id: str, photo: _Photo) -> set[str]:
        """Count the near copies of a common or crowded photo, if that is crowded no longer. Returns the listings whose
        links this may change."""
        hits = self._hits(photo.code, listing_id, bounded=True)
        if hits is None:
            return set()
        turned: set[str] = set()
        if not photo.counted:
            turned.add(listing_id)
            counted = [one.code for one in self._photos[listing_id].values() if one.counted]
            for other, image_id in hits:
                theirs = self._photos.get(other, {}).get(image_id)
                if theirs is None or any(self._are_near(code, theirs.code) for code in counted):
                    continue  # it is not held yet, or another photo of this listing counts already
                if self._copied(theirs, by=listing_id):
                    turned.add(other)
            photo.counted = True
        near = self._counted(hits)
        photo.copies = len(near)
        if photo.copies <= self._most_copies:
            photo.near = near
            turned.add(listing_id)
        return turned

    def _are_near(self, one: bytes, other: bytes) -> bool:
        return (int.from_bytes(one, "big") ^ int.from_bytes(other, "big")).bit_count() <= self._radius

    def _counted(self, hits: Iterable[tuple[str, str]]) -> set[str]:
        """The listings of near copies that are not crowded. What is not held yet, or no longer, is left out."""
        return {
            name
            for name, image_id in hits
            if (photo := self._photos.get(name, {}).get(image_id)) is not None and photo.counted
        }

    def _hits(self, code: bytes, without: str, *, bounded: bool = False) -> set[tuple[str, str]] | None:
        """The photos of other listings within the radius: listing and photo. If `bounded`, None for a common photo with
        more than `most_visits` near copies."""
        query = np.frombuffer(code, np.uint8).reshape(1, HASH_BYTES)
        k = _FIRST_K
        while True:
            (found,) = self._index.search(query, k, epoch=self._index.epoch, radius=self._radius)
            if len(found) < k:
                return {(one.listing_id, one.image_id) for one in found if one.listing_id != without}
            if bounded and k > self._most_visits and len({one.listing_id for one in found}) > self._most_copies + 1:
                return None
            k *= 4
