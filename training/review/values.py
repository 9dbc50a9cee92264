"""What proposals and decisions hold, for each kind of item, and the check of a decision that came from the page."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

from engines.pixels import Box
from training.review.items import Item

MOST_BOXES = 500  # of one photo; a shelf has about 150 products in view


class ProposedBox(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A box that a detector or an earlier table suggests.

    Attributes:
        box: left, top, right, bottom in shares of the upright photo.
        kind: class of the box.
        score: the detector's confidence, 0 to 1; None for a box that no detector made.
        source: id of the detector, or `import`.
    """

    box: tuple[float, float, float, float]
    kind: str
    score: float | None = None
    source: str = ""


class DecidedBox(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A box as a person left it. `was` is the proposed box that it comes from; None if the person drew it."""

    box: tuple[float, float, float, float]
    kind: str
    was: ProposedBox | None = None


class Boxes(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The value of a decision about `boxes`: all boxes of the photo."""

    boxes: Annotated[tuple[DecidedBox, ...], msgspec.Meta(max_length=MOST_BOXES)] = ()


class ProposedBoxes(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The proposal of an item of the kind `boxes`."""

    boxes: tuple[ProposedBox, ...] = ()


class Marks(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Proposal and value of `duplicates` and `noise`: the numbers of the photos to leave out."""

    marked: tuple[int, ...] = ()


class Groups(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The proposal of `merge`: the numbers of the photos of each product, and the products' names. The decision needs
    no value: its choice says it all."""

    groups: tuple[tuple[int, ...], ...] = ()
    names: tuple[str, ...] = ()


def checked(item: Item, value: dict[str, Any]) -> dict[str, Any]:
    """The value of a decision about `item` as it is stored, if it has the form for this kind: numbers that came as text
    are numbers, and fields that were left out have their defaults. An empty value stays empty.

    Raises:
        ValueError: it has not; the message names the field.
    """
    forms: dict[str, Any] = {"boxes": Boxes, "duplicates": Marks, "noise": Marks, "merge": Groups}
    try:
        found = msgspec.convert(value, forms[item.kind], strict=False)
    except msgspec.ValidationError as error:
        raise ValueError(f"value: {error}") from None
    if isinstance(found, Boxes):
        for one in found.boxes:
            Box(*one.box)  # raises ValueError with the edge's name
            if not one.kind.strip():
                raise ValueError("kind: a box has a class")
    if isinstance(found, Marks) and not set(found.marked) <= set(range(len(item.photos))):
        raise ValueError(f"marked: numbers of photos, from 0 to {len(item.photos) - 1}")
    stored: dict[str, Any] = msgspec.to_builtins(found)
    return stored if value else {}
