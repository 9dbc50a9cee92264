"""From a checkpoint to a bundle: graph, hash, calibration, parity vectors, manifest, measured card."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import msgspec
import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray
from torch import nn

from engines.recognition import HeadPredictions, build_engine
from engines.recognition.hash_layer import BIAS, WEIGHT
from schemas.errors import BundleRefused
from schemas.manifest import (
    CARD_FILE,
    MODEL_FILE,
    PARITY_FILE,
    Hash,
    Head,
    Label,
    Manifest,
    Training,
    sha256_file,
    write_manifest,
)
from schemas.taxonomy import MARKET, Taxonomy, load_taxonomy
from training.bundle.calibration import Shared, Words, calibrate_head, points, share
from training.bundle.card import write_card
from training.bundle.hash_choice import choose_hash
from training.bundle.onnx_graph import deployable, epoch_of, run_torch, write_graph
from training.bundle.refit import refit_heads
from training.bundle.taxonomy import extend_taxonomy
from training.data.corpus import Corpus, load_corpus
from training.data.labels import Targets
from training.data.photos import ALONE, squash
from training.evaluation import Predicted, predict
from training.evaluation.evaluate import head_columns, measured, select
from training.evaluation.scoring import Figures, Scored, figures, score, together
from training.loop.state import CHECKPOINT, load_network
from training.network.model import Network
from training.readers import read
from training.readers.label_table import is_catalogue
from training.recipe import Recipe
from training.studio import TEST_IDENTITIES, TRAIN_IDENTITIES, make_product, render, write_dataset

PARITY_PHOTOS = 6
IMAGENET = "imagenet"  # the column name of heads that are distilled from the packaged classifier
# The studio's photos cost nothing but their drawing, so more products are drawn than a run held out. A calibration
# error of 0.04 is told from none with about 1,500 photos; a fit learns more from other products than from more photos.
# Photos of one product are right or wrong together, so that few photos of many products also measure more.
DRAWN = {"val": 8, "test": 4}  # products for each that the run held out
STUDIO_VIEWS = {"val": 2, "test": 3}


def export(
    recipe: Recipe,
    data: Path,
    run: Path,
    bundle: Path,
    *,
    taxonomy: Taxonomy | None = None,
    cache: Path | None = None,
    recipe_file: str = "RECIPE.toml",
    as_tutor: bool = False,
) -> Manifest:
    """Make `bundle` from `run/checkpoint.pt`.

    Validation photos choose the hash and fit the calibration; test photos are only measured, for the card, which names
    `recipe_file`. `as_tutor`: the run is that of the recipe's tutor. The bundle appears whole or not at all, and the
    engine opened it (checksums, parity) before it does.

    Raises:
        ConfigError: the data do not fit the recipe.
        BundleRefused: the graph does not compute what torch does.
    """
    recipe = recipe.as_tutor() if as_tutor else recipe
    corpus = load_corpus(recipe, data, cache or run / "cache")
    network, saved = load_network(run / CHECKPOINT, recipe, corpus.sizes)
    network.groups = corpus.groups
    codec = choose_hash(network, corpus, recipe.size, recipe.hash_layer)
    refitted = refit_heads(network, corpus, recipe, data)
    codec["heads fitted again"] = ", ".join(refitted) or "none"
    facts = Training(
        recipe=recipe.name,
        command=_command(recipe_file, as_tutor=as_tutor, taught=bool(saved.get("tutor"))),
        photos={s.spec.name: len(s.index("train", False)) + len(s.index("train", True)) for s in corpus.sets},
        seconds=round(saved["seconds"], 1),
        hardware=saved.get("hardware", "unknown"),
        notes={
            "steps": float(saved["step"]),
            "tutor": saved.get("tutor") or "none",
            "gem_p": round(float(network.pool.p.detach()), 3),
            **codec,
        },
    )
    labels = extend_taxonomy(taxonomy or load_taxonomy(MARKET), corpus.heads)
    part = bundle.with_name(f"{bundle.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    network = deployable(network)
    manifest = write_raw(recipe, network, corpus.heads, part, taxonomy=labels, facts=facts)
    with TemporaryDirectory() as scratch:
        folders = _folders(recipe, data, Path(scratch))
        validation = _predicted(part, recipe, folders, "val")
        manifest = _calibrated(part, manifest, recipe, corpus, validation=validation, refitted=refitted)
        tests = _predicted(part, recipe, folders, "test")
    reports = {n: measured(p, head_columns(p.manifest, p.rows, {})).report for n, p in tests.items()}
    write_card(
        part / CARD_FILE,
        manifest,
        reports,
        agreement=_agreement(corpus, tests, manifest),
        overall=_overall(corpus, tests, manifest),
    )
    manifest = _sealed(part, manifest)
    build_engine(part).close()
    shutil.rmtree(bundle, ignore_errors=True)
    part.rename(bundle)
    return manifest


def _command(recipe_file: str, *, as_tutor: bool, taught: bool) -> str:
    """What makes such a bundle, its tutor included."""
    train = f"groknet train {recipe_file} --data DATA --out"
    tutor = f"{train} TUTOR --as-tutor"
    if as_tutor:
        return f"{tutor} && groknet export TUTOR --out BUNDLE"
    runs = f"{tutor} && {train} RUN --tutor TUTOR" if taught else f"{train} RUN"
    return f"{runs} && groknet export RUN --out BUNDLE"


def write_raw(
    recipe: Recipe, network: Network, heads: list[Targets], folder: Path, *, taxonomy: Taxonomy, facts: Training
) -> Manifest:
    """Graph, parity vectors and a manifest without calibration, for a `deployable` network; raises BundleRefused
    where ONNX Runtime and torch disagree on the parity photos."""
    preprocess = squash(recipe.size)
    declared = [_head(target, taxonomy) for target in heads]
    outputs = [head.output for head in declared] + ["embedding", "hash"]
    write_graph(network, folder / MODEL_FILE, recipe.size, outputs)
    photos = parity_photos(recipe.size)
    arrays: dict[str, Any] = {"photos": photos, **run_torch(network, photos, outputs)}
    if isinstance(network.catalyzer, nn.Linear):  # of two layers it cannot be told from the embedding so simply
        weight, bias = (p.detach().numpy().astype(np.float16) for p in network.catalyzer.parameters())
        arrays |= {WEIGHT: weight, BIAS: bias}  # rounded to half they are already
    np.savez_compressed(folder / PARITY_FILE, **arrays)
    epoch = epoch_of(network, preprocess)
    layer = facts.notes.get("hash", "trained")
    manifest = Manifest(
        name=recipe.name,
        model_version=version_of(recipe.name, sha256_file(folder / MODEL_FILE), declared),
        epoch=epoch,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        preprocess=preprocess,
        heads=declared,
        hash=Hash(codec=f"{'mlp' if layer == 'catalyzer' else 'linear'}-sign ({layer})"),
        training=facts,
        files={},
    )
    _check_graph(folder, photos, outputs, manifest)
    return _sealed(folder, manifest)


def _head(target: Targets, taxonomy: Taxonomy) -> Head:
    known = next(head for head in taxonomy.heads if head.id == target.spec.id)
    by_value = {label.value: label for label in known.labels}
    labels = [
        Label(id=by_value[v].id, index=i, value=v, display=by_value[v].display) for i, v in enumerate(target.values)
    ]
    spec = target.spec
    output = f"head.{spec.id}"
    return Head(id=spec.id, kind=spec.kind, column=spec.column, datasets=spec.datasets, output=output, labels=labels)


def parity_photos(size: int) -> NDArray[np.uint8]:
    """Studio renders, uint8 [n, size, size, 3], of identities that are measured, never trained on."""
    products = [make_product(identity) for identity in TEST_IDENTITIES[:PARITY_PHOTOS]]
    return np.stack([render(p, 0, "natural", size=(size, size)).pixels for p in products])


def _check_graph(folder: Path, photos: NDArray[np.uint8], outputs: list[str], manifest: Manifest) -> None:
    session = ort.InferenceSession(str(folder / MODEL_FILE), providers=["CPUExecutionProvider"])
    values = dict(zip(outputs, session.run(outputs, {manifest.input: photos}), strict=True))
    expected = np.load(folder / PARITY_FILE)
    for name in outputs:
        if name == manifest.hash.output:
            worst = float(np.bitwise_count(values[name] ^ expected[name]).sum(1).max())
            limit: float = manifest.parity.hash_bits
        else:
            worst, limit = float(np.abs(values[name] - expected[name]).max()), 1e-4
        if not worst <= limit:
            raise BundleRefused(f"{MODEL_FILE}: {name} differs by {worst:.2g} from torch, at most {limit:g}")


def _folders(recipe: Recipe, data: Path, scratch: Path) -> dict[str, Path]:
    """A folder with labels.csv for every data set; the studio's held-out products are drawn now."""
    folders = {}
    for spec in recipe.datasets:
        folders[spec.name] = scratch / spec.name if spec.reader == "studio" else data / spec.folder
        if spec.reader == "studio":
            count = {split: drawn * spec.held_out for split, drawn in DRAWN.items()}
            for split, chosen in (
                ("val", TRAIN_IDENTITIES[-count["val"] :]),
                ("test", TEST_IDENTITIES[: count["test"]]),
            ):
                folder = scratch / f"{spec.name}-{split}"
                views = STUDIO_VIEWS[split]
                kind: Literal["val", "test"] = "val" if split == "val" else "test"
                workers = 1 if len(chosen) * (views + 1) < ALONE else None
                write_dataset(folder, chosen, views, workers=workers, progress=False, split=kind)
            folders[spec.name] = scratch / spec.name
    return folders


