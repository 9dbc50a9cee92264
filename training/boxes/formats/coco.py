"""COCO's JSON for object detection (Lin et al. 2014; cocodataset.org/#format-data): images, annotations, categories.

A box is `[x, y, width, height]` in pixels, counted from 0, as floats.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from engines.files import write_file
from schemas.errors import ConfigError
from training.boxes.formats.found import Found, PhotoFinder, box_in, sides_of
from training.detection.records import IGNORED, BoxedPhoto

Id = int | str


class _Image(msgspec.Struct):
    id: Id
    file_name: str
    width: float = 0
    height: float = 0


class _Annotation(msgspec.Struct):
    image_id: Id
    category_id: Id
    bbox: list[float] = []
    iscrowd: int | bool = 0


class _Category(msgspec.Struct):
    id: Id
    name: str


class _Coco(msgspec.Struct):
    images: list[_Image]
    annotations: list[_Annotation] = []
    categories: list[_Category] = []


def read_coco(file: Path, photos: Path) -> Found:
    """The boxed photos of a COCO file.

    Args:
        file: JSON; unknown fields, and segmentations, are left alone.
        photos: the folder that `file_name` is relative to.

    Raises:
        ConfigError: it cannot be read, or has not the form; the message names the field.
    """
    try:
        coco = msgspec.json.decode(file.read_bytes(), type=_Coco)
    except (OSError, msgspec.MsgspecError) as error:
        raise ConfigError(f"boxes: {file}: {error}; give a COCO file with images, annotations and categories") from None
    names = {one.id: one.name for one in coco.categories}
    boxes: dict[Id, list[tuple[int, _Annotation]]] = {one.id: [] for one in coco.images}
    found = Found()
    for place, one in enumerate(coco.annotations):
        if one.image_id not in boxes:
            found.skipped[f"annotations[{place}]"] = f"image_id {one.image_id} is not among the images"
        elif one.category_id not in names:
            found.skipped[f"annotations[{place}]"] = f"category_id {one.category_id} is not among the categories"
        else:
            boxes[one.image_id].append((place, one))
    finder = PhotoFinder(photos)
    for number, image in enumerate(coco.images):
        try:
            path = finder.find(image.file_name)
            found.photos.append(_boxed(path, image, boxes[image.id], names, found.skipped))
        except (OSError, ValueError) as error:
            found.skipped[f"images[{number}] {image.file_name}"] = str(error)
    return found


def _boxed(
    path: Path,
    image: _Image,
    annotations: Sequence[tuple[int, _Annotation]],
    names: Mapping[Id, str],
    skipped: dict[str, str],
) -> BoxedPhoto:
    sides = sides_of(path)
    width, height = (image.width, image.height) if image.width and image.height else sides.upright
    kept = []
    for place, one in annotations:
        try:
            x, y, wide, high = one.bbox
            box = box_in((x, y, x + wide, y + high), width, height, sides)
        except ValueError as error:
            skipped[f"annotations[{place}]"] = str(error)
            continue
        kept.append((box, IGNORED if one.iscrowd else names[one.category_id]))
    return BoxedPhoto(path, tuple(box for box, _ in kept), tuple(kind for _, kind in kept))


def write_coco(
    out: Path,
    photos: Sequence[BoxedPhoto],
    root: Path,
    facts: Mapping[tuple[Path, int], Mapping[str, Any]] | None = None,
) -> None:
    """Replace `out` by a COCO file. Width, height and boxes are those of the upright photos.

    Args:
        out: file to write.
        photos: with paths below `root`, which `file_name` leaves out.
        root: folder of the photos.
        facts: (path of the photo, place of the box) → further fields of its annotation, such as `source` and `score`.

    Raises:
        OSError: a photo cannot be read, or the file cannot be written.
    """
    kinds = sorted({kind for photo in photos for kind in photo.kinds})
    numbers = {kind: number for number, kind in enumerate(kinds, start=1)}
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number, photo in enumerate(photos, start=1):
        width, height = sides_of(photo.path).upright
        name = photo.path.relative_to(root).as_posix()
        images.append({"id": number, "file_name": name, "width": width, "height": height})
        for place, (box, kind) in enumerate(zip(photo.boxes, photo.kinds, strict=True)):
            x, y = round(box.left * width, 3), round(box.top * height, 3)
            wide, high = round(box.right * width - x, 3), round(box.bottom * height - y, 3)
            one: dict[str, Any] = {"id": len(annotations) + 1, "image_id": number, "category_id": numbers[kind]}
            one |= {"bbox": [x, y, wide, high], "area": round(wide * high, 3), "iscrowd": int(kind == IGNORED)}
            annotations.append({**one, "segmentation": [], **(facts or {}).get((photo.path, place), {})})
    categories = [{"id": number, "name": kind, "supercategory": ""} for kind, number in numbers.items()]
    write_file(out, msgspec.json.encode({"images": images, "annotations": annotations, "categories": categories}))
