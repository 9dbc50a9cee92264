"""What a trunk that does not change says of every photo, computed once and kept on disk.

`object` heads and the relational loss ask the packaged trunk. Heads that learn on a trunk which stays as it is
(`schedule.learns`) ask that trunk. So trying other heads or another hash takes seconds.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from engines.files import replacing
from training.data.photos import PhotoSet, Pixels
from training.network.lite_shapes import LITE
from training.network.model import Network
from training.network.trunk import EfficientNetLite, packaged
from training.progress import tracked
from training.recipe import Recipe

Half = NDArray[np.float16]
BATCH = 64


@dataclass(frozen=True)
class Frozen:
    """The frozen trunk's answers, over all photos of a run.

    Attributes:
        logits: `float16 [n, 1000]`, of the packaged classifier; of width 0 for another trunk.
        feature: `float16 [n, f]`, pooled by GeM with p = 2, or averaged.
    """

    logits: Half
    feature: Half


def resized(pixels: Pixels, size: int, device: torch.device | None = None) -> Tensor:
    """`uint8 [n, h, w, 3]` → `float [n, 3, size, size]` on `device`, antialiased, rounded as a decoder does."""
    x = torch.from_numpy(np.array(pixels)).to(device).permute(0, 3, 1, 2).float()
    if x.shape[-1] != size:
        x = F.interpolate(x, size=(size, size), mode="bilinear", antialias=True, align_corners=False)
        x = x.round().clamp(0, 255)
    return x.contiguous(memory_format=torch.channels_last)


def run_frozen(sets: list[PhotoSet], size: int, cache: Path, trunk: str, device: torch.device) -> Frozen:
    """Run the packaged Lite trunk over every photo at `size` pixels a side. Answers in `cache` are not computed again.

    Raises:
        ConfigError: the package with the trunk's weights is not installed.
    """
    parts = []
    for photos in sets:
        file = cache / f"{photos.spec.name}_{trunk}_{size}_frozen.npz"
        if not file.is_file():
            logits, gem = _run(photos.pixels, size, trunk, device, photos.spec.name)
            with replacing(file) as part, part.open("wb") as opened:
                np.savez(opened, logits=logits, gem=gem)
        parts.append(np.load(file))
    return Frozen(np.concatenate([p["logits"] for p in parts]), np.concatenate([p["gem"] for p in parts]))


def run_kept(sets: list[PhotoSet], recipe: Recipe, data: Path, cache: Path, device: torch.device) -> Frozen:
    """Run the recipe's own trunk, which stays as it is, over every photo. Answers in `cache` are not computed again.
    `data` has the file of weights, where the recipe names one."""
    if recipe.trunk in LITE and recipe.pretrained and recipe.pooling == "gem":
        return run_frozen(sets, recipe.size, cache, recipe.trunk, device)
    torch.manual_seed(recipe.seed)  # a trunk of random weights is that of the run
    published = recipe.pretrained and not recipe.weights
    network = Network(recipe.trunk, {}, published, pooling=recipe.pooling, size=recipe.size).eval()
    if recipe.weights:
        network.load_trunk(data / recipe.weights)
    network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    key = hashlib.sha256()
    for name, value in network.state_dict().items():
        if name.startswith(("trunk.", "pool.")):
            key.update(value.cpu().numpy().tobytes())
    parts = []
    for photos in sets:
        file = cache / f"{photos.spec.name}_{recipe.size}_{key.hexdigest()[:12]}_kept.npy"
        if not file.is_file():
            feature = _features(network, photos, recipe.size, device)
            with replacing(file) as part, part.open("wb") as opened:
                np.save(opened, feature)
        parts.append(np.load(file))
    feature = np.concatenate(parts)
    return Frozen(np.zeros((len(feature), 0), np.float16), feature)


def _starts(pixels: Pixels, what: str) -> Iterator[int]:
    """Where each batch begins, with a progress bar."""
    places = range(0, len(pixels), BATCH)
    return tracked(places, f"features of {what}", len(places))


@torch.inference_mode()
def _features(network: Network, photos: PhotoSet, size: int, device: torch.device) -> Half:
    found = [
        network.pooled(resized(photos.pixels[at : at + BATCH], size, device)).half().cpu().numpy()
        for at in _starts(photos.pixels, photos.spec.name)
    ]
    return np.concatenate(found)


def no_frozen(sets: list[PhotoSet]) -> Frozen:
    """Rows of width 0, for a recipe that learns nothing from the frozen trunk."""
    none = np.zeros((sum(len(s.rows) for s in sets), 0), np.float16)
    return Frozen(none, none)


def frozen_vectors(pixels: Pixels, size: int = 224, trunk: str = "efficientnet_lite0") -> NDArray[np.float32]:
    """The frozen trunk's pooled feature of photos `uint8 [n, h, w, 3]`, scaled to length 1, `float32 [n, f]`: what can
    be known of a product that no network of ours was trained on.

    Raises:
        ConfigError: the package with the trunk's weights is not installed.
    """
    _, feature = _run(pixels, size, trunk, torch.device("cpu"))
    vectors = feature.astype(np.float32)
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), np.float32)


@torch.inference_mode()
def _run(pixels: Pixels, size: int, name: str, device: torch.device, what: str = "photos") -> tuple[Half, Half]:
    state = packaged(name)
    layer = state["fc.weight"].T.to(device), state["fc.bias"].to(device)
    trunk = EfficientNetLite(name)
    trunk.load_state_dict({k: v for k, v in state.items() if not k.startswith("fc.")})
    trunk.eval().to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    logits, gem = [], []
    for start in _starts(pixels, what):
        x = trunk(resized(pixels[start : start + BATCH], size, device))
        logits.append((x.mean((2, 3)) @ layer[0] + layer[1]).half().cpu().numpy())
        gem.append(x.clamp(min=1e-4).square().mean((2, 3)).sqrt().half().cpu().numpy())
    return np.concatenate(logits), np.concatenate(gem)


def principal_axes(feature: Half, dim: int) -> tuple[Tensor, Tensor]:
    """PCA of `feature [n, f]`: weight `float32 [dim, f]` and bias `[dim]` of the layer that projects on the first
    axes, the largest variance first. The rows have length 1 and are at right angles.

    n photos span n − 1 axes. If that is fewer than `dim`, random axes follow, because photos that come later differ in
    these directions too. More axes than features do not exist; the rows that are left are zeros.
    """
    x = torch.from_numpy(feature.astype(np.float32))
    mean = x.mean(0)
    most = min(dim, x.shape[1])
    if len(x) > x.shape[1]:
        _, vectors = torch.linalg.eigh(torch.cov((x - mean).T))
        axes = vectors[:, -most:].T.flip(0)
    else:  # a covariance of few photos has many eigenvalues of 0, at which eigh may fail
        axes = torch.linalg.svd(x - mean, full_matrices=False)[2][: min(most, len(x) - 1)]
    if len(axes) < most:
        more = torch.randn(most - len(axes), x.shape[1], generator=torch.Generator().manual_seed(0))
        axes = torch.linalg.qr(torch.cat([axes, more]).T)[0].T
    axes = F.pad(axes, (0, 0, 0, dim - most))
    return axes.contiguous(), -(axes @ mean)
