"""Rendered photos with boxes: different products for each split, and boxes around what can be seen."""

from __future__ import annotations

import numpy as np

from training.detection.data.studio_boxes import SCENES, SINGLES, StudioJob, draw_job, studio_jobs
from training.detection.recipe import BoxSet
from training.detection.records import IGNORED
from training.studio import CATEGORIES


def test_jobs_are_as_many_as_the_recipe_says() -> None:
    jobs = studio_jobs(BoxSet(name="s", reader="studio", scenes=5, singles=3, held_out=2, share=1))
    counts = {key: sum((job.sort, job.split) == key for job in jobs) for key in {(j.sort, j.split) for j in jobs}}
    assert counts == {
        (SCENES, "train"): 5,
        (SINGLES, "train"): 3,
        (SCENES, "val"): 2,
        (SINGLES, "val"): 2,
        (SCENES, "test"): 4,
        (SINGLES, "test"): 4,
    }


def test_a_photo_of_one_product_has_one_box_and_ignores_the_rest() -> None:
    for number in range(6):
        pixels, photo = draw_job(StudioJob(SINGLES, "val", number), 64)
        assert pixels.shape == (64, 64, 3)
        assert photo.kinds[0] in CATEGORIES
        assert set(photo.kinds[1:]) <= {IGNORED}


def test_scenes_have_several_products_that_differ_by_split() -> None:
    trained, tested = (draw_job(StudioJob(SCENES, split, 3), 64) for split in ("train", "test"))
    for _, photo in (trained, tested):
        assert len(photo.boxes) >= 2
    assert not np.array_equal(trained[0], tested[0])
