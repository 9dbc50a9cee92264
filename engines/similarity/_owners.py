"""The text by which a part knows a code: the photo's id, and the box if the code is of a part of the photo.

An id has no space, so a space ends it. A text without one is of a whole photo, as in snapshots from before there were
boxes.
"""

from __future__ import annotations

from schemas.boxes import DIGITS, BoxShares
from schemas.hashes import ImageHash

_BETWEEN = " "


def owner_text(image: ImageHash) -> str:
    """The text of a hash: the id alone, or the id and the four edges of its box."""
    if image.box is None:
        return image.image_id
    return _BETWEEN.join((image.image_id, *(f"{edge:.{DIGITS}f}" for edge in image.box)))


def read_owner(text: str) -> tuple[str, BoxShares | None]:
    """The photo's id and the box of a text."""
    image_id, *edges = text.split(_BETWEEN)
    if not edges:
        return image_id, None
    left, top, right, bottom = map(float, edges)
    return image_id, (left, top, right, bottom)
