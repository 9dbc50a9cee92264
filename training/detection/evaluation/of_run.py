"""Measures a run's network or a bundle on the sets of a recipe."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from engines.detection.bundle import load_detector_bundle
from engines.detection.engine import open_detector_backend
from schemas.detector_manifest import Nms
from training.detection.bundle.graph import deployable_detector, run_detector
from training.detection.data.boxed_set import BoxedSet, load_boxed_sets
from training.detection.evaluation.evaluate import evaluate_detector, run_over
from training.detection.evaluation.scoring import Found
from training.detection.figures import SetFigures
from training.detection.loop.state import CHECKPOINT, load_detector
from training.detection.networks.torchvision_models import TorchvisionDetector
from training.detection.recipe import DetectorRecipe

Finder = Callable[[BoxedSet, NDArray[np.int64]], list[Found]]
"""The photos of a set that are named by numbers [n] → the boxes that are found in each."""


def measured_run(
    recipe: DetectorRecipe, run: Path, data: Path, cache: Path, *, split: str = "test", most: int = 0
) -> dict[str, SetFigures]:
    """The figures of a run's network, computed by torch, by set.

    `most` photos of each set, or all with 0. Raises ConfigError if there is no checkpoint or the data do not fit.
    """
    network, saved = load_detector(run / CHECKPOINT, recipe)
    graph = deployable_detector(network)
    nms = Nms(score=recipe.nms.score, overlap=recipe.nms.overlap, most=recipe.nms.most)
    sets = load_boxed_sets(recipe, data, cache)
    return evaluate_detector(lambda photos: run_detector(graph, photos, nms), sets, saved["kinds"], split, most)


def measured_bundle(
    recipe: DetectorRecipe, bundle: Path, data: Path, cache: Path, *, split: str = "test", backend: str = "onnxruntime"
) -> dict[str, SetFigures]:
    """The figures of a bundle on the sets of a recipe, by set, computed by one of the engine's back ends.

    Raises:
        BundleRefused: the bundle fails its checks.
        ConfigError: the data do not fit the recipe, or the back end is not installed.
    """
    loaded = load_detector_bundle(bundle)
    sets = load_boxed_sets(recipe, data, cache)
    opened = open_detector_backend(loaded, backend)

    def run(photos: NDArray[np.uint8]) -> Mapping[str, NDArray[np.generic]]:
        return opened.run(np.ascontiguousarray(photos))

    try:
        return evaluate_detector(run, sets, loaded.manifest.kinds, split)
    finally:
        opened.close()


def network_finder(recipe: DetectorRecipe, run: Path) -> tuple[Finder, int]:
    """What finds boxes with a run's network, computed by torch, and the bytes of its weights.

    A network of two stages answers by itself, as it has no graph to export.
    """
    network, _ = load_detector(run / CHECKPOINT, recipe)
    size = sum(parameter.numel() * parameter.element_size() for parameter in network.parameters())
    nms = Nms(score=recipe.nms.score, overlap=recipe.nms.overlap, most=recipe.nms.most)
    if isinstance(network, TorchvisionDetector) and network.two_stages:
        body = network
        return lambda one, numbers: [_own(body, np.asarray(one.pixels[n]), nms) for n in numbers], size
    graph = deployable_detector(network)
    return lambda one, numbers: run_over(lambda photos: run_detector(graph, photos, nms), one, numbers), size


def _own(network: TorchvisionDetector, pixels: NDArray[np.uint8], nms: Nms) -> Found:
    photo = torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None].float()
    (own,) = network.detect(photo)
    kept = own["scores"] >= nms.score
    edges = (own["boxes"][kept] / float(pixels.shape[0])).numpy().astype(np.float64)
    return Found(edges, own["scores"][kept].numpy().astype(np.float64), own["labels"][kept].numpy())
