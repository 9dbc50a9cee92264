"""A bundle of a large trunk with random weights: for the speed and size of engines, which do not ask what it says."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import torch

from schemas.manifest import Gate, Manifest, Training, write_manifest
from schemas.taxonomy import Taxonomy
from training.export import write_raw
from training.graph import deployable
from training.labels import Targets, imagenet_names
from training.model import Network
from training.recipe import HeadSpec, Recipe, Schedule
from training.taxonomy import extend_taxonomy

TRUNK = "resnext101_32x4d"
_NONE = np.empty(0, np.int64)  # nothing is trained, so there are no targets
# Random logits lie so close together that rounding changes their order: only shapes and finiteness can be judged.
_ANYTHING = Gate(
    label_agreement=0,
    head_agreement=0,
    probability_mean=1,
    probability_worst=1,
    embedding=2,
    hash_flips=1,
    hash_column=1,
)


def write_reference(folder: Path, trunk: str = TRUNK, size: int = 224, seed: int = 0) -> Manifest:
    """Make the bundle `folder`: 1,000 object labels, 64 and 8 further ones, embedding and hash over `trunk`.

    Raises:
        ModuleNotFoundError: a trunk of timm, which is not installed.
        BundleRefused: ONNX Runtime and torch disagree.
    """
    torch.manual_seed(seed)
    sizes = {"object": imagenet_names(), "kind": _numbered("kind", 64), "colour": _numbered("colour", 8)}
    heads = [Targets(HeadSpec(id=name, column=name), values, _NONE) for name, values in sizes.items()]
    recipe = Recipe(
        name=f"reference-{trunk.replace('_', '-')}",
        trunk=trunk,
        pretrained=False,
        size=size,
        cache_size=size,
        datasets=[],
        heads=[target.spec for target in heads],
        schedule=Schedule(steps=1),
    )
    network = Network(trunk, {name: len(values) for name, values in sizes.items()}, pretrained=False)
    _fill(network)
    folder.mkdir(parents=True, exist_ok=True)
    facts = Training(recipe=recipe.name, command="none: random weights")
    taxonomy = extend_taxonomy(Taxonomy(heads=[]), heads)
    manifest = write_raw(recipe, deployable(network), heads, folder, taxonomy=taxonomy, facts=facts)
    manifest = msgspec.structs.replace(manifest, gate=_ANYTHING)
    write_manifest(folder, manifest)
    return manifest


def _fill(network: Network) -> None:
    """Let every residual branch count: timm starts them at 0, and an engine would leave out what is 0. At 0.2 the
    values grow fourfold over 33 blocks, well within FP16."""
    for module in network.trunk.modules():
        if isinstance(module, torch.nn.BatchNorm2d) and not module.weight.any():
            torch.nn.init.constant_(module.weight, 0.2)


def _numbered(word: str, count: int) -> list[str]:
    return [f"{word} {i}" for i in range(count)]
