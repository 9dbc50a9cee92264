"""Reads the weights of a small detector's bundle back into a network, so that training can go on from it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from schemas.detector_manifest import load_detector_manifest
from schemas.errors import ConfigError
from schemas.manifest import MODEL_FILE
from training.detection.networks.interface import DetectorNetwork
from training.detection.networks.small import SmallDetector
from training.network.trunk import ConvNorm

_PREFIX, _HALF = "network.", ".half"
_LEAST = 1e-3  # a norm's scale below this cannot be divided by: half precision would be amplified a thousandfold
Arrays = dict[str, NDArray[np.float32]]


@torch.no_grad()
def take_bundle_weights(bundle: Path, network: DetectorNetwork, kinds: Sequence[str]) -> None:
    """Give `network` the weights of a bundle. Kinds are matched by name; kinds that the bundle does not know keep their
    random weights.

    A bundle's convolutions contain their norms. Each norm keeps the statistics and the scale that the network has, and
    the convolution before it is divided by that scale.

    Args:
        bundle: folder of a detector bundle.
        network: a small detector; others cannot be read back.
        kinds: that the network tells apart, `product` first.

    Raises:
        BundleRefused: the folder holds no detector bundle.
        ConfigError: bundle and network differ in kind, channels or depth.
    """
    known = load_detector_manifest(bundle).kinds
    found = _arrays(bundle)
    if not isinstance(network, SmallDetector) or "pyramid.stem.weight" not in found:
        raise ConfigError(f"start: {bundle}: only small detectors can be read back; use a run's checkpoint instead")
    norms = {name: module for name, module in network.named_modules() if isinstance(module, ConvNorm)}
    for name, module in norms.items():
        _unfold(module, _shaped(found, f"{name}.weight", module.weight), _shaped(found, f"{name}.beta", module.beta))
    for name, parameter in network.named_parameters():
        if name.rpartition(".")[0] in norms:
            continue
        if name.startswith("kind."):
            _match(parameter, found.get(name), known[1:], kinds[1:])
        else:
            parameter.copy_(_shaped(found, name, parameter))


def _arrays(bundle: Path) -> Arrays:
    """The graph's weights by the network's names, and `scale` [maps]."""
    import onnx
    from onnx.numpy_helper import to_array

    graph: Any = onnx.load(bundle / MODEL_FILE).graph
    raw = {one.name.removesuffix(_HALF): to_array(one).astype(np.float32) for one in graph.initializer}
    for one in graph.node:  # the export keeps equal weights once
        if one.op_type == "Identity" and one.input[0].removesuffix(_HALF) in raw:
            raw[one.output[0].removesuffix(_HALF)] = raw[one.input[0].removesuffix(_HALF)]
    found = {name.removeprefix(_PREFIX): array for name, array in raw.items() if name.startswith(_PREFIX)}
    convs = {one.output[0] for one in graph.node if one.op_type == "Conv" and one.input[1].startswith("network.edges.")}
    scales = [
        raw[one.input[1].removesuffix(_HALF)] for one in graph.node if one.op_type == "Mul" and one.input[0] in convs
    ]
    found["scale"] = np.array(scales, np.float32)
    return found


def _shaped(found: Arrays, name: str, parameter: Tensor) -> Tensor:
    array = found.get(name)
    if array is None or array.shape != tuple(parameter.shape):
        has = "nothing" if array is None else f"shape {array.shape}"
        text = f"start: the bundle has {has} for {name}, and the recipe's network shape {tuple(parameter.shape)}"
        raise ConfigError(f"{text}; set network.channels and network.depth as in the bundle's recipe")
    return torch.from_numpy(array)


def _unfold(module: ConvNorm, weight: Tensor, beta: Tensor) -> None:
    """The inverse of `ConvNorm.fold`, for given statistics and scale."""
    scale = module.gamma * torch.rsqrt(module.var + 1e-3)
    small = scale.abs() < _LEAST
    module.gamma[small], module.var[small], module.mean[small] = 1.0, 1.0 - 1e-3, 0.0
    scale[small] = 1.0
    module.weight.copy_(weight / scale[:, None, None, None])
    module.beta.copy_(beta + module.mean * scale)


def _match(parameter: Tensor, array: NDArray[np.float32] | None, known: Sequence[str], kinds: Sequence[str]) -> None:
    """Copy the rows of the kinds that both know."""
    if array is None:
        return
    for place, kind in enumerate(kinds):
        if kind in known:
            parameter[place] = torch.from_numpy(array)[known.index(kind)]
