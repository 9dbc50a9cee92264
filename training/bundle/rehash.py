"""Another hash layer for a finished bundle, fitted to the embeddings of its training photos.

The trunk, the embedding and the heads with their tables do not change, so predictions stay the same. The hashes are
others, so the bundle gets another epoch.
"""

from __future__ import annotations

import hashlib
import logging
import shutil
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import msgspec
import numpy as np
import onnx

from engines.files import making_folder
from engines.recognition import Bundle, build_engine, load_bundle
from engines.recognition.outputs.hash_layer import BIAS, WEIGHT, HashLayer, read_hash_layer
from schemas.baseline import BASELINE_FILE, encode_baseline, load_baseline
from schemas.errors import ConfigError
from schemas.manifest import CARD_FILE, MODEL_FILE, PARITY_FILE, Manifest, Training, sha256_file, write_manifest
from training.bundle.applying.features import CROSS, Seen, Tail, Trunk, some_of
from training.bundle.applying.finish import rows_of, taken, tested_rows
from training.bundle.applying.graph import replace_layer, take_applicability_away
from training.bundle.card import with_new_hash
from training.bundle.hash_choice import FIT_PHOTOS, chosen_layer_is
from training.bundle.hash_layers import AXES, Floats, bit_statistics, half_whitened_itq, itq, pack, rotated_axes
from training.bundle.raw_bundle import check_graph, version_of
from training.evaluation.metrics import cosine_distance, hamming, recall
from training.evaluation.scoring import neighbours, retrieval
from training.network.model import BITS
from training.readers.label_table import Row, is_catalogue
from training.recipe import Recipe

log = logging.getLogger(__name__)
FittedLayer = Literal["rotation", "half_whitened", "half_whitened_itq", "itq"]
_FITS: dict[FittedLayer, Callable[[Floats], tuple[Floats, Floats]]] = {
    "rotation": lambda fit: rotated_axes(fit, BITS, AXES),
    "half_whitened": lambda fit: rotated_axes(fit, BITS, AXES, power=0.5),
    "half_whitened_itq": lambda fit: half_whitened_itq(fit, BITS),
    "itq": lambda fit: itq(fit, BITS),
}
_VALIDATION = "validation_recall_at_1_"


def rehash_bundle(
    bundle: Path, recipe: Recipe, data: Path, *, layer: FittedLayer, out: Path, cache: Path, command: str = ""
) -> Manifest:
    """Make the bundle `out` from a finished one, with another hash layer and another epoch.

    The layer is fitted to the embeddings of at most `FIT_PHOTOS` training photos of all data sets. Validation photos
    are measured for the notes of the manifest, by the old layer (`before`) and the new one. Test photos are measured
    for the card.

    Args:
        bundle: a float bundle whose hash is made by a linear layer.
        recipe: its recipe.
        data: has the folders of the data sets.
        layer: which one.
        out: the folder to make or replace; it may be `bundle`.
        cache: for features and drawn photos; `groknet bundle refit` uses the same ones.
        command: is added to the manifest's command.

    Raises:
        BundleRefused: the bundle fails its checks.
        ConfigError: the bundle is no float bundle or tells no linear hash layer, there are too few training photos, or
            a data set cannot be read.
    """
    old = load_bundle(bundle)
    known = _replaceable(old)
    graph = onnx.load(bundle / MODEL_FILE)
    plain = take_applicability_away(graph, old.manifest)
    trunk, tail = Trunk(plain, old.manifest), Tail(graph, old)
    seen: dict[str, Seen] = {}
    for spec in recipe.datasets:
        folder, rows = rows_of(spec, data, cache)
        seen[spec.name] = trunk.folder(spec.name, folder, some_of(rows, CROSS), cache)
    found = {
        name: tail.run(one.feature)[old.manifest.embedding.output].astype(np.float32) for name, one in seen.items()
    }
    fit = fit_photos([found[name][_training(one.rows)] for name, one in seen.items()])
    layers = {"before": known, layer: HashLayer(*_half(_FITS[layer](fit)))}
    notes = _measured(layers, seen, found, {spec.name: spec.product for spec in recipe.datasets})
    notes |= {k: round(v, 4) for k, v in bit_statistics(pack(layers[layer].margins(fit))).items()}
    log.info(chosen_layer_is(layer, len(fit)))
    with making_folder(out, replace=True) as part:
        for name in old.manifest.files:
            shutil.copyfile(bundle / name, part / name)
        made = _put(part, old, graph, layers[layer], _trained(old.manifest.training, layer, notes, command))
        new = Tail(onnx.load(part / MODEL_FILE), load_bundle(part))
        tests = {
            name: new.predicted(taken(one, tested_rows(one.rows)))
            for name, one in seen.items()
            if tested_rows(one.rows)
        }
        near = {name: one for name, predicted in tests.items() if (one := neighbours(predicted)) is not None}
        card = part / CARD_FILE
        if card.is_file():
            text = card.read_text(encoding="utf-8")
            reports = {name: retrieval(one) for name, one in near.items()}
            card.write_text(with_new_hash(text, old.manifest, made, reports), encoding="utf-8")
        made = _sealed(part, made)
        build_engine(part).close()
    return made