def _predicted(bundle: Path, recipe: Recipe, folders: Mapping[str, Path], split: str) -> dict[str, Predicted]:
    """Predictions for the split of every data set that has photos of it: weakly labelled ones are all for training."""
    engine = build_engine(bundle)
    predicted = {}
    for spec in recipe.datasets:
        folder = folders[spec.name]
        chosen = folder if folder.is_dir() else folder.with_name(f"{folder.name}-{split}")
        rows = read("csv" if spec.reader == "studio" else spec.reader, chosen, spec.validation).rows
        if any(row.get("split", split) == split and not is_catalogue(row) for row in rows):
            predicted[spec.name] = predict(engine, chosen, select(rows, split))
    engine.close()
    return predicted


def _calibrated(
    part: Path,
    manifest: Manifest,
    recipe: Recipe,
    corpus: Corpus,
    *,
    validation: Mapping[str, Predicted],
    refitted: Collection[str],
) -> Manifest:
    """The manifest with tables and thresholds: each head from the validation photos of its own data sets, the
    `object` head from its agreement with the packaged classifier. Heads that were fitted again, without smoothing or a
    tutor, are more confident than the others, and share a curve of their own."""
    scored = {head.id: _scored(corpus, validation, head) for head in manifest.heads}
    # agreement with a classifier and words of titles follow laws of their own: they neither share nor lean on the curve
    alike = [head for head in manifest.heads if head.kind == "softmax" and head.column != IMAGENET]
    shared: dict[str, Shared] = {}
    for again in (True, False):
        group = [head for head in alike if (head.id in refitted) == again]
        common = share([points(scored[head.id], head) for head in group])
        shared |= {head.id: common for head in group}
    heads = []
    for head, targets in zip(manifest.heads, corpus.heads, strict=True):
        words = words_of(corpus, targets) if head.kind == "multi_label" else None
        around = shared.get(head.id)
        by_label = head.column != IMAGENET  # whose agreement is about the order of the labels
        precision = recipe.target_precision
        heads.append(calibrate_head(scored[head.id], head, precision, around, words, by_label=by_label))
    version = version_of(manifest.name, manifest.files[MODEL_FILE], heads)
    calibrated = msgspec.structs.replace(manifest, heads=heads, model_version=version)
    write_manifest(part, calibrated)
    return calibrated


