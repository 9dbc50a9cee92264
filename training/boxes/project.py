"""A labelling project: a folder with what a person said, what a detector said, and which photos only measure.

    PROJECT/project.json          photos, classes, targets
    PROJECT/given.ndjson          photos whose boxes were imported
    PROJECT/validation.txt        photos that are never trained on; they choose the thresholds
    PROJECT/review/               the queue, with every decision of a person
    PROJECT/labels/DETECTOR.ndjson  what a detector found, photo by photo
    PROJECT/runs/01, 02 …         the trainings of its detectors
    PROJECT/detectors/01, 02 …    these detectors; a number is never used twice
    PROJECT/boxes.csv             all boxes, with provenance; made of the others

What people said and what detectors said are never mixed: the table is made anew from both each time.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import msgspec

from engines.files import replacing, write_file
from engines.pixels import Box
from schemas.errors import ConfigError
from training.detection.records import IGNORED, PRODUCT, BoxedPhoto
from training.readers.found_rows import Found, photos_below
from training.readers.splits import chance
from training.review import Queue

FEWEST_VALIDATION = 5  # photos: fewer say nothing about a threshold
FEWEST = 10  # boxes: of fewer, a share says nothing
DETECTORS = "detectors"
_SETTINGS, _GIVEN, VALIDATION = "project.json", "given.ndjson", "validation.txt"


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a project is about.

    Attributes:
        photos: folder of the photos, absolute.
        classes: kinds of boxes, in the order of their keys on the review page.
        validation: share of the first photos with boxes that are set aside for the thresholds.
    """

    photos: str
    classes: tuple[str, ...] = ()
    validation: float = 0.25


