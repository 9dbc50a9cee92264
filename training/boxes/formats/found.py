"""What a file of boxes holds, and the rules that all formats share: which photo, which sides, which box."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from engines.pixels import Box
from training.detection.records import BoxedPhoto
from training.readers.found_rows import Found as FoundRows
from training.readers.found_rows import photos_below
from training.readers.photo_paths import is_there, photo_path

BEYOND = 0.02  # of a side: what rounding to whole pixels and a careless hand leave outside the photo
_ORIENTATION_TAG = 0x0112
_UPRIGHT = {6: 8, 8: 6}  # what turns a lying box upright; every other orientation undoes itself


@dataclass
class Found:
    """Attributes:

    photos: with their boxes, in the order of the file.
    skipped: place in the file → why a box or a photo was left out.
    """

    photos: list[BoxedPhoto] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)


class Sides(NamedTuple):
    """Width and height in pixels as stored in the file, and the EXIF orientation, 1 to 8."""

    width: int
    height: int
    orientation: int

    @property
    def upright(self) -> tuple[int, int]:
        """Width and height of the upright photo."""
        return (self.height, self.width) if self.orientation >= 5 else (self.width, self.height)


def sides_of(file: Path) -> Sides:
    """The sides of a photo, from its header.

    Raises:
        OSError: the file cannot be read, or is no photo.
    """
    with Image.open(file) as photo:
        orientation = photo.getexif().get(_ORIENTATION_TAG, 1)
        return Sides(photo.width, photo.height, orientation if orientation in range(1, 9) else 1)


class PhotoFinder:
    """Finds the photo that a file names: its path below the folder, or else the only photo of that name."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._by_name: dict[str, list[str]] | None = None

    def find(self, name: str) -> Path:
        """The photo's file.

        Raises:
            ValueError: there is no such photo, or several; the message has the remedy.
        """
        path = photo_path(self._root, name)
        if is_there(self._root, path):
            return self._root / path
        if self._by_name is None:
            self._by_name = {}
            for one in photos_below(self._root, FoundRows()):
                self._by_name.setdefault(one.rpartition("/")[2], []).append(one)
        same = self._by_name.get(path.rpartition("/")[2], [])
        if len(same) == 1:
            return self._root / same[0]
        several = f"{len(same)} photos have this name" if same else "there is no such photo"
        raise ValueError(f"{several} below {self._root}; write its path relative to that folder")


def box_in(edges: tuple[float, float, float, float], width: float, height: float, sides: Sides | None) -> Box:
    """The box of left, top, right, bottom in pixels of a photo of `width` x `height`, in shares of the upright photo.

    Args:
        edges: in pixels.
        width: that the file gives for the photo.
        height: likewise.
        sides: of the photo itself; None if it cannot be read, and the file is believed.

    Raises:
        ValueError: the box is outside the photo, or too narrow.
    """
    if width <= 0 or height <= 0:
        raise ValueError("width and height of the photo must be above 0")
    shares = (edges[0] / width, edges[1] / height, edges[2] / width, edges[3] / height)
    if min(shares) < -BEYOND or max(shares) > 1 + BEYOND:
        raise ValueError("the box is outside the photo; are width and height those of another size of it?")
    box = Box(*(min(1.0, max(0.0, share)) for share in shares))
    return box if sides is None or not is_lying(width, height, sides) else turned_upright(box, sides.orientation)


def is_lying(width: float, height: float, sides: Sides) -> bool:
    """Whether a file that says `width` and `height` means the photo as stored, whose orientation swaps the sides."""
    if sides.orientation < 5 or sides.width == sides.height:
        return False
    return (width > height) == (sides.width > sides.height)


def turned_upright(box: Box, orientation: int) -> Box:
    """A box of the photo as stored, in the upright photo."""
    return box.lying(_UPRIGHT.get(orientation, orientation))
