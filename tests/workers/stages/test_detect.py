"""Boxes in a whole tagger: which rows, hashes and summaries come of photos with 0, 1, 5 and 200 products in view."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable
from dataclasses import astuple

import msgspec
import numpy as np
import pytest
from PIL import Image

from engines.detection import chosen
from engines.detection.combine import combined_manifest
from engines.pixels import decode, decode_canvas
from engines.recognition import RecognitionEngine
from groknet.run.open_back_ends import make_topics
from schemas.boxes import DetectPlan
from schemas.errors import ConfigError
from schemas.hashes import decode_hashes
from schemas.manifest import Manifest
from schemas.predictions import StoredListing, by_photo
from schemas.topics import hash_topic, topics_for
from tests.engines.colour_detector import SIDE, ColourDetector, grid, scene
from tests.engines.detection.test_combine import detector as finder_folder
from tests.workers.tagger.rig import Rig, event
from workers.backfill import Backfill, BackfillSettings, build_backfill, build_tagging
from workers.stages.detect import Looking
from workers.stages.pooling import pool, subjects
from workers.watching import metrics

SIZE = (640, 480)


def plan(mode: str = "all", **changed: object) -> DetectPlan:
    values = {"padding": 0.1, "threshold": 0.5, "most_boxes": 8} | changed
    return DetectPlan(mode=mode, detector_id=ColourDetector().detector_id, **values)


class Detecting:
    """The rig's engine under the manifest of an epoch with a detector."""

    def __init__(self, engine: RecognitionEngine, manifest) -> None:
        self._engine, self.manifest = engine, manifest

    def __getattr__(self, name: str):
        return getattr(self._engine, name)


def manifest_of(rig: Rig, wanted: DetectPlan) -> Manifest:
    """The manifest of the rig's bundle together with the plan."""
    finder = rig.home / "finder"
    if not finder.exists():
        finder_folder(finder, wanted.detector_id)
    return combined_manifest(rig.home / "bundle", finder, wanted)


def detecting(make_rig: Callable[..., Rig], wanted: DetectPlan, **settings) -> Rig:
    """A rig whose epoch has the plan."""
    rig = make_rig(**settings)
    rig.engine = Detecting(rig.engine, manifest_of(rig, wanted))
    make_topics(rig.stream, topics_for(rig.epoch))
    return rig


def processed(rig: Rig, *events, detector: ColourDetector | None = None) -> dict[str, StoredListing]:
    rig.send(*events)
    with rig.tagger(detector=detector or ColourDetector()) as failure:
        rig.wait(failure)
    return rig.store.get([one.listing_id for one in events])


def padded_by_hand(place: tuple[int, int, int, int]) -> np.ndarray:
    """The shares of a product's place in pixels, wider by a tenth of its sides, within the photo."""
    left, top, right, bottom = place
    wide, high = (right - left) / 10, (bottom - top) / 10
    edges = np.array([left - wide, top - high, right + wide, bottom + high]) / (*SIZE, *SIZE)
    return edges.clip(0, 1)


def pixels_by_hand(photo: bytes, box: tuple[float, ...], side: int) -> np.ndarray:
    """The cut-out of a PNG that is small enough to be decoded as it is, by Pillow alone."""
    image = Image.open(io.BytesIO(photo)).convert("RGB")
    left, top, right, bottom = box
    edges = [round(left * image.width), round(top * image.height), round(right * image.width)]
    part = image.crop((*edges, round(bottom * image.height)))
    return np.asarray(part.resize((side, side), Image.Resampling.BILINEAR, reducing_gap=2.0))


@pytest.mark.parametrize("products", [0, 1, 5, 200])
def test_every_product_in_view_has_its_row_and_hash_up_to_the_limit(make_rig, products: int) -> None:
    rig = detecting(make_rig, plan())
    photo = scene(grid(products, SIZE), SIZE)
    stored = processed(rig, event("a", [photo]))["a"]
    rows = stored.images
    assert len(rows) == max(1, min(products, 8))
    assert {row.image_id for row in rows} == {"0"}
    if not products:
        assert rows[0].box is None
        return
    truth = [padded_by_hand(place) for _, place in grid(products, SIZE)]
    for row in rows:  # each box is around one product, with the padding, up to two pixels of the detector's input
        assert min(np.abs(np.array(row.box) - place).max() for place in truth) < 2.5 / SIDE, row.box
        assert all(edge == round(edge, 4) for edge in row.box)
    assert len({row.box for row in rows}) == len(rows)
    message = decode_hashes(rig.hashes()["a"])
    assert [(one.image_id, one.hash, one.box) for one in message.images] == [(r.image_id, r.hash, r.box) for r in rows]


