"""Rendered photos with exact boxes: several products together, or one product among other things."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from engines.pixels import Box
from engines.pixels.box import MIN_SHARE
from training.detection.recipe import BoxSet
from training.detection.records import IGNORED, BoxedPhoto
from training.studio import TEST_IDENTITIES, TRAIN_IDENTITIES, InView, make_product, render, render_several

SCENES, SINGLES = "scenes", "singles"
_FRAMES = ((224, 224), (256, 192), (192, 256))  # square, wide and tall photos, squashed like those of sellers
_LEAST_SEEN = 0.35  # of a product's own box; of less it is unfair to ask for a box
_FEWEST, _MOST = 2, 8  # products of a scene
_OFFSET = 10_000  # products of validation begin so far from the end of those of training


@dataclass(frozen=True)
class StudioJob:
    """One photo to draw."""

    sort: str
    split: str
    number: int


def studio_jobs(spec: BoxSet) -> list[StudioJob]:
    """Every photo to draw for a set of the studio. Training, validation and test show different products."""
    held = spec.held_out
    counts = (("train", spec.scenes, spec.singles), ("val", held, held), ("test", 2 * held, 2 * held))
    jobs: list[StudioJob] = []
    for split, scenes, singles in counts:
        jobs += [StudioJob(SCENES, split, n) for n in range(scenes)]
        jobs += [StudioJob(SINGLES, split, n) for n in range(singles)]
    return jobs


def draw_job(job: StudioJob, side: int) -> tuple[NDArray[np.uint8], BoxedPhoto]:
    """The photo of a job, uint8 [side, side, 3], and its boxes.

    Of a photo of one product, the other products in view are ignored: the subject is what such a photo is about. A
    product of which other things hide the most is ignored as well.
    """
    frame = _FRAMES[job.number % 3]
    first = _first(job)
    if job.sort == SINGLES:
        photo = render(make_product(first), job.number % 7, "natural", frame)
        views = [(InView(photo.product, photo.box, 1.0), photo.product.category)]
        views += [(view, IGNORED) for view in photo.others]
        pixels = photo.pixels
    else:
        count = _FEWEST + (job.number * 5) % (_MOST - _FEWEST + 1)
        scene = render_several([make_product(first + n) for n in range(count)], job.number, frame)
        views = [(v, v.product.category if v.seen >= _LEAST_SEEN else IGNORED) for v in scene.products]
        pixels = scene.pixels
    kept = [(box, kind) for view, kind in views if (box := _box(view, frame)) is not None]
    small = np.asarray(Image.fromarray(pixels).resize((side, side), Image.Resampling.BILINEAR))
    name = Path(f"studio/{job.sort}/{job.split}/{job.number}")
    return small, BoxedPhoto(name, tuple(box for box, _ in kept), tuple(kind for _, kind in kept))


def _first(job: StudioJob) -> int:
    """The identity of a photo's first product. Photos of one product have other identities than scenes."""
    start = job.number * _MOST + (0 if job.sort == SCENES else 40_000)
    if job.split == "train":
        return TRAIN_IDENTITIES.start + start % 80_000
    if job.split == "val":
        return TRAIN_IDENTITIES.stop - _OFFSET + (job.number * _MOST + (5_000 if job.sort == SINGLES else 0)) % _OFFSET
    return TEST_IDENTITIES.start + (job.number * _MOST + (10_000 if job.sort == SINGLES else 0)) % 20_000


def _box(view: InView, frame: tuple[int, int]) -> Box | None:
    x0, y0, x1, y1 = (edge / side for edge, side in zip(view.box, frame * 2, strict=True))
    x1, y1 = min(x1, 1.0), min(y1, 1.0)
    return Box(x0, y0, x1, y1) if min(x1 - x0, y1 - y0) >= MIN_SHARE else None
