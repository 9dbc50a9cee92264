"""A bundle before calibration: graph, parity photos and manifest of a network, checked against torch."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from engines.recognition.outputs.hash_layer import BIAS, WEIGHT
from schemas.errors import BundleRefused
from schemas.manifest import (
    CARD_FILE,
    MODEL_FILE,
    PARITY_FILE,
    Applicability,
    Embedding,
    Hash,
    Head,
    Label,
    Manifest,
    Training,
    sha256_file,
    write_manifest,
)
from schemas.taxonomy import Taxonomy
from training.bundle.onnx_graph import ExportedGraph, epoch_of, run_torch, write_graph
from training.bundle.spreading_layer import SpreadingLayer
from training.data.labels import Targets
from training.data.photos import squash
from training.recipe import Recipe
from training.studio import TEST_IDENTITIES, make_product, render

PARITY_PHOTOS = 6


def write_raw(
    recipe: Recipe, graph: ExportedGraph, heads: list[Targets], folder: Path, *, taxonomy: Taxonomy, facts: Training
) -> Manifest:
    """Write model, parity photos and a manifest without calibration into `folder`, for a `deployable` graph.

    Raises:
        BundleRefused: ONNX Runtime and torch disagree on the parity photos.
    """
    preprocess = squash(recipe.size)
    declared = [_head(target, taxonomy) for target in heads]
    outputs = [head.output for head in declared] + ["embedding", "hash"]
    write_graph(graph, folder / MODEL_FILE, recipe.size, outputs)
    photos = parity_photos(recipe.size)
    arrays: dict[str, Any] = {"photos": photos, **run_torch(graph, photos, outputs)}
    network, layer = graph.network, facts.notes.get("hash", "trained")
    if not isinstance(network.hash_layer, SpreadingLayer):  # of two layers, which parity files do not describe
        weight, bias = (p.detach().numpy().astype(np.float16) for p in network.hash_layer.parameters())
        arrays |= {WEIGHT: weight, BIAS: bias}  # exact, because the graph's weights are rounded to half already
    np.savez_compressed(folder / PARITY_FILE, **arrays)
    manifest = Manifest(
        name=recipe.name,
        model_version=version_of(recipe.name, sha256_file(folder / MODEL_FILE), declared),
        epoch=epoch_of(network, preprocess),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        preprocess=preprocess,
        heads=declared,
        embedding=Embedding(dim=recipe.embedding),
        hash=Hash(codec=f"{'mlp' if layer == 'spreading' else 'linear'}-sign ({layer})"),
        training=facts,
        files={},
    )
    check_graph(folder, manifest)
    return sealed(folder, manifest)


def _head(target: Targets, taxonomy: Taxonomy) -> Head:
    known = next(head for head in taxonomy.heads if head.id == target.spec.id)
    by_value = {label.value: label for label in known.labels}
    spec = target.spec
    labels = [
        Label(
            id=by_value[v].id,
            index=i,
            value=v,
            display=by_value[v].display,
            merged=sorted(text for text, label in spec.merge.items() if label == v),
        )
        for i, v in enumerate(target.values)
    ]
    output = f"head.{spec.id}"
    return Head(id=spec.id, kind=spec.kind, column=spec.column, datasets=spec.datasets, output=output, labels=labels)


def parity_photos(size: int) -> NDArray[np.uint8]:
    """Studio photos `uint8 [6, size, size, 3]` of identities that are measured and never trained on."""
    products = [make_product(identity) for identity in TEST_IDENTITIES[:PARITY_PHOTOS]]
    return np.stack([render(p, 0, "natural", size=(size, size)).pixels for p in products])


def check_graph(folder: Path, manifest: Manifest) -> None:
    """Compare the graph's outputs for the parity photos with the parity file, more closely than an engine does.

    Raises:
        BundleRefused: they differ.
    """
    outputs = [head.output for head in manifest.heads] + [manifest.embedding.output, manifest.hash.output]
    outputs += [manifest.applicability.output] if manifest.applicability else []
    session = ort.InferenceSession(str(folder / MODEL_FILE), providers=["CPUExecutionProvider"])
    expected = np.load(folder / PARITY_FILE)
    values = dict(zip(outputs, session.run(outputs, {manifest.input: expected["photos"]}), strict=True))
    for name in outputs:
        if name == manifest.hash.output:
            worst = float(np.bitwise_count(values[name] ^ expected[name]).sum(1).max())
            limit: float = manifest.parity.hash_bits
        else:
            worst, limit = float(np.abs(values[name] - expected[name]).max()), 1e-4
        if not worst <= limit:
            raise BundleRefused(
                f"{MODEL_FILE}: {name} differs from what was fitted by {worst:.2g}; at most {limit:g} is allowed"
            )


def version_of(name: str, graph: str, heads: Sequence[Head], applicability: Applicability | None = None) -> str:
    """The model version: `name` and 8 hex digits of a digest of the graph's sha256, the heads' tables and thresholds,
    and those of the domains, so that two models in one store differ in it."""
    domains = b"" if applicability is None else msgspec.json.encode(applicability)
    return f"{name}-{hashlib.sha256(graph.encode() + msgspec.json.encode(heads) + domains).hexdigest()[:8]}"


def sealed(folder: Path, manifest: Manifest) -> Manifest:
    """The manifest with the sha256 of every other file of the bundle; it is also written."""
    names = sorted(p.name for p in folder.iterdir() if p.name in (MODEL_FILE, PARITY_FILE, CARD_FILE))
    complete = msgspec.structs.replace(manifest, files={name: sha256_file(folder / name) for name in names})
    write_manifest(folder, complete)
    return complete
