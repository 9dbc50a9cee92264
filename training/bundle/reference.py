"""The reference bundle: GrokNet's large trunk and 80 heads, with your weights or random ones.

GrokNet's trunk is ResNeXt-101 32×4d, and nobody publishes its trained weights. This bundle shows what such a network
costs on an engine, and it runs wherever a trained one will. Its card says clearly what was not trained.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import msgspec
import numpy as np
import torch

from engines.files import making_folder
from schemas.errors import ConfigError
from schemas.manifest import CARD_FILE, Gate, Manifest, Training, write_manifest
from schemas.taxonomy import MARKET, load_taxonomy
from training.bundle.onnx_graph import deployable
from training.bundle.raw_bundle import write_raw
from training.bundle.taxonomy import extend_taxonomy
from training.data.labels import Targets
from training.network.model import Network
from training.network.weights import load_body, read_weights
from training.recipe import HeadSpec, Recipe, Schedule

TRUNK = "resnext101_32x4d"
HEADS = 80  # softmax groups of GrokNet
FROM_TIMM = "timm"
"""Instead of a file of weights: those that timm publishes for the trunk and downloads."""

_NAMES = {TRUNK: "groknet-resnext101"}
_OBJECTS = "object"
_FILLER_LABELS = 32  # of a head that is not in the taxonomy; GrokNet's own sizes are not published
_NONE = np.empty(0, np.int64)  # nothing is trained, so there are no targets
# Random logits are so close to each other that rounding changes their order. Only shapes and finiteness are checked.
_ANYTHING = Gate(
    label_agreement=0,
    head_agreement=0,
    probability_mean=1,
    probability_worst=1,
    embedding=2,
    hash_flips=1,
    hash_column=1,
)


def write_reference(
    folder: Path,
    trunk: str = TRUNK,
    size: int = 224,
    seed: int = 0,
    *,
    weights: str | None = None,
    heads: int = HEADS,
) -> Manifest:
    """Make the bundle `folder`. It appears whole or not at all.

    Args:
        folder: must not exist yet.
        trunk: a backbone of timm, or `efficientnet_lite0`.
        size: pixels a side of the photos.
        seed: of the random weights.
        weights: a file with the trunk's weights (.safetensors, or a torch state dict with timm's names), `timm`, or
            None for random ones. If the file has a 1,000-class classifier, it becomes the `object` head.
        heads: number of softmax heads: 1,000 ImageNet objects, the other heads of the packaged taxonomy, and then
            numbered ones.

    Raises:
        ConfigError: `folder` exists; or the weights cannot be read, or are of another trunk.
        ModuleNotFoundError: the trunk is one of timm, which is not installed.
        BundleRefused: ONNX Runtime and torch disagree.
    """
    if folder.exists():
        raise ConfigError(f"--out: {folder} is there already; name another folder, or delete it")
    torch.manual_seed(seed)
    targets = _targets(heads)
    network = Network(trunk, {t.spec.id: len(t.values) for t in targets}, pretrained=weights == FROM_TIMM, size=size)
    objects = weights is not None and weights != FROM_TIMM and _load(network, Path(weights))
    if weights is None:
        _fill(network)
    name = _NAMES.get(trunk, f"groknet-{trunk.replace('_', '-')}")
    recipe = Recipe(
        name=name,
        trunk=trunk,
        pretrained=False,
        size=size,
        cache_size=size,
        datasets=[],
        heads=[target.spec for target in targets],
        schedule=Schedule(steps=1),
    )
    with making_folder(folder) as part:
        (part / CARD_FILE).write_text(_card(network, recipe, weights, objects), encoding="utf-8")
        facts = Training(recipe=name, command="groknet reference", notes={"weights": _weights_name(weights)})
        taxonomy = extend_taxonomy(load_taxonomy(MARKET), targets)
        manifest = write_raw(recipe, deployable(network), targets, part, taxonomy=taxonomy, facts=facts)
        manifest = msgspec.structs.replace(manifest, gate=_ANYTHING)
        write_manifest(part, manifest)
    return manifest


def _targets(heads: int) -> list[Targets]:
    """Softmax heads: those of the packaged taxonomy, `object` first, then numbered ones."""
    known = [head for head in load_taxonomy(MARKET).heads if head.kind == "softmax"]
    labels = {head.id: [label.value for label in head.labels] for head in known}
    names = [_OBJECTS, *(name for name in labels if name != _OBJECTS)]
    names += [f"group-{i:02}" for i in range(len(names), heads)]
    for name in names[len(labels) :]:
        labels[name] = [f"{name} label {i}" for i in range(_FILLER_LABELS)]
    return [Targets(HeadSpec(id=name, column=name), labels[name], _NONE) for name in names[:heads]]


def _load(network: Network, path: Path) -> bool:
    """Put a file's weights into the trunk. Returns True if it also had a classifier for the `object` head."""
    state = read_weights(path, "--weights", f", or `{FROM_TIMM}` to download timm's weights")
    load_body(network.trunk, state, path.name, "--weights", "--trunk")
    classifier = network.head(_OBJECTS)
    weight, bias = (state.get(f"fc.{part}") for part in ("weight", "bias"))
    if weight is None or bias is None or weight.shape != classifier.weight.shape:
        return False
    with torch.no_grad():
        classifier.weight.copy_(weight)
        classifier.bias.copy_(bias)
    return True


def _weights_name(weights: str | None) -> str:
    if weights is None or weights == FROM_TIMM:
        return weights or "random"
    path = Path(weights)
    return f"{path.name}, sha256 {hashlib.sha256(path.read_bytes()).hexdigest()[:16]}"


def _card(network: Network, recipe: Recipe, weights: str | None, objects: bool) -> str:
    million = sum(p.numel() for p in network.trunk.parameters()) / 1e6
    labels = sum(network.head(name).out_features for name in network.head_ids)
    heads = f"the `{_OBJECTS}` head has its classifier, and all other heads are" if objects else "all heads are"
    if weights is None:
        loud = "**RANDOM WEIGHTS. NOTHING HERE WAS TRAINED: every label, embedding and hash is noise.**"
        use = "Use it to measure engines. Never use it to describe a photo."
    else:
        loud = f"**NOT TRAINED AS GROKNET.** The trunk holds {_weights_name(weights)}; {heads} **RANDOM**."
        use = "Embedding and hash are random projections of the trunk's feature. Train the network before you use them."
    return (
        f"# {recipe.name}\n\n{loud}\n\n{use}\n\n"
        f"Trunk `{recipe.trunk}` at {recipe.size} × {recipe.size}, {million:.1f} M parameters; {len(network.head_ids)} "
        f"softmax heads with {labels:,} labels on its feature; a 400-d embedding and 256 bits.\n\n"
        "Made by `groknet reference`. It is not calibrated and not measured. Its gate lets every lower precision pass, "
        "because random answers are too close to each other to compare.\n"
    )


def _fill(network: Network) -> None:
    """Set the scale of every residual branch to 0.2. timm starts it at 0, and an engine would remove such a branch.
    With 0.2 values grow fourfold over 33 blocks, which FP16 can hold."""
    for module in network.trunk.modules():
        if isinstance(module, torch.nn.BatchNorm2d) and not module.weight.any():
            torch.nn.init.constant_(module.weight, 0.2)