class Known(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The boxes that a person gave for one photo, as left, top, right, bottom in shares, and where they came from."""

    path: str
    boxes: tuple[tuple[float, float, float, float], ...]
    kinds: tuple[str, ...]
    origin: str = "import"


@dataclass(frozen=True)
class Project:
    """An opened project. Attributes: `folder` of the project, and its `settings`."""

    folder: Path
    settings: Settings

    @classmethod
    def create(cls, folder: Path, photos: Path, *, classes: Sequence[str] = (), validation: float = 0.25) -> Project:
        """Make a project.

        Raises:
            ConfigError: `folder` has a project already, `photos` is no folder or has no photo, or `validation` is no
                share.
        """
        if (folder / _SETTINGS).exists():
            raise ConfigError(f"project: {folder} has a project already; add boxes to it with `groknet boxes import`")
        if not photos.is_dir():
            raise ConfigError(f"photos: {photos} is no folder; name the folder of the photos")
        if not 0 < validation < 1:
            raise ConfigError(f"validation: {validation} is not between 0 and 1; 0.25 sets a quarter aside")
        project = cls(folder, Settings(photos=str(photos.resolve()), classes=tuple(classes), validation=validation))
        if not project.paths:
            raise ConfigError(f"photos: {photos} has no photo; name a folder of JPEG, PNG or WebP files")
        folder.mkdir(parents=True, exist_ok=True)
        project._save()
        return project

    @classmethod
    def open(cls, folder: Path) -> Project:
        """Open a project.

        Raises:
            ConfigError: there is none, or its settings are damaged, or its photos have moved.
        """
        file = folder / _SETTINGS
        if not file.is_file():
            raise ConfigError(f"project: {folder} has no {_SETTINGS}; begin with `groknet boxes init`")
        try:
            settings = msgspec.json.decode(file.read_bytes(), type=Settings)
        except msgspec.MsgspecError as error:
            raise ConfigError(f"project: {file}: {error}; restore it") from None
        if not Path(settings.photos).is_dir():
            raise ConfigError(f"photos: {settings.photos} is no folder any more; correct it in {file}")
        return cls(folder, settings)

    @property
    def photos(self) -> Path:
        """Folder of the photos."""
        return Path(self.settings.photos)

    @cached_property
    def paths(self) -> Sequence[str]:
        """All photos, as paths below their folder, in order of name. Links that lead out of the folder are left out."""
        root = self.photos.resolve()
        found = photos_below(root, Found())
        return [path for path in found if (root / path).resolve().is_relative_to(root)]

    def classes(self) -> list[str]:
        """The kinds of boxes: those of the settings, then those that were imported, by name; `product` without any."""
        imported = {kind for known in self.given().values() for kind in known.kinds} - {IGNORED}
        return [*self.settings.classes, *sorted(imported - set(self.settings.classes))] or [PRODUCT]

    def given(self) -> dict[str, Known]:
        """Path → the boxes that were imported."""
        file = self.folder / _GIVEN
        if not file.exists():
            return {}
        decode = msgspec.json.Decoder(Known).decode
        try:
            with file.open("rb") as lines:
                return {known.path: known for known in map(decode, lines)}
        except msgspec.MsgspecError as error:
            raise ConfigError(f"project: {file}: {error}; restore it") from None

    def give(self, photos: Iterable[BoxedPhoto], origin: str) -> int:
        """Add photos with boxes; a photo that has some already gets the new ones. Returns how many were added.

        Args:
            photos: below the folder of the photos.
            origin: where the boxes came from, such as the name of their file.
        """
        given = self.given()
        added = 0
        for one in photos:
            path = one.path.resolve().relative_to(self.photos.resolve()).as_posix()
            boxes = tuple((box.left, box.top, box.right, box.bottom) for box in one.boxes)
            given[path] = Known(path=path, boxes=boxes, kinds=one.kinds, origin=origin)
            added += 1
        with replacing(self.folder / _GIVEN, sync=True) as part, part.open("wb") as file:
            file.writelines(msgspec.json.encode(known) + b"\n" for known in given.values())
        return added

    def validation(self, labelled: Mapping[str, int] | None = None) -> frozenset[str]:
        """The photos that are set aside. They are chosen once, by their names, from the first photos with boxes, so
        that no later correction changes what the thresholds are judged by. Until they are chosen there are none.

        Args:
            labelled: photo that people have labelled → its boxes, if they may be chosen from now. They are not chosen
                while they would be fewer than FEWEST_VALIDATION photos or have fewer than FEWEST boxes.
        """
        file = self.folder / VALIDATION
        if file.exists():
            return frozenset(file.read_text("utf-8").splitlines())
        labelled = labelled or {}
        count = round(self.settings.validation * len(labelled))
        chosen = sorted(sorted(labelled, key=chance)[:count])
        if count < FEWEST_VALIDATION or sum(labelled[path] for path in chosen) < FEWEST:
            return frozenset()
        write_file(file, "".join(f"{path}\n" for path in chosen))
        return frozenset(chosen)

    def queue(self, *, read_only: bool = False) -> Queue:
        """The review queue. Errors as those of `Queue`."""
        return Queue(self.folder / "review", read_only=read_only)

    def detectors(self) -> Sequence[Path]:
        """Folders of the detectors that were trained here, the newest last."""
        return [path for _, path in sorted(numbered(self.folder / DETECTORS).items())]

    def labels_file(self, detector_id: str) -> Path:
        """Where the answers of one detector are."""
        return self.folder / "labels" / f"{detector_id}.ndjson"

    def _save(self) -> None:
        write_file(self.folder / _SETTINGS, msgspec.json.format(msgspec.json.encode(self.settings)) + b"\n")


def numbered(folder: Path) -> dict[int, Path]:
    """Number → folder, for each folder in `folder` whose whole name is a number. Others are not finished."""
    if not folder.is_dir():
        return {}
    found = (path for path in folder.iterdir() if re.fullmatch("[0-9]{2,9}", path.name) and path.is_dir())
    return {int(path.name): path for path in found}


def boxed(root: Path, path: str, boxes: Iterable[Sequence[float]], kinds: Iterable[str]) -> BoxedPhoto:
    """A boxed photo of plain numbers."""
    return BoxedPhoto(root / path, tuple(Box(*map(float, edges)) for edges in boxes), tuple(kinds))


def counted(values: Iterable[str]) -> Mapping[str, int]:
    """How often each value occurs, by name."""
    counts: dict[str, int] = {}
    for value in values:
        counts[value] = counts.get(value, 0) + 1
    return dict(sorted(counts.items()))