def test_a_row_is_what_the_engine_says_of_the_part_inside_its_box(make_rig) -> None:
    rig = detecting(make_rig, plan())
    photo = scene(grid(5, SIZE), SIZE)
    rows = processed(rig, event("a", [photo]))["a"].images
    manifest = rig.engine.manifest
    for row in rows:
        said = rig.engine.infer(pixels_by_hand(photo, row.box, manifest.preprocess.width)[None])
        bits = bytes.fromhex(said.hash_hex(0)), bytes.fromhex(row.hash)
        assert (int.from_bytes(bits[0]) ^ int.from_bytes(bits[1])).bit_count() <= 6
        for head, labels in said.rows(manifest)[0].items():  # the canvas has a third of the photo's sides
            there = {one.label: one.probability for one in row.predictions[head]}
            assert {one.label: pytest.approx(one.probability, abs=0.05) for one in labels} == there


def test_the_subject_is_the_most_confident_box_and_the_summary_its_row(make_rig) -> None:
    rig = detecting(make_rig, plan("subject"))
    photos = [scene(grid(5, SIZE), SIZE), scene([], SIZE)]
    stored = processed(rig, event("a", photos))["a"]
    assert [(row.image_id, row.box is None) for row in stored.images] == [("0", False), ("1", True)]
    detector = ColourDetector()
    canvas, _ = decode_canvas(photos[0], SIDE)
    best = chosen(detector.detect(canvas.cut(None, detector.preprocess)[None])[0], plan("subject"))[0]
    assert stored.images[0].box == astuple(best.box)
    whole = rig.engine.infer(decode(photos[1], rig.engine.manifest.preprocess)[None])
    assert whole.hash_hex(0) == stored.images[1].hash


def test_only_the_first_box_of_each_photo_counts_in_the_summary(make_rig) -> None:
    rig = detecting(make_rig, plan())
    photos = [scene(grid(n, SIZE), SIZE) for n in (5, 1)]
    stored = processed(rig, event("a", photos))["a"]
    first = [rows[0] for rows in by_photo(stored.images).values()]
    assert [len(rows) for rows in by_photo(stored.images).values()] == [5, 1]
    assert subjects(stored.images) == first
    assert stored.summary.predictions == pool(rig.engine.manifest, first)


def test_a_photo_that_the_detector_cannot_take_harms_no_other(make_rig) -> None:
    rig = detecting(make_rig, plan(), batch_size=8)
    good, bad = scene(grid(2, SIZE), SIZE), scene(grid(2, SIZE), SIZE, blue_corner=True)
    detector = ColourDetector(max_batch=8)
    stored = processed(rig, *(event(str(i), [good, bad] if i == 3 else [good]) for i in range(6)), detector=detector)
    assert [len(stored[str(i)].images) for i in range(6)] == [2] * 6
    assert stored["3"].summary.status == "partial"
    assert [(one.image_id, one.stage) for one in stored["3"].summary.bad_images] == [("1", "detect")]
    assert detector.warm_ups > 1  # it was asked whether it is at fault itself
    assert len(rig.dead_letters()) == 1


class Refusing(Detecting):
    """An engine that cannot process what is mostly green."""

    def infer(self, pixels: np.ndarray):
        if (pixels.mean((1, 2)) @ (-1, 2, -1) > 100).any():
            raise RuntimeError("green")
        return self._engine.infer(pixels)


def test_a_photo_with_a_bad_box_is_bad_and_has_no_thumbnail_as_any_bad_photo(make_rig) -> None:
    """The first box, which has the photo's thumbnail, is good."""
    rig = detecting(make_rig, plan())
    rig.engine = Refusing(rig.engine, rig.engine.manifest)
    photos = [scene(grid(1, SIZE), SIZE), scene(grid(2, SIZE), SIZE)]
    stored = processed(rig, event("a", photos))["a"]
    assert [(one.image_id, one.stage) for one in stored.summary.bad_images] == [("1", "engine")]
    assert [row.image_id for row in stored.images] == ["0"]
    assert [bool(rig.store.thumbnail("a", image_id)) for image_id in ("0", "1")] == [True, False]


