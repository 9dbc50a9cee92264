"""Builds the network that a recipe names."""

from __future__ import annotations

from pathlib import Path

import torch

from schemas.errors import ConfigError
from training.detection.networks.interface import DetectorNetwork
from training.detection.networks.single_stage import SingleStage
from training.detection.networks.small import SmallDetector
from training.detection.networks.torchvision_models import TorchvisionDetector
from training.detection.recipe import NetworkSpec


def build_detector(spec: NetworkSpec, kinds: int, side: int, *, folder: Path = Path()) -> DetectorNetwork:
    """The network, untrained but for a packaged trunk or the file of weights.

    Args:
        spec: of the recipe.
        kinds: how many kinds there are, `product` included.
        side: pixels a side of the input.
        folder: that `spec.weights` is relative to.

    Raises:
        ConfigError: the file of weights is missing or of another network, or a package is not installed.
    """
    network = _build(spec, kinds, side)
    if spec.weights:
        file = folder / spec.weights
        try:
            network.load_state_dict(torch.load(file, map_location="cpu", weights_only=True))
        except (OSError, RuntimeError) as error:
            text = str(error).splitlines()[0][:200]
            raise ConfigError(f"network.weights: {file}: {text}; give weights of a {spec.kind} network") from None
    return network


def _build(spec: NetworkSpec, kinds: int, side: int) -> DetectorNetwork:
    if spec.kind == "small":
        return SmallDetector(kinds, spec.channels, spec.depth, spec.frozen, spec.pretrained)
    if spec.kind == "single_stage":
        return SingleStage(kinds, side, spec.channels, spec.frozen, spec.pretrained)
    return TorchvisionDetector(spec.kind, kinds, side)
