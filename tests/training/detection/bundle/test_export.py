"""A bundle from a network: what the manifest promises is what the graph can give."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import torch

from engines.detection import open_detector
from schemas.manifest import Training
from tests.training.detection.tiny import tiny_recipe
from training.detection.bundle.export import write_detector_bundle
from training.detection.networks.build import build_detector
from training.detection.recipe import NmsSpec


def test_a_small_input_gives_no_more_boxes_than_it_has_cells(tmp_path: Path) -> None:
    """64 pixels have 8² + 4² + 2² + 1² cells at the strides 8 to 64, and a hundred boxes are asked for."""
    torch.manual_seed(0)
    recipe = msgspec.structs.replace(tiny_recipe(), nms=NmsSpec(score=0.01, most=100))
    network = build_detector(recipe.network, 2, recipe.side)
    facts = Training(recipe="tiny", command="", photos={}, seconds=0, hardware="")
    photos = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), np.uint8)
    manifest = write_detector_bundle(network, recipe, ["product", "mug"], tmp_path / "bundle", facts, photos=photos)
    assert manifest.nms.most == sum((64 // stride) ** 2 for stride in (8, 16, 32, 64)) == 85
    detector = open_detector(tmp_path / "bundle")
    assert all(len(boxes) <= 85 for boxes in detector.detect(photos))
    detector.close()
