"""Detectors opened from bundles: boxes in order, of the right photo, by every back end; and what is refused."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import numpy as np
import pytest

from engines.detection import DETECTOR_BACKENDS, Detector, open_detector
from engines.recognition import build_engine
from schemas.errors import BundleRefused, ConfigError
from schemas.manifest import MANIFEST_FILE, MODEL_FILE, PARITY_FILE
from tests.detectors import CELLS, SIDE, bright_detector, light, scenes

BACKENDS = ("onnxruntime", "openvino")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("detector") / "bundle"
    bright_detector(made)
    return made


@pytest.fixture(scope="module", params=BACKENDS)
def detector(folder: Path, request: pytest.FixtureRequest) -> Detector:
    return open_detector(folder, request.param, threads=1, max_batch=8)


def expected(photo: np.ndarray) -> list[tuple[float, float, float, float, float]]:
    """The cells of a photo by hand: score, then edges, the brightest first."""
    step, found = SIDE // CELLS, []
    for row in range(CELLS):
        for column in range(CELLS):
            score = photo[row * step, column * step].max() / 255
            if score > 0.5:
                edges = (column / CELLS, row / CELLS, (column + 1) / CELLS, (row + 1) / CELLS)
                found.append((score, *edges))
    return sorted(found, reverse=True)


def test_boxes_are_those_of_each_photo_the_most_confident_first(detector: Detector) -> None:
    photos = scenes()
    for photo, found in zip(photos, detector.detect(photos), strict=True):
        boxes = [(one.score, one.box.left, one.box.top, one.box.right, one.box.bottom) for one in found]
        assert np.allclose(np.array(boxes).reshape(-1, 5), np.array(expected(photo)).reshape(-1, 5), atol=1e-5)


def test_a_batch_gives_what_its_photos_give_alone(detector: Detector) -> None:
    photos = scenes()
    assert detector.detect(photos) == [detector.detect(photo[None])[0] for photo in photos]


def test_the_kind_is_said_where_it_is_clear(detector: Detector) -> None:
    photo = np.zeros((1, SIDE, SIDE, 3), np.uint8)
    light(photo[0], 3, 250)
    light(photo[0], 9, 200, red=True)
    assert [one.kind for one in detector.detect(photo)[0]] == ["product", "red"]


def test_several_threads_get_their_own_boxes(detector: Detector) -> None:
    photos, wrong = scenes(), []

    def call(place: int) -> None:
        for _ in range(20):
            if len(detector.detect(photos[place : place + 1])[0]) != (0, 1, 5, CELLS * CELLS)[place]:
                wrong.append(place)

    threads = [threading.Thread(target=call, args=(place,)) for place in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


@pytest.mark.parametrize(
    ("photos", "message"),
    [
        (np.zeros((1, SIDE, SIDE, 3), np.float32), "float32"),
        (np.zeros((1, SIDE, 32, 3), np.uint8), "decode with engines.pixels"),
        (np.zeros((0, SIDE, SIDE, 3), np.uint8), "split the batch"),
        (np.zeros((9, SIDE, SIDE, 3), np.uint8), "9 in a batch, not 1..8"),
    ],
)
def test_photos_that_do_not_fit_are_refused(detector: Detector, photos: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        detector.detect(photos)


def test_a_closed_detector_says_so(folder: Path) -> None:
    detector = open_detector(folder, threads=1)
    detector.warm_up()
    detector.close()
    detector.close()
    with pytest.raises(RuntimeError, match="open another"):
        detector.detect(scenes())


def changed(folder: Path, out: Path, **fields: object) -> Path:
    """A copy of the bundle with other fields in its manifest."""
    out.mkdir()
    for path in folder.iterdir():
        (out / path.name).write_bytes(path.read_bytes())
    manifest = json.loads((out / MANIFEST_FILE).read_text())
    (out / MANIFEST_FILE).write_text(json.dumps(manifest | fields))
    return out


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"format_version": 2}, "format_version: 2, not 1"),
        ({"type": "recogniser"}, "no detector bundle"),
        ({"kinds": ["red", "product"]}, "kinds: the first kind must be `product`"),
        ({"kinds": ["product", "product"]}, "share one name"),
        ({"nms": {"score": 0.5, "overlap": 0.5, "most": 7}}, r"parity.npz: boxes"),
        ({"input": "pictures"}, "input: the manifest says pictures"),
        ({"unknown": 1}, "unknown"),
        ({"files": {}}, "no checksum for model.onnx"),
    ],
)
def test_a_manifest_that_does_not_fit_is_refused(
    folder: Path, tmp_path: Path, fields: dict[str, object], message: str
) -> None:
    with pytest.raises(BundleRefused, match=message):
        open_detector(changed(folder, tmp_path / "copy", **fields))


@pytest.mark.parametrize("name", [MODEL_FILE, PARITY_FILE])
def test_an_altered_file_is_refused(folder: Path, tmp_path: Path, name: str) -> None:
    copy = changed(folder, tmp_path / "copy")
    (copy / name).write_bytes((copy / name).read_bytes() + b"\0")
    with pytest.raises(BundleRefused, match=rf"files\.{name}: its sha256 differs"):
        open_detector(copy)


def test_a_recognisers_engine_refuses_a_detector(folder: Path) -> None:
    with pytest.raises(BundleRefused):
        build_engine(folder)


def test_an_unknown_back_end_is_named_with_those_there_are(folder: Path) -> None:
    with pytest.raises(ConfigError, match=", ".join(DETECTOR_BACKENDS)):
        open_detector(folder, "abacus")
