"""What of a query's photo is looked at."""

from __future__ import annotations

from dataclasses import astuple

import msgspec
import numpy as np
import pytest

from engines.pixels import Box, decode
from schemas.boxes import DetectPlan
from schemas.errors import DeviceLost, Invalid
from schemas.events import ImageRef, ListingEvent
from schemas.manifest import Manifest, Preprocess, load_manifest
from tests.engines.colour_detector import ColourDetector, grid, scene
from tests.engines.tiny_bundle import write_tiny_bundle
from workers.http.serving import Health
from workers.intake import Intake, IntakeSettings
from workers.search.find.looking import QueryPhotos
from workers.stages.detect import Detect, Looking
from workers.stages.job import Job, Photo
from workers.stages.prepare import EventPreparer
from workers.streams import Partition, Record
from workers.watching.declared import registry_of

INPUT = Preprocess(width=64, height=64)
PLAN = DetectPlan(mode="subject", detector_id="c0104de7ec70", padding=0.1, threshold=0.5, most_boxes=1)
PHOTO = scene(grid(5))


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    """Of a bundle without a detector."""
    folder = tmp_path_factory.mktemp("bundle") / "bundle"
    write_tiny_bundle(folder)
    return msgspec.structs.replace(load_manifest(folder), preprocess=INPUT)


@pytest.fixture
def photos(manifest: Manifest) -> QueryPhotos:
    """Of a service whose listings were indexed whole."""
    return QueryPhotos(manifest, Looking(ColourDetector(), PLAN, INPUT), 16, Health())


def test_subject_is_the_first_of_all_and_all_boxes_are_told(photos: QueryPhotos) -> None:
    subject, every = photos.view(PHOTO, None, "subject"), photos.view(PHOTO, None, "all")
    assert [len(view.found) for view in (subject, every)] == [5, 5]
    assert (len(subject.parts), len(every.parts)) == (1, 5)
    assert subject.parts[0].found == every.parts[0].found == subject.found[0]
    scores = [part.found.score for part in every.parts]
    assert scores == sorted(scores, reverse=True)


def test_each_part_is_the_photo_cut_at_its_box(photos: QueryPhotos) -> None:
    for part in photos.view(PHOTO, None, "all").parts:
        again = decode(PHOTO, INPUT, box=Box(*astuple(part.box)))
        assert np.abs(part.pixels.astype(int) - again).mean() < 4  # the canvas has a third of the photo's sides


def test_the_number_of_boxes_is_limited(manifest: Manifest) -> None:
    few = QueryPhotos(manifest, Looking(ColourDetector(), PLAN, INPUT), 3, Health())
    assert len(few.view(scene(grid(50)), None, "all").parts) == 3


def test_without_a_product_or_with_a_box_nothing_is_detected(photos: QueryPhotos, manifest: Manifest) -> None:
    empty = photos.view(scene([]), None, "all")
    assert [(part.box, part.found) for part in empty.parts] == [(None, None)]
    assert empty.found == []
    box = Box(0.1, 0.1, 0.6, 0.8)
    given = photos.view(PHOTO, box, "off")
    assert (given.parts[0].box, list(given.found)) == (box, [])
    assert np.array_equal(given.parts[0].pixels, decode(PHOTO, INPUT, box=box))
    whole = QueryPhotos(manifest, None, 16, Health()).view(PHOTO, None, "off")
    assert np.array_equal(whole.parts[0].pixels, decode(PHOTO, INPUT))


def tagged(photo: bytes, manifest: Manifest) -> list[Photo]:
    """What a tagger of the epoch gives to its engine."""
    looking = Looking.of(manifest, ColourDetector())
    assert looking is not None
    event = ListingEvent(
        event_id="e", listing_id="a", event_time=1, type="created", images=[ImageRef(image_id="0", data=photo)]
    )
    job = Job(record=Record(Partition("t", 0), 0, 0, b"a", None), attempt=1, event=event)
    preparer = EventPreparer(
        intake=Intake(IntakeSettings()),
        preprocess=manifest.preprocess,
        thumbnail_side=64,
        thumbnails=False,
        looking=looking,
    )
    ((_, found),) = Detect(looking, Health()).detect(preparer.prepare_event(job))
    assert isinstance(found, list)
    return found


