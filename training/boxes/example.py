"""Rendered photos of several products to try the labelling with: `python -m training.boxes.example FOLDER`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from PIL import Image
from rich.progress import track

from engines.pixels import Box
from engines.pixels.box import MIN_SHARE
from training.boxes.formats import write_coco
from training.detection.records import PRODUCT, BoxedPhoto
from training.studio import DEMO_IDENTITIES, make_product, render_several

FRAME = (480, 360)
_LEAST_SEEN = 0.35  # of a product's own box; a person would not draw a box around less
_PRODUCTS = 6  # at most, of one photo


def draw(folder: Path, number: int) -> BoxedPhoto:
    """Write photo number `number`, a JPEG of one to six products, and return it with their boxes."""
    count = 1 + number * 5 % _PRODUCTS
    first = DEMO_IDENTITIES.start + number * _PRODUCTS
    scene = render_several([make_product(first + n) for n in range(count)], number, FRAME)
    boxes = []
    for view in scene.products:
        left, top, right, bottom = (edge / side for edge, side in zip(view.box, FRAME * 2, strict=True))
        if view.seen >= _LEAST_SEEN and min(right - left, bottom - top) >= MIN_SHARE:
            boxes.append(Box(max(0.0, left), max(0.0, top), min(1.0, right), min(1.0, bottom)))
    path = folder / f"{number:04}.jpg"
    Image.fromarray(scene.pixels).save(path, quality=88)
    return BoxedPhoto(path, tuple(boxes), (PRODUCT,) * len(boxes))


def main(argv: Sequence[str] | None = None) -> int:
    """Write the photos, and a COCO file with the boxes of the first ones. Returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m training.boxes.example", description=__doc__)
    parser.add_argument("folder", type=Path, help="folder for the photos; made if it does not exist")
    parser.add_argument("--photos", type=int, default=120, help="photos to draw (default 120)")
    parser.add_argument("--boxes", type=Path, help="COCO file to write (default: FOLDER.json)")
    parser.add_argument("--boxed", type=int, default=24, help="photos whose boxes are written (default 24)")
    args = parser.parse_args(argv)
    args.folder.mkdir(parents=True, exist_ok=True)
    photos = [draw(args.folder, n) for n in track(range(args.photos), "photos", transient=True)]
    out = args.boxes or args.folder.with_name(f"{args.folder.name}.json")
    write_coco(out, photos[: args.boxed], args.folder)
    boxes = sum(len(photo.boxes) for photo in photos[: args.boxed])
    print(f"{args.photos} photos in {args.folder}; {out} has the {boxes} boxes of the first {args.boxed}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
