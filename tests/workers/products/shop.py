"""A small shop of made-up listings, and a naive twin of the grouping: all pairs, no index, nothing remembered."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable
from dataclasses import dataclass, field

import msgspec

from schemas.hashes import HashMessage, ImageHash

EPOCH = "3f9a0c51b7de"
BIRTH = 1_700_000_000_000_000


@dataclass
class Shop:
    """Draws listings whose photos lie in a few dense places, so that copies, chains and common photos all occur."""

    draw: random.Random
    places: int = 6
    spread: int = 9
    time: int = BIRTH
    live: dict[str, HashMessage] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._places = [self.draw.getrandbits(256) for _ in range(self.places)]

    def photo(self) -> str:
        """A hash some bits away from one of the places."""
        bits = self.draw.sample(range(256), self.draw.randrange(self.spread))
        return f"{self.draw.choice(self._places) ^ sum(1 << bit for bit in bits):064x}"

    def message(self, number: int) -> HashMessage:
        """A listing with 0 to 3 photos and perhaps a category, newer than everything before."""
        self.time += self.draw.randrange(1, 1000)
        photos = self.draw.choice((0, 1, 1, 1, 1, 2, 2, 3))
        return HashMessage(
            listing_id=f"l-{number:03}",
            event_time=self.time,
            epoch=EPOCH,
            model_version="m",
            state="active",
            category=self.draw.choice((None, None, "Mug", "mug ", "shoe")),
            images=[ImageHash(image_id=f"i{n}", hash=self.photo()) for n in range(photos)],
        )


def distance(one: str, other: str) -> int:
    """Bits in which two hashes differ."""
    return (int(one, 16) ^ int(other, 16)).bit_count()


def naive_links(live: dict[str, HashMessage], radius: int, most_copies: int) -> dict[str, set[str]]:
    """The links of all listings, by comparing all pairs of photos."""
    photos = {name: [image.hash for image in m.images] for name, m in live.items() if m.images}

    def near(photo: str, name: str) -> bool:
        return any(distance(photo, other) <= radius for other in photos[name])

    counting = {
        name: [photo for photo in hashes if sum(near(photo, other) for other in photos if other != name) <= most_copies]
        for name, hashes in photos.items()
    }
    links: dict[str, set[str]] = {name: set() for name in photos}
    for one, other in itertools.combinations(photos, 2):
        mine = sum(near(photo, other) for photo in counting[one])
        theirs = sum(near(photo, one) for photo in counting[other])
        fewer = min(len(counting[one]), len(counting[other]))
        if min(mine, theirs) > 0 and 2 * min(mine, theirs) >= fewer:
            links[one].add(other)
            links[other].add(one)
    return links


def naive_contradiction(one: HashMessage, other: HashMessage) -> bool:
    """Whether the sellers gave two different categories."""
    given = {m.category.strip().lower() for m in (one, other) if m.category is not None}
    return len(given) > 1


def naive_groups(live: dict[str, HashMessage], radius: int, most_copies: int) -> set[frozenset[str]]:
    """The groups: again and again the listing with the most links, with what is linked with it and left."""
    links = {
        name: {other for other in linked if not naive_contradiction(live[name], live[other])}
        for name, linked in naive_links(live, radius, most_copies).items()
    }
    return naive_stars(links, lambda one, other: naive_contradiction(live[one], live[other]))


def naive_stars(links: dict[str, set[str]], contradict: Callable[[str, str], bool]) -> set[frozenset[str]]:
    """Again and again the listing with the most links, with what is linked with it, left, and not contradicted."""
    left, groups = set(links), set()
    for centre in sorted(links, key=lambda name: (-len(links[name]), name)):
        if centre not in left:
            continue
        group = {centre}
        for other in sorted(links[centre] & left):
            if not any(contradict(other, member) for member in group):
                group.add(other)
        left -= group
        groups.add(frozenset(group))
    return groups


def renamed(message: HashMessage, **fields: object) -> HashMessage:
    """A message with other fields."""
    return msgspec.structs.replace(message, **fields)
