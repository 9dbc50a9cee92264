"""Large photos: the stage leaves them when asked to, goes on where it stopped, and a tagger's other listings pass."""

from __future__ import annotations

import io
import os
import time
from pathlib import Path

import pytest
from PIL import Image

from engines.pixels import budget, is_large
from engines.pixels.budget import MEGABYTE, PROCESS
from schemas.boxes import DetectPlan
from schemas.manifest import Preprocess
from tests.engines.colour_detector import ColourDetector
from tests.workers.tagger.rig import PATIENCE_S, Rig, event, jpeg
from workers.intake import Intake, IntakeSettings, Photos
from workers.stages.detect import Looking
from workers.stages.job import Job
from workers.stages.prepare import EventPreparer, PrepareInThread
from workers.streams.base import Partition, Record
from workers.watching import metrics

SIZE = Preprocess(width=32, height=32)


@pytest.fixture(scope="module")
def large() -> bytes:
    """A PNG of 19 megapixels, whose decode needs some 80 MB: more than a quarter of 256."""
    file = io.BytesIO()
    Image.new("RGB", (4500, 4200), "red").save(file, "PNG", compress_level=1)
    return file.getvalue()


def test_only_large_photos_are_large(large: bytes) -> None:
    assert is_large(large, SIZE)
    assert not is_large(jpeg(1, (4000, 3000)), SIZE)  # a phone's
    assert not is_large(b"no photo", SIZE)


def test_an_event_with_a_large_photo_is_left_and_goes_on_where_it_stopped(large: bytes) -> None:
    stage = PrepareInThread(EventPreparer(Intake(IntakeSettings()), SIZE, 32, thumbnails=True))
    photos = [jpeg(1), b"no photo", large, jpeg(2), large]
    job = Job(Record(Partition("t", 0), 0, 0, b"k", b"v"), 1, lambda: None, event("a", photos))
    (first,) = stage.prepare([job], large=False)
    assert (first.photos, first.ended, first.failed, first.large) == ([], [], [], [job])
    assert [photo and photo.image_id for photo in job.begun] == ["0", None]
    assert job.large == large
    (second,) = stage.prepare([job])
    assert [photo.image_id for photo in second.photos] == ["0", "2", "3", "4"]
    assert second.photos[1].pixels.mean((0, 1)).tolist() == [255, 0, 0]
    assert set(job.bad) == {"1"}
    assert (job.begun, job.large, second.large) == ([], None, [])


def test_with_a_detector_an_event_that_waits_holds_no_decoded_photo(large: bytes) -> None:
    """Its photos that came from other hosts stay in the budget of fetched bytes until they are decoded."""
    detector = ColourDetector()
    plan = DetectPlan(mode="all", detector_id=detector.detector_id, padding=0.1, threshold=0.5, most_boxes=8)
    preparer = EventPreparer(Intake(IntakeSettings()), SIZE, 32, thumbnails=True, looking=Looking(detector, plan, SIZE))
    stage = PrepareInThread(preparer)
    photos: list[bytes | str] = ["https://a.example/0", jpeg(1), b"no photo", large, "https://a.example/4"]
    job = Job(Record(Partition("t", 0), 0, 0, b"k", b"v"), 1, None, event("a", photos))
    freed: list[int] = []
    fetched = {"0": jpeg(7), "4": jpeg(8)}
    job.fetched = Photos({**fetched}, freed.append)
    errors = metrics.DECODE_ERRORS.labels("not_an_image")._value
    before = errors.get()
    (first,) = stage.prepare([job], large=False)
    assert first.large == [job]
    assert (job.begun, job.large, freed) == ([], None, [])
    (second,) = stage.prepare([job])
    assert [photo.image_id for photo in second.photos] == ["0", "1", "3", "4"]
    assert all(photo.canvas is not None for photo in second.photos)
    assert set(job.bad) == {"2"}
    assert errors.get() == before + 1
    assert sum(freed) == sum(map(len, fetched.values()))


@pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="needs a file whose reading fails")
def test_fetched_photos_are_freed_when_another_photo_cannot_be_read_now() -> None:
    """Bytes of an event that goes to a retry topic would fill the budget of fetched bytes for ever."""
    intake = Intake(IntakeSettings(allowed_roots=("/proc",), attempts=1))
    stage = PrepareInThread(EventPreparer(intake, SIZE, 32, thumbnails=True))
    unreadable = f"file:///proc/{os.getpid()}/mem"  # its first page is not mapped: an input/output error
    job = Job(Record(Partition("t", 0), 0, 0, b"k", b"v"), 1, None, event("a", [unreadable, "https://a.example/1"]))
    freed: list[int] = []
    job.fetched = Photos({"1": jpeg(2)}, freed.append)
    (only,) = stage.prepare([job])
    assert [why.error for _, why in only.failed] == ["file_error"]
    assert freed == [len(jpeg(2))]


@pytest.mark.parametrize("processes", [0, 2])
def test_other_listings_pass_while_large_photos_wait_for_memory(
    make_rig, large: bytes, monkeypatch: pytest.MonkeyPatch, processes: int
) -> None:
    monkeypatch.setattr(budget, "PATIENCE_S", 1e6)
    rig: Rig = make_rig(prepare_threads=2, decode_processes=processes)
    rig.send(*(event(f"large/{i}", [large]) for i in range(4)), *(event(f"small/{i}", [jpeg(i)]) for i in range(10)))
    deadline = time.monotonic() + PATIENCE_S
    with rig.tagger() as failure:
        with PROCESS.hold(PROCESS.total - 60 * MEGABYTE):  # room for others, and for no large photo
            stored: set[str] = set()
            while len(stored) < 10:
                assert not failure
                assert time.monotonic() < deadline
                stored = {state.listing_id for state in rig.store.scan()}
                time.sleep(0.02)
            assert stored == {f"small/{i}" for i in range(10)}
        rig.wait(failure)
    assert len(list(rig.store.scan())) == 14
    assert rig.dead_letters() == []
