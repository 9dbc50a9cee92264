"""A seeded stream of listing events with updates, removals, duplicates and re-orderings, on studio photos."""

from __future__ import annotations

import io
import random

from PIL import Image

from schemas.events import ImageRef, ListingEvent
from training.studio import TEST_IDENTITIES, make_product, render

FIRST_US = 1_700_000_000_000_000


def studio_jpegs(count: int, size: tuple[int, int] = (192, 192)) -> list[bytes]:
    """`count` different photos."""
    found = []
    for i in range(count):
        photo = render(make_product(TEST_IDENTITIES[i]), view=i, size=size)
        buffer = io.BytesIO()
        Image.fromarray(photo.pixels).save(buffer, "JPEG", quality=85)
        found.append(buffer.getvalue())
    return found


def workload(listings: int, photos: list[bytes], seed: int, name: str = "faults") -> list[ListingEvent]:
    """Events of `listings` listings NAME/0, NAME/1 … in the order in which they are sent: each is created with 1–3
    photos; a tenth is updated to other photos, a twentieth removed, a tenth sent twice, and of some an older event
    comes last."""
    rng = random.Random(seed)
    stream: list[tuple[float, ListingEvent]] = []
    for i in range(listings):
        at, listing_id = float(i), f"{name}/{i}"
        created = _event(rng, photos, listing_id, i, version=1)
        stream.append((at, created))
        if rng.random() < 0.1:  # at times before its elder
            stream.append((at + rng.uniform(-5, 40), _event(rng, photos, listing_id, i, version=2)))
        if rng.random() < 0.1:
            stream.append((at + rng.uniform(0, 40), created))
        if rng.random() < 0.05:
            stream.append((at + rng.uniform(-5, 40), removal(listing_id, i)))
    return [event for _, event in sorted(stream, key=lambda pair: pair[0])]


def _event(rng: random.Random, photos: list[bytes], listing_id: str, i: int, version: int) -> ListingEvent:
    images = [
        ImageRef(image_id=f"v{version}-{n}", data=photo)
        for n, photo in enumerate(rng.sample(photos, rng.randint(1, 3)))
    ]
    return ListingEvent(
        event_id=f"{i}-{version}",
        listing_id=listing_id,
        event_time=FIRST_US + i * 1000 + version,
        type="created" if version == 1 else "updated",
        images=images,
    )


def removal(listing_id: str, i: int) -> ListingEvent:
    """The removal of listing number `i`, newer than all its other events."""
    return ListingEvent(event_id=f"{i}-9", listing_id=listing_id, event_time=FIRST_US + i * 1000 + 9, type="removed")