def version_of(name: str, graph: str, heads: Sequence[Head]) -> str:
    """What tells models apart in a store: of a graph, by its sha256, and of its heads' tables and thresholds."""
    return f"{name}-{hashlib.sha256(graph.encode() + msgspec.json.encode(heads)).hexdigest()[:8]}"


def _scored(corpus: Corpus, predicted: Mapping[str, Predicted], head: Head) -> list[Scored]:
    """A head beside its truth, a part for each of its data sets."""
    if head.column == IMAGENET:
        return list(object_scored(corpus, predicted, head).values())
    return [score(predicted[d], head.column, head) for d in head.datasets if d in predicted]


def words_of(corpus: Corpus, targets: Targets) -> Words:
    """What a multi-label head was taught, label by label, over the training photos."""
    source = np.repeat(np.arange(len(corpus.sets)), [len(s.rows) for s in corpus.sets])
    learnt = np.array([row["split"] in ("train", "gallery") for s in corpus.sets for row in s.rows])
    carried = targets.targets[learnt].astype(np.float64)
    shared = carried / np.maximum(1.0, carried.sum(1, keepdims=True))
    usual = shared.sum(0) / np.maximum(1.0, carried.sum(0))
    counts = np.stack([carried[source[learnt] == i].sum(0) for i in range(len(corpus.sets))])
    return Words(usual, counts.argmax(0))