def fit_photos(parts: Sequence[Floats], seed: int = 0) -> Floats:
    """At most `FIT_PHOTOS` rows of all parts, `float32 [n, d]`, drawn at random.

    Raises ConfigError if there are too few to fit a layer to.
    """
    rows = np.concatenate(parts)
    if len(rows) <= 2 * BITS:
        raise ConfigError(f"data: {len(rows)} training photos; a hash layer is fitted to more than {2 * BITS}")
    chosen: Floats = rows[np.random.default_rng(seed).permutation(len(rows))[:FIT_PHOTOS]]
    return chosen


def _replaceable(bundle: Bundle) -> HashLayer:
    if bundle.manifest.precision != "fp32":
        raise ConfigError(
            f"bundle: {bundle.folder} is {bundle.manifest.precision}; give the float bundle it was made of"
        )
    if bundle.manifest.detection:
        raise ConfigError(
            f"bundle: {bundle.folder} has a detector; give the recogniser alone, and join them afterwards"
        )
    layer = read_hash_layer(bundle)
    if layer is None:
        raise ConfigError(f"bundle: {bundle.folder} tells no linear hash layer; export the run again with another one")
    return layer


def _training(rows: Sequence[Row]) -> list[int]:
    return [i for i, row in enumerate(rows) if row.get("split") == "train" and not is_catalogue(row)]


def _half(layer: tuple[Floats, Floats]) -> tuple[Floats, Floats]:
    """As the graph stores it: rounded to half precision."""
    weight, bias = (one.astype(np.float16).astype(np.float32) for one in layer)
    return weight, bias


def _measured(
    layers: Mapping[str, HashLayer], seen: Mapping[str, Seen], found: Mapping[str, Floats], product: Mapping[str, str]
) -> dict[str, str | float]:
    """Recall@1 of validation photos among catalogue photos by the embedding (`float`) and by the hash of each layer,
    the mean over the data sets that have both."""
    recalls: dict[str, list[float]] = {name: [] for name in ("float", *layers)}
    for name, one in seen.items():
        column = product[name]
        if not column:
            continue
        ids = np.unique([row.get(column, "") for row in one.rows], return_inverse=True)[1].astype(np.int64)
        catalogue = np.array([is_catalogue(row) for row in one.rows])
        photos = np.array([row.get("split") == "val" for row in one.rows]) & ~catalogue
        if not photos.any() or not catalogue.any():
            continue
        ours, theirs = found[name][photos], found[name][catalogue]
        numbers = ids[photos], ids[catalogue]
        recalls["float"].append(recall(cosine_distance(ours, theirs), *numbers)["recall_at_1"])
        for key, layer in layers.items():
            codes = hamming(pack(layer.margins(ours)), pack(layer.margins(theirs)))
            recalls[key].append(recall(codes, *numbers)["recall_at_1"])
    return {f"{_VALIDATION}{name}": round(float(np.mean(one)), 4) for name, one in recalls.items() if one}


def _put(folder: Path, old: Bundle, graph: onnx.ModelProto, layer: HashLayer, training: Training) -> Manifest:
    """Write graph, parity file and manifest with the new layer. The graph is compared with numpy."""
    before = old.manifest
    replace_layer(graph, before.hash.output, layer.weight, layer.bias)
    onnx.save(graph, folder / MODEL_FILE)
    embedding = old.expected[before.embedding.output].astype(np.float32)
    arrays = {"photos": old.photos, **old.expected, before.hash.output: pack(layer.margins(embedding))}
    arrays |= {WEIGHT: layer.weight.astype(np.float16), BIAS: layer.bias.astype(np.float16)}
    np.savez_compressed(folder / PARITY_FILE, **arrays)  # type: ignore[arg-type]
    made = msgspec.structs.replace(
        before,
        epoch=epoch_with(before.epoch, layer),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        model_version=version_of(before.name, sha256_file(folder / MODEL_FILE), before.heads, before.applicability),
        hash=msgspec.structs.replace(before.hash, codec=f"linear-sign ({training.notes['hash']})"),
        training=training,
    )
    check_graph(folder, made)
    made = _sealed(folder, made)
    if (baseline := load_baseline(folder)) is not None:  # it is of the heads, which are the same
        changed = msgspec.structs.replace(baseline, model_version=made.model_version)
        (folder / BASELINE_FILE).write_bytes(encode_baseline(changed))
    return _sealed(folder, made)


def _trained(before: Training, layer: str, notes: Mapping[str, str | float], command: str) -> Training:
    """How the new bundle was made."""
    kept = {k: v for k, v in before.notes.items() if not k.startswith(_VALIDATION)}
    made = msgspec.structs.replace(before, notes={**kept, "hash": layer, **notes})
    if command and command not in made.command:
        made = msgspec.structs.replace(made, command=f"{made.command} && {command}")
    return made


def epoch_with(epoch: str, layer: HashLayer) -> str:
    """The epoch of a bundle of `epoch` whose hash layer was replaced: the first 12 hex digits of the sha256 over the
    former epoch, and the new weight and bias in half precision, little-endian."""
    digest = hashlib.sha256(epoch.encode())
    for one in (layer.weight, layer.bias):
        digest.update(np.ascontiguousarray(one, "<f2").tobytes())
    return digest.hexdigest()[:12]


def _sealed(folder: Path, manifest: Manifest) -> Manifest:
    """The manifest with the checksums of all files that it names; it is also written."""
    complete = msgspec.structs.replace(manifest, files={name: sha256_file(folder / name) for name in manifest.files})
    write_manifest(folder, complete)
    return complete
