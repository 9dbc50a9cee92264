"""Weights that are read back from a bundle: the network finds the bundle's own boxes, and training goes on from it."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch

import training
from engines.detection.parity import overlaps
from schemas.detector_manifest import BOXES, SCORES, load_detector_manifest
from schemas.errors import BundleRefused, ConfigError
from schemas.manifest import PARITY_FILE
from tests.training.detection.tiny import tiny_recipe, write_squares
from training.detection.bundle.export import write_detector_bundle
from training.detection.bundle.graph import deployable_detector, run_detector
from training.detection.loop.bundle_weights import take_bundle_weights
from training.detection.loop.state import CHECKPOINT, load_detector, new_detector_state
from training.detection.loop.train import train_detector
from training.detection.networks.build import build_detector
from training.detection.recipe import NetworkSpec, load_detector_recipe

PACKAGED = Path(training.__file__).parent / "bundles" / "detector"
KINDS = ["product", "green", "red"]


def test_the_packaged_detector_read_back_finds_its_parity_boxes() -> None:
    recipe = load_detector_recipe(PACKAGED.parents[1] / "recipes" / "detect_small.toml")
    manifest = load_detector_manifest(PACKAGED)
    network = build_detector(recipe.network, len(manifest.kinds), recipe.side).eval()
    take_bundle_weights(PACKAGED, network, manifest.kinds)
    with np.load(PACKAGED / PARITY_FILE) as kept:
        photos, boxes, scores = kept["photos"], kept[BOXES], kept[SCORES]
    found = run_detector(deployable_detector(network), photos, manifest.nms)
    sure = scores > 0.1
    assert sure.sum() >= 20
    for place, row in enumerate(sure):
        alike = overlaps(boxes[place][row], found[BOXES][place])
        assert (alike.max(axis=1) > 0.98).all()
        nearest = found[SCORES][place][alike.argmax(axis=1)]
        np.testing.assert_allclose(nearest, scores[place][row], atol=0.01)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of an untrained network whose norms do something."""
    torch.manual_seed(5)
    recipe = tiny_recipe()
    network = build_detector(recipe.network, len(KINDS), recipe.side)
    with torch.no_grad():
        for name, buffer in network.named_buffers():
            if name.endswith(("mean", "var")):
                buffer.uniform_(0.5, 1.5)
    folder = tmp_path_factory.mktemp("bundles") / "one"
    facts = msgspec.structs.replace(load_detector_manifest(PACKAGED).training)
    write_detector_bundle(network.eval(), recipe, KINDS, folder, facts)
    return folder


@pytest.mark.slow
def test_kinds_are_matched_by_name_and_a_new_kind_stays_random(bundle: Path) -> None:
    recipe = tiny_recipe()
    kinds = ["product", "red", "vase", "green"]
    network = build_detector(recipe.network, len(kinds), recipe.side)
    before = network.kind.weight.detach().clone()
    take_bundle_weights(bundle, network, kinds)
    same = build_detector(recipe.network, len(KINDS), recipe.side)
    take_bundle_weights(bundle, same, KINDS)
    green, red = same.kind.weight
    assert torch.equal(network.kind.weight[0], red)
    assert torch.equal(network.kind.weight[1], before[1])
    assert torch.equal(network.kind.weight[2], green)


@pytest.mark.slow
def test_a_run_begins_with_a_bundle(bundle: Path, tmp_path: Path) -> None:
    write_squares(tmp_path / "squares")
    recipe = tiny_recipe(1)
    rested = msgspec.structs.replace(recipe.schedule, trunk_rate=1e-12, head_rate=1e-12, average=0.0)
    recipe = msgspec.structs.replace(recipe, schedule=rested, kinds=KINDS[1:])
    train_detector(recipe, tmp_path, tmp_path / "run", start=bundle)
    network, _ = load_detector(tmp_path / "run" / CHECKPOINT, recipe)
    state = new_detector_state(recipe, KINDS, {})
    assert not torch.equal(state.network.product.weight, network.product.weight)
    state.begin_with(bundle)
    for one in (state.network, state.best):
        photos = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
        for mine, theirs in zip(one(photos), network(photos), strict=True):
            torch.testing.assert_close(mine, theirs, atol=1e-4, rtol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize(("changed", "said"), [({"channels": 16}, "channels"), ({"depth": 2}, "network.depth")])
def test_another_shape_is_named(bundle: Path, changed: dict[str, int], said: str) -> None:
    spec = msgspec.structs.replace(tiny_recipe().network, **changed)
    with pytest.raises(ConfigError, match=said):
        take_bundle_weights(bundle, build_detector(spec, len(KINDS), 64), KINDS)


def test_only_small_detectors_can_be_read_back(tmp_path: Path) -> None:
    spec = NetworkSpec(kind="single_stage", pretrained=False, channels=8)
    with pytest.raises(ConfigError, match="only small detectors"):
        take_bundle_weights(PACKAGED, build_detector(spec, 2, 64), ["product", "vase"])
    with pytest.raises(BundleRefused):
        take_bundle_weights(tmp_path, build_detector(spec, 2, 64), ["product", "vase"])
