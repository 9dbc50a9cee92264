"""Which listings share photos: near copies of photos, by the binary index, kept up to date with each change.

Two photos are near copies if at most `radius` of 256 bits differ. A photo of which more than `most_copies` other
listings have a near copy is *common*: a placeholder, a size chart, a logo. It says nothing about the product, and joins
nothing. Two listings are linked if at least half of the photos of the one with fewer photos have a near copy in the
other; common photos do not count.

The links are a function of the listings that are held now. The order in which they came does not matter.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
import numpy as np

from engines.similarity import HashIndex, IndexedListing, IndexLimits
from schemas.hashes import HASH_BYTES, HashMessage

_FIRST_K = 64  # near copies to ask for at first; twice as many while there are more
_NEVER = 2**62  # an inverted file would miss some near copies, and then the groups would depend on the order
_NONE: frozenset[str] = frozenset()


class _Photo:
    """One photo of a listing. `copies`: the number of other listings with a near copy of it. `near`: these listings;
    None if the photo is common."""

    __slots__ = ("code", "copies", "near")

    def __init__(self, code: bytes) -> None:
        self.code = code
        self.copies = 0
        self.near: frozenset[str] | None = _NONE


class Links:
    """The photos of all live listings of an epoch, and their near copies. Only one thread may call it."""

    def __init__(self, epoch: str, *, radius: int, most_copies: int) -> None:
        self._index = HashIndex(epoch, IndexLimits(exact_below=_NEVER))
        self._radius = radius
        self._most_copies = most_copies
        self._photos: dict[str, dict[str, _Photo]] = {}

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
            return self.linked(listing_id) | {listing_id}  # its attributes may have changed
        touched = self._forget(listing_id)
        if codes:
            touched |= self._hold(listing_id, codes)
        return touched | {listing_id}

    def remove(self, listing_id: str, event_time: int) -> set[str] | None:
        """Remove a listing at `event_time` (UTC microseconds). Returns as `put`."""
        if not self._index.remove(listing_id, event_time):
            return None
        return self._forget(listing_id) | {listing_id}

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

    def linked(self, listing_id: str) -> set[str]:
        """The listings that share enough photos with a listing."""
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
            if 2 * min(mine, back) >= min(len(photos), len(theirs)) and back:
                found.add(other)
        return found

    def _counting(self, listing_id: str) -> list[_Photo]:
        """The photos of a listing that are not common."""
        return [photo for photo in self._photos.get(listing_id, {}).values() if photo.near is not None]

    def _hold(self, listing_id: str, codes: dict[str, bytes]) -> set[str]:
        touched: set[str] = set()
        photos = {image_id: _Photo(code) for image_id, code in codes.items()}
        seen: set[tuple[str, str]] = set()
        for photo in photos.values():
            hits = self._hits(photo.code, listing_id)
            near = frozenset(other for other, _ in hits)
            photo.copies = len(near)
            photo.near = None if photo.copies > self._most_copies else near
            seen |= hits
        for other, image_id in seen:
            touched |= self._copied(other, image_id, listing_id)
        self._photos[listing_id] = photos
        return touched

    def _copied(self, listing_id: str, image_id: str, by: str) -> set[str]:
        """A photo has a near copy more. Returns the listings whose links may have changed."""
        photo = self._photos[listing_id][image_id]
        photo.copies += 1
        if photo.near is None:
            return set()
        if photo.copies > self._most_copies:
            touched = self._near(listing_id)
            photo.near = None
            return touched
        photo.near |= {by}
        return {listing_id}

    def _near(self, listing_id: str) -> set[str]:
        """A listing, and all that have a near copy of one of its photos that is not common."""
        return {listing_id}.union(*(photo.near or () for photo in self._photos[listing_id].values()))

    def _forget(self, listing_id: str) -> set[str]:
        touched: set[str] = set()
        seen: set[tuple[str, str]] = set()
        for photo in self._photos.pop(listing_id, {}).values():
            seen |= self._hits(photo.code, listing_id)
        for other, image_id in seen:
            photo = self._photos[other][image_id]
            photo.copies -= 1
            if photo.near is not None:
                photo.near -= {listing_id}
                touched.add(other)
            elif photo.copies <= self._most_copies:  # it is common no longer
                photo.near = frozenset(near for near, _ in self._hits(photo.code, other) if near != listing_id)
                touched |= self._near(other)
        return touched

    def _hits(self, code: bytes, without: str) -> set[tuple[str, str]]:
        """The photos of other listings within the radius: listing and photo."""
        query = np.frombuffer(code, np.uint8).reshape(1, HASH_BYTES)
        k = _FIRST_K
        while True:
            (found,) = self._index.search(query, k, epoch=self._index.epoch, radius=self._radius)
            if len(found) < k:
                return {(one.listing_id, one.image_id) for one in found if one.listing_id != without}
            k *= 2
