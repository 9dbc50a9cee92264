"""Which differences of boxes the parity gate lets pass, and which it refuses."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from engines.detection.bundle import DetectorBundle, load_detector_bundle
from engines.detection.parity import check_detector_parity, overlaps
from schemas.errors import BundleRefused
from tests.detectors import bright_detector

Arrays = dict[str, np.ndarray]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> DetectorBundle:
    folder = tmp_path_factory.mktemp("detector") / "bundle"
    bright_detector(folder)
    return load_detector_bundle(folder)


def spoiled(bundle: DetectorBundle, change: Callable[[Arrays], object]) -> Arrays:
    arrays = {name: np.array(value) for name, value in bundle.expected.items()}
    change(arrays)
    return arrays


def _swap(arrays: Arrays) -> None:
    for value in arrays.values():
        value[2, [0, 1]] = value[2, [1, 0]]


def _shift(arrays: Arrays) -> None:
    arrays["boxes"][..., [0, 2]] = (arrays["boxes"][..., [0, 2]] + 0.02).clip(0, 1)


def _lower(arrays: Arrays) -> None:
    arrays["scores"] *= 0.9


def _other_kind(arrays: Arrays) -> None:
    arrays["kinds"][arrays["scores"] > 0] = 1


def _fewer(arrays: Arrays) -> None:
    arrays["scores"][3, 8:] = 0


def _one_more(arrays: Arrays) -> None:
    arrays["boxes"][0, :4], arrays["scores"][0, :4] = (0.1, 0.1, 0.9, 0.9), 0.9


def _not_a_number(arrays: Arrays) -> None:
    arrays["scores"][1, 0] = np.nan


def _narrow(arrays: Arrays) -> None:
    arrays["boxes"] = arrays["boxes"][:, :5]


def test_equal_boxes_pass_and_so_does_another_order(bundle: DetectorBundle) -> None:
    check_detector_parity(bundle, bundle.expected)
    check_detector_parity(bundle, spoiled(bundle, _swap))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_shift, "recorded boxes that are found"),
        (_lower, "recorded boxes that are found"),
        (_other_kind, "recorded boxes that are found"),
        (_fewer, "recorded boxes that are found"),
        (_one_more, "boxes found that are recorded"),
        (_not_a_number, "parity.scores: not a number"),
        (_narrow, "model.onnx: boxes"),
        (lambda arrays: arrays.pop("kinds"), "model.onnx: kinds: absent"),
    ],
)
def test_other_boxes_are_refused(bundle: DetectorBundle, change: Callable[[Arrays], object], message: str) -> None:
    with pytest.raises(BundleRefused, match=message):
        check_detector_parity(bundle, spoiled(bundle, change))


def test_overlap_equals_counted_pixels() -> None:
    """The IoU of boxes on a grid of 100 pixels, by counting pixels."""
    rng = np.random.default_rng(0)
    low = rng.integers(0, 80, (12, 2))
    boxes = np.concatenate([low, low + rng.integers(1, 20, (12, 2))], axis=1)
    masks = np.zeros((12, 100, 100), bool)
    for mask, (left, top, right, bottom) in zip(masks, boxes, strict=True):
        mask[top:bottom, left:right] = True
    counted = [[(a & b).sum() / (a | b).sum() for b in masks] for a in masks]
    assert np.allclose(overlaps(boxes / 100, boxes / 100), counted)
    assert overlaps(np.zeros((1, 4)), boxes / 100).max() == 0