def test_photos_of_many_listings_share_a_batch(make_rig) -> None:
    rig = detecting(make_rig, plan("subject"), batch_size=4, batch_wait_ms=2000)
    detector = ColourDetector(max_batch=4)
    processed(rig, *(event(str(i), [scene(grid(1, SIZE), SIZE)]) for i in range(8)), detector=detector)
    assert sum(detector.batches) == 8
    assert max(detector.batches) == 4


def test_a_bundle_with_a_detector_needs_that_detector_and_no_decode_processes(make_rig) -> None:
    rig = detecting(make_rig, plan())
    with pytest.raises(ConfigError, match="needs detector c0104de7ec70, there is none"):
        rig.build()
    other = msgspec.structs.replace(
        rig.engine.manifest, detection=msgspec.structs.replace(plan(), detector_id="0" * 12)
    )
    with pytest.raises(ConfigError, match="there is c0104de7ec70"):
        Looking.of(other, ColourDetector())
    slow = detecting(make_rig, plan(), decode_processes=1)
    with pytest.raises(ConfigError, match=r"tagger\.decode_processes"):
        slow.build(detector=ColourDetector())


def test_without_detection_there_is_no_stage_and_no_other_epoch(make_rig) -> None:
    rig = make_rig()
    assert Looking.of(rig.engine.manifest, ColourDetector()) is None
    detector = ColourDetector()
    stored = processed(rig, event("a", [scene(grid(5, SIZE), SIZE)]), detector=detector)["a"]
    assert (detector.batches, [row.box for row in stored.images]) == ([], [None])
    assert "box" not in next(iter(rig.admin.read(hash_topic(rig.epoch)))).value.decode()


def back_fill(rig: Rig, detector: ColourDetector) -> Backfill:
    settings = BackfillSettings()
    tagging = build_tagging(settings, engine=rig.engine, intake=rig.intake, detector=detector)
    return build_backfill(settings, stream=rig.stream, store=rig.store, manifest=tagging.manifest, tag=tagging.tag_all)


def test_a_back_fill_gives_the_rows_that_a_tagger_of_the_epoch_gives(make_rig) -> None:
    """The listing of the plain epoch keeps its rows beside the new ones, which another model version has."""
    photos = [scene(grid(3, SIZE), SIZE), scene([], SIZE)]
    rig = make_rig()
    rig.process(event("a", photos))
    plain = rig.store.get(["a"])["a"]
    rig.engine = Detecting(rig.engine, manifest_of(rig, plan()))
    make_topics(rig.stream, topics_for(rig.epoch))
    manifest = rig.engine.manifest
    run = back_fill(rig, ColourDetector())
    assert run.run(threading.Event(), lambda _: None).done == 1
    filled = rig.store.get(["a"], manifest.model_version)["a"]
    assert [len(rows) for rows in by_photo(filled.images).values()] == [3, 1]
    assert rig.store.get(["a"], plain.model_version)["a"] == plain
    counted = metrics.PHOTOS.labels(manifest.model_version)._value
    before = counted.get()
    tagged = processed(rig, event("b", photos))["b"]
    assert counted.get() == before + 2  # photos, not boxes
    assert (tagged.images, tagged.summary) == (filled.images, filled.summary)
    assert decode_hashes(rig.hashes()["a"]).images == decode_hashes(rig.hashes()["b"]).images


def test_a_back_fill_detects_in_parts_as_a_tagger_does(make_rig) -> None:
    """Ten photos, of which the first makes the detector fail: only its part is halved, the others run once."""
    photos = [scene(grid(1, SIZE), SIZE, blue_corner=place == 0) for place in range(10)]
    rig = make_rig()
    rig.process(event("a", photos))
    rig.engine = Detecting(rig.engine, manifest_of(rig, plan()))
    make_topics(rig.stream, topics_for(rig.epoch))
    detector = ColourDetector(max_batch=4)
    run = back_fill(rig, detector)
    assert run.run(threading.Event(), lambda _: None).done == 1
    assert detector.batches == [4, 2, 1, 1, 2, 4, 2]
    filled = rig.store.get(["a"], rig.engine.manifest.model_version)["a"]
    assert sorted(by_photo(filled.images)) == [str(place) for place in range(1, 10)]
