"""The reference bundle: a large trunk under 80 heads, with the weights that are at hand.

GrokNet's own trunk is ResNeXt-101 32×4d. Nobody publishes its weights, and a bundle of it with the user's weights, or
with random ones, shows what an engine costs and where a trained one will go; its card says loudly what was not trained.
"""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path
from typing import cast

import msgspec
import numpy as np
import torch
from torch import Tensor

from schemas.errors import ConfigError
from schemas.manifest import CARD_FILE, Gate, Manifest, Training, write_manifest
from schemas.taxonomy import MARKET, load_taxonomy
from training.bundle.export import write_raw
from training.bundle.onnx_graph import deployable
from training.bundle.taxonomy import extend_taxonomy
from training.data.labels import Targets
from training.network.model import Network
from training.recipe import HeadSpec, Recipe, Schedule

TRUNK = "resnext101_32x4d"
HEADS = 80  # softmax groups of GrokNet
FROM_TIMM = "timm"
"""In place of a file of weights: those that timm publishes for the trunk, downloaded by it."""

_NAMES = {TRUNK: "groknet-resnext101"}
_OBJECTS = "object"
_FILLER_LABELS = 32  # of a head that the taxonomy does not fill; GrokNet's own sizes are not published
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


def write_reference(
    folder: Path,
    trunk: str = TRUNK,
    size: int = 224,
    seed: int = 0,
    *,
    weights: str | None = None,
    heads: int = HEADS,
) -> Manifest:
    """Make the bundle `folder`, whole or not at all.

    Args:
        folder: not there yet.
        trunk: a backbone of timm, or `efficientnet_lite0`.
        size: of the photos, in pixels a side.
        seed: of the random weights.
        weights: a file of the trunk's weights (.safetensors, or a torch state dict under timm's names), `timm`, or
            None for random ones. A 1,000-class classifier in it becomes the `object` head.
        heads: softmax groups: the packaged taxonomy's, then numbered ones; 1,000 ImageNet objects come first.

    Raises:
        ConfigError: `folder` is there; the weights cannot be read, or are not of this trunk.
        ModuleNotFoundError: a trunk of timm, which is not installed.
        BundleRefused: ONNX Runtime and torch disagree.
    """
    if folder.exists():
        raise ConfigError(f"--out: {folder} is there already; name another folder, or delete it")
    torch.manual_seed(seed)
    targets = _targets(heads)
    network = Network(trunk, {t.spec.id: len(t.values) for t in targets}, pretrained=weights == FROM_TIMM)
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
    part = folder.with_name(f"{folder.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    try:
        (part / CARD_FILE).write_text(_card(network, recipe, weights, objects), encoding="utf-8")
        facts = Training(recipe=name, command="groknet reference", notes={"weights": _told(weights)})
        taxonomy = extend_taxonomy(load_taxonomy(MARKET), targets)
        manifest = write_raw(recipe, deployable(network), targets, part, taxonomy=taxonomy, facts=facts)
        manifest = msgspec.structs.replace(manifest, gate=_ANYTHING)
        write_manifest(part, manifest)
        part.rename(folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return manifest


def _targets(heads: int) -> list[Targets]:
    """Softmax heads: those of the packaged taxonomy, objects first, then numbered ones."""
    known = [head for head in load_taxonomy(MARKET).heads if head.kind == "softmax"]
    labels = {head.id: [label.value for label in head.labels] for head in known}
    names = [_OBJECTS, *(name for name in labels if name != _OBJECTS)]
    names += [f"group-{i:02}" for i in range(len(names), heads)]
    for name in names[len(labels) :]:
        labels[name] = [f"{name} label {i}" for i in range(_FILLER_LABELS)]
    return [Targets(HeadSpec(id=name, column=name), labels[name], _NONE) for name in names[:heads]]


def _load(network: Network, path: Path) -> bool:
    """Put a file's weights into the trunk; whether it had a classifier for the `object` head too."""
    state = _read(path)
    body = cast(torch.nn.Module, getattr(network.trunk, "body", network.trunk))
    wanted = body.state_dict()
    for name, value in wanted.items():
        if name.endswith("num_batches_tracked"):  # a counter of training, absent from older files
            state.setdefault(name, value)
        elif name not in state:
            raise ConfigError(f"--weights: {path.name} has no {name}; it is of another trunk, name that with --trunk")
        if state[name].shape != value.shape:
            found, needed = list(state[name].shape), list(value.shape)
            raise ConfigError(f"--weights: {path.name}: {name} is {found}, the trunk has {needed}; check --trunk")
    body.load_state_dict({name: state[name] for name in wanted})
    classifier = network.head(_OBJECTS)
    weight, bias = (state.get(f"fc.{part}") for part in ("weight", "bias"))
    if weight is None or bias is None or weight.shape != classifier.weight.shape:
        return False
    with torch.no_grad():
        classifier.weight.copy_(weight)
        classifier.bias.copy_(bias)
    return True


def _read(path: Path) -> dict[str, Tensor]:
    from timm.models import load_state_dict

    if not path.is_file():
        raise ConfigError(f"--weights: {path} is no file; give one, or `{FROM_TIMM}` to download timm's")
    try:
        state = load_state_dict(str(path))  # torch's own files by weights_only: nothing in them is run
    except Exception as error:  # each format has errors of its own
        text = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ConfigError(f"--weights: {path.name} cannot be read ({text}); save a state dict of tensors") from None
    return {name: value for name, value in state.items() if isinstance(value, Tensor)}


def _told(weights: str | None) -> str:
    if weights is None or weights == FROM_TIMM:
        return weights or "random"
    path = Path(weights)
    return f"{path.name}, sha256 {hashlib.sha256(path.read_bytes()).hexdigest()[:16]}"


def _card(network: Network, recipe: Recipe, weights: str | None, objects: bool) -> str:
    million = sum(p.numel() for p in network.trunk.parameters()) / 1e6
    labels = sum(network.head(name).out_features for name in network.head_ids)
    heads = f"so does the `{_OBJECTS}` head, the others are" if objects else "all heads are"
    if weights is None:
        loud = "**RANDOM WEIGHTS. NOTHING HERE WAS TRAINED: every label, embedding and hash is noise.**"
        use = "Use it to measure engines, never to describe a photo."
    else:
        loud = f"**NOT TRAINED AS GROKNET.** The trunk holds {_told(weights)}; {heads} **RANDOM**."
        use = "Embedding and hash are random projections of the trunk's feature. Train it before you trust them."
    return (
        f"# {recipe.name}\n\n{loud}\n\n{use}\n\n"
        f"Trunk `{recipe.trunk}` at {recipe.size} × {recipe.size}, {million:.1f} M parameters; {len(network.head_ids)} "
        f"softmax heads with {labels:,} labels on its feature; a 400-d embedding and 256 bits.\n\n"
        "Made by `groknet reference`. Not calibrated, not measured; the gate of lower precisions is wide open, since "
        "random answers lie too close together to agree upon.\n"
    )


def _fill(network: Network) -> None:
    """Let every residual branch count: timm starts them at 0, and an engine would leave out what is 0. At 0.2 the
    values grow fourfold over 33 blocks, well within FP16."""
    for module in network.trunk.modules():
        if isinstance(module, torch.nn.BatchNorm2d) and not module.weight.any():
            torch.nn.init.constant_(module.weight, 0.2)
