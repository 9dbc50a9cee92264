"""What is measured on a set of photos: computed in `evaluation`, shown in a bundle's card."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class SetFigures:
    """The figures of one set of photos.

    Attributes:
        photos: that have at least one box.
        boxes: known boxes.
        ap50: average precision at an IoU of .5, all kinds as one.
        ap: mean of the average precision over OVERLAPS.
        subject: share of the photos whose most confident box has an IoU of at least .5 with a known box.
        kind: share of the boxes found whose kind is right, of those whose kind is known; not-a-number without any.
    """

    photos: int
    boxes: int
    ap50: float
    ap: float
    subject: float
    kind: float
