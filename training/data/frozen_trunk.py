"""What the frozen packaged trunk says of every photo, computed once, for `object` heads and the relational loss."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from engines.files import replacing
from training.data.photos import PhotoSet, Pixels
from training.network.trunk import EfficientNetLite, packaged

Half = NDArray[np.float16]


@dataclass(frozen=True)
class Frozen:
    """The frozen trunk's answers, over all photos of a run.

    Attributes:
        logits: `float16 [n, 1000]`, of the packaged classifier.
        feature: `float16 [n, 1280]`, pooled by GeM with p = 2.
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
            logits, gem = _run(photos.pixels, size, trunk, device)
            with replacing(file) as part, part.open("wb") as opened:
                np.savez(opened, logits=logits, gem=gem)
        parts.append(np.load(file))
    return Frozen(np.concatenate([p["logits"] for p in parts]), np.concatenate([p["gem"] for p in parts]))


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
def _run(pixels: Pixels, size: int, name: str, device: torch.device) -> tuple[Half, Half]:
    state = packaged(name)
    layer = state["fc.weight"].T.to(device), state["fc.bias"].to(device)
    trunk = EfficientNetLite(name)
    trunk.load_state_dict({k: v for k, v in state.items() if not k.startswith("fc.")})
    trunk.eval().to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    logits, gem = [], []
    for start in range(0, len(pixels), 64):
        x = trunk(resized(pixels[start : start + 64], size, device))
        logits.append((x.mean((2, 3)) @ layer[0] + layer[1]).half().cpu().numpy())
        gem.append(x.clamp(min=1e-4).square().mean((2, 3)).sqrt().half().cpu().numpy())
    return np.concatenate(logits), np.concatenate(gem)


def principal_axes(feature: Half, dim: int) -> tuple[Tensor, Tensor]:
    """PCA of `feature [n, f]`: weight `float32 [dim, f]` and bias `[dim]` of the layer that projects on the first
    axes, the largest variance first."""
    x = torch.from_numpy(feature.astype(np.float32))
    mean = x.mean(0)
    covariance = torch.cov((x - mean).T)
    _, vectors = torch.linalg.eigh(covariance)
    axes = vectors[:, -dim:].T.flip(0)
    return axes.contiguous(), -(axes @ mean)
