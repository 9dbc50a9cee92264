"""One question of the review queue, and one decision of a person."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

Kind = Literal["boxes", "duplicates", "noise", "merge"]

MOST_PHOTOS = 200  # of one item: more cannot be looked at side by side


class Item(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One question about some photos.

    Attributes:
        id: names the item for good. A decision belongs to this id, so that the same question has the same id when the
            queue is made again. Boxes use the path of the photo.
        kind: how the page shows it.
        photos: paths below the root folder of the queue, at most MOST_PHOTOS. The page asks for a photo by its number
            in this list, never by its path.
        question: one sentence for the person.
        choices: the decisions that are possible, as short words. The page gives each a key: Enter for the first, and 1,
            2, 3 … in their order; for `boxes` the numbers choose the class, and S is the second choice.
        proposal: what the computer suggests, as JSON; `values` has the form for each kind.
        urgency: the page shows the most urgent items first; equal ones keep their order.
    """

    id: str
    kind: Kind
    photos: tuple[str, ...]
    question: str
    choices: tuple[str, ...]
    proposal: dict[str, Any] = {}
    urgency: float = 0.0

    def __post_init__(self) -> None:
        if not self.id:
            raise ValueError("id: give each item one; decisions are stored under it")
        if not 1 <= len(self.photos) <= MOST_PHOTOS:
            raise ValueError(f"photos: item {self.id} has {len(self.photos)}; an item has 1 to {MOST_PHOTOS}")
        if not 1 <= len(self.choices) <= 9:
            raise ValueError(f"choices: item {self.id} has {len(self.choices)}; an item has 1 to 9, one for each key")


class Decision(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="line", tag="decision"):
    """What a person decided about one item.

    Attributes:
        number: counts the lines of the file of decisions, from 1.
        item: id of the item.
        choice: one of the item's choices, or `draft`: the person has begun, and the page has saved what they did.
        value: details as JSON; `values` has the form for each kind. Empty for a decision without details.
        at: UTC seconds.
        seconds: how long the person worked on it since the item was shown or was saved before. Pauses are left out.
    """

    number: int
    item: str
    choice: str
    value: dict[str, Any] = {}
    at: float
    seconds: float = 0.0


class Undone(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="line", tag="undo"):
    """A line that takes back an earlier decision."""

    number: int
    undoes: int
    at: float


DRAFT = "draft"
"""The choice of work that was saved before the person decided."""