def object_scored(corpus: Corpus, predicted: Mapping[str, Predicted], head: Head) -> dict[str, Scored]:
    """The `object` head beside the packaged classifier's first class, by data set of real photos."""
    result = {}
    for first, photos in zip(corpus.starts, corpus.sets, strict=True):
        if photos.spec.reader == "studio" or photos.spec.name not in predicted:
            continue
        theirs = {row["path"]: int(corpus.teacher.logits[first + i].argmax()) for i, row in enumerate(photos.rows)}
        mine = predicted[photos.spec.name]
        at = np.array([i for i, row in enumerate(mine.rows) if not is_catalogue(row)], np.int64)
        found = mine.predictions.heads[head.id]
        chosen = HeadPredictions(found.labels[at], found.probabilities[at], found.offered[at])
        targets = np.array([theirs[mine.rows[i]["path"]] for i in at], np.int64)
        result[photos.spec.name] = Scored(head, chosen, targets, None, 0)
    return result


def _agreement(corpus: Corpus, tests: Mapping[str, Predicted], manifest: Manifest) -> dict[str, Figures]:
    heads = [head for head in manifest.heads if head.column == IMAGENET]
    return {name: figures(s) for head in heads for name, s in object_scored(corpus, tests, head).items()}


def _overall(corpus: Corpus, tests: Mapping[str, Predicted], manifest: Manifest) -> dict[str, Figures]:
    """By head: its figures over the test photos of all its data sets."""
    parts = {head.id: _scored(corpus, tests, head) for head in manifest.heads}
    return {head: figures(together(some)) for head, some in parts.items() if some}


def _sealed(folder: Path, manifest: Manifest) -> Manifest:
    """The manifest with the sha256 of every other file, written."""
    names = sorted(p.name for p in folder.iterdir() if p.name in (MODEL_FILE, PARITY_FILE, CARD_FILE))
    sealed = msgspec.structs.replace(manifest, files={name: sha256_file(folder / name) for name in names})
    write_manifest(folder, sealed)
    return sealed