@pytest.mark.parametrize("mode", ["subject", "all"])
@pytest.mark.parametrize("products", [0, 3])
def test_the_same_box_of_the_same_photo_is_the_same_pixels_in_a_search_and_in_a_tagger(
    manifest: Manifest, mode: str, products: int
) -> None:
    """The photo is 640 by 480 pixels and the input 150 wide. So a canvas for the subject alone is the photo reduced by
    2, and one for all is the photo itself."""
    wide = Preprocess(width=150, height=150)
    plan = msgspec.structs.replace(PLAN, mode=mode, most_boxes=1 if mode == "subject" else 8)
    epoch = msgspec.structs.replace(manifest, preprocess=wide, detection=plan)
    photo = scene(grid(products))
    stored = tagged(photo, epoch)
    photos = QueryPhotos(epoch, Looking.of(epoch, ColourDetector()), 16, Health())
    seen = photos.view(photo, None, mode).parts
    assert len(stored) == len(seen) == (1 if mode == "subject" else max(1, products))
    for mine, theirs in zip(seen, stored, strict=True):
        box = None if theirs.box is None else Box(*theirs.box)
        assert mine.box == box
        assert np.array_equal(mine.pixels, theirs.pixels)
        assert np.array_equal(photos.view(photo, box, "off").parts[0].pixels, theirs.pixels)


class Broken(ColourDetector):
    """Fails on every photo; with `lost` the device is gone."""

    def __init__(self, *, lost: bool = False) -> None:
        super().__init__()
        self._lost = lost

    def warm_up(self) -> None:
        raise RuntimeError("no parity")

    def detect(self, photos):
        raise DeviceLost("gone") if self._lost else RuntimeError("broken")


def errors(name: str) -> float:
    return registry_of("search").get_sample_value("groknet_detect_errors_total", {"error": name}) or 0.0


def test_a_photo_that_the_detector_cannot_take_is_refused_and_counted_and_harms_nobody(manifest: Manifest) -> None:
    health, detector, before = Health(), ColourDetector(), errors("RuntimeError")
    photos = QueryPhotos(manifest, Looking(detector, PLAN, INPUT), 16, health)
    with pytest.raises(Invalid, match="the detector failed on this photo alone") as refused:
        photos.view(scene(grid(2), blue_corner=True), None, "subject")
    assert (refused.value.stage, refused.value.error) == ("detect", "detector_failed")
    assert (errors("RuntimeError"), detector.warm_ups, health.failure) == (before + 1, 1, None)
    assert len(photos.view(PHOTO, None, "subject").found) == 5


@pytest.mark.parametrize(
    ("lost", "raised", "counted"), [(True, "gone", "DeviceLost"), (False, "no parity", "RuntimeError")]
)
def test_a_detector_at_fault_fails_the_service_as_it_ends_a_tagger(
    manifest: Manifest, lost: bool, raised: str, counted: str
) -> None:
    health, before = Health(), errors(counted)
    photos = QueryPhotos(manifest, Looking(Broken(lost=lost), PLAN, INPUT), 16, health)
    with pytest.raises((DeviceLost, RuntimeError), match=raised) as failed:
        photos.view(PHOTO, None, "subject")
    assert health.failure is failed.value
    assert errors(counted) == before + 1


def test_a_detector_that_hangs_makes_the_service_not_live(manifest: Manifest) -> None:
    """The clock goes on by an hour while the detector runs."""
    now = [0.0]
    health, lives = Health(clock=lambda: now[0]), []

    class Slow(ColourDetector):
        def detect(self, photos):
            now[0] += 3600
            lives.append(health.batch_age_s)
            return super().detect(photos)

    QueryPhotos(manifest, Looking(Slow(), PLAN, INPUT), 16, health).view(PHOTO, None, "subject")
    assert lives == [3600]
    assert health.batch_age_s == 0
