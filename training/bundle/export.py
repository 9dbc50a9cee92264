"""From a checkpoint to a bundle: hash layer, graph, calibration, parity photos, manifest, measured card."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

import msgspec
import numpy as np

from engines.files import making_folder
from engines.recognition import HeadPredictions, build_engine
from schemas.manifest import CARD_FILE, MODEL_FILE, Head, Manifest, Training, write_manifest
from schemas.taxonomy import MARKET, Taxonomy, load_taxonomy
from training.bundle.applying.finish import REFITTED, finish
from training.bundle.card import Facts, write_card
from training.bundle.hash_choice import choose_hash
from training.bundle.onnx_graph import deployable
from training.bundle.probabilities.calibration import Shared, Words, calibrate_head, points, share
from training.bundle.probabilities.own_photos import judged_by_others
from training.bundle.probabilities.silence import judging_splits, silences
from training.bundle.raw_bundle import sealed, version_of, write_raw
from training.bundle.refit import refit_heads
from training.bundle.taxonomy import extend_taxonomy
from training.data.corpus import Corpus, load_corpus
from training.data.labels import Targets
from training.data.photos import ALONE
from training.evaluation import Predicted, predict
from training.evaluation.evaluate import head_columns, measured, select
from training.evaluation.scoring import Figures, Scored, figures, score, together
from training.loop.state import CHECKPOINT, load_network
from training.readers import read
from training.readers.label_table import is_catalogue
from training.recipe import STUDIO, Recipe
from training.studio import TEST_IDENTITIES, TRAIN_IDENTITIES, write_dataset

log = logging.getLogger(__name__)
IMAGENET = "imagenet"  # the column of heads that imitate the packaged classifier
# Studio photos cost only the time to draw them, so more products are drawn than a run held out. It takes about 1,500
# photos to tell a calibration error of 0.04 from none. A fit learns more from further products than from further photos
# of a product, and so does a measurement, because photos of one product are right or wrong together.
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
    """Make the folder `bundle` from the run's checkpoint.

    Validation photos choose the hash layer and fit the calibration. Test photos are only measured, for the card. With
    generic sets in the recipe, `training/bundle/applying/finish.py` does everything after the graph. The
    bundle appears whole or not at all, and only after an engine has opened it, which checks its files and its parity.

    Args:
        recipe: of the run.
        data: has the data sets' folders.
        run: folder of the run; it has `checkpoint.pt`.
        bundle: the folder to make or replace.
        taxonomy: its ids stay; the packaged taxonomy by default.
        cache: decoded photos; `run/cache` by default.
        recipe_file: the name of the recipe in the card's command.
        as_tutor: the run is that of the recipe's tutor.

    Raises:
        ConfigError: the data do not fit the recipe.
        BundleRefused: the graph does not compute what torch does.
    """
    recipe = recipe.as_tutor() if as_tutor else recipe
    corpus = load_corpus(recipe, data, cache or run / "cache")
    network, saved = load_network(run / CHECKPOINT, recipe, corpus.sizes)
    hash_facts = choose_hash(network, corpus, recipe.size, recipe.hash_layer)
    refitted = [] if recipe.keeps_trunk else refit_heads(network, corpus, recipe, data)
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
            **hash_facts,
            REFITTED: ", ".join(refitted) or "none",
        },
    )
    labels = extend_taxonomy(taxonomy or load_taxonomy(MARKET), corpus.heads)
    with making_folder(bundle, replace=True) as part:
        graph = deployable(network, corpus.groups)
        manifest = write_raw(recipe, graph, corpus.heads, part, taxonomy=labels, facts=facts)
        if recipe.generic:
            return finish(part, recipe, data, (cache or run / "cache") / "features")
        with TemporaryDirectory() as scratch:
            folders = _folders(recipe, data, Path(scratch))
            validation = _predicted(part, recipe, folders, "val")
            manifest = _calibrated(part, manifest, recipe, corpus, validation=validation, refitted=refitted)
            tests = _predicted(part, recipe, folders, "test")
        reports = {n: measured(p, head_columns(p.manifest, p.rows, {})).report for n, p in tests.items()}
        splits = judging_splits(recipe)
        silent = silences(manifest, {s.spec.name: s.rows for s in corpus.sets}, splits=splits)
        for text in silent:
            log.warning("%s", text)
        write_card(
            part / CARD_FILE,
            manifest,
            reports,
            overall=_overall(corpus, tests, manifest),
            facts=Facts(recipe, silences=silent),
            agreement=_agreement(corpus, tests, manifest),
        )
        manifest = sealed(part, manifest)
        build_engine(part).close()
    return manifest


def _command(recipe_file: str, *, as_tutor: bool, taught: bool) -> str:
    """The commands that make such a bundle, with its tutor's."""
    train = f"groknet train {recipe_file} --data DATA --out"
    tutor = f"{train} TUTOR --as-tutor"
    if as_tutor:
        return f"{tutor} && groknet export TUTOR --out BUNDLE"
    runs = f"{tutor} && {train} RUN --tutor TUTOR" if taught else f"{train} RUN"
    return f"{runs} && groknet export RUN --out BUNDLE"


def _folders(recipe: Recipe, data: Path, scratch: Path) -> dict[str, Path]:
    """A folder with labels.csv for every data set. The studio's held-out products are drawn into `scratch`."""
    folders = {}
    for spec in recipe.datasets:
        folders[spec.name] = scratch / spec.name if spec.reader == STUDIO else data / spec.folder
        if spec.reader == STUDIO:
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
    """Predictions for the split, for every data set that has photos of it. Weakly labelled ones have none."""
    engine = build_engine(bundle)
    predicted = {}
    for spec in recipe.datasets:
        folder = folders[spec.name]
        chosen = folder if folder.is_dir() else folder.with_name(f"{folder.name}-{split}")
        rows = read("csv" if spec.reader == STUDIO else spec.reader, chosen, spec.validation).rows
        if any(row["split"] == split and not is_catalogue(row) for row in rows):
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
    """The manifest with tables and thresholds; it is also written.

    Each head is fitted to the validation photos of its own data sets, and the `object` head to its agreement with the
    packaged classifier. Heads that were fitted again, without smoothing and without a tutor, are more confident than
    the others, so they share a curve of their own.
    """
    scored = {head.id: _scored(corpus, validation, head) for head in manifest.heads}
    if recipe.judges_all_photos:
        scored = {head.id: [*scored[head.id], *judged_by_others(manifest, corpus, head)] for head in manifest.heads}
    # agreement with a classifier and words of titles behave differently: they share no curve with the other heads
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
        by_label = head.column != IMAGENET  # agreement is about the order of the labels, so no table may change it
        heads.append(
            calibrate_head(
                scored[head.id],
                head,
                recipe.target_precision,
                around,
                words,
                by_label=by_label,
                doubt=recipe.target_doubt,
            )
        )
    version = version_of(manifest.name, manifest.files[MODEL_FILE], heads)
    calibrated = msgspec.structs.replace(manifest, heads=heads, model_version=version)
    write_manifest(part, calibrated)
    return calibrated


def _scored(corpus: Corpus, predicted: Mapping[str, Predicted], head: Head) -> list[Scored]:
    """A head's predictions and the truth, one part for each of its data sets."""
    if head.column == IMAGENET:
        return list(object_scored(corpus, predicted, head).values())
    return [score(predicted[d], head.column, head) for d in head.datasets if d in predicted]


def words_of(corpus: Corpus, targets: Targets) -> Words:
    """What a multi-label head was taught for each label, over the training photos."""
    source = np.repeat(np.arange(len(corpus.sets)), [len(s.rows) for s in corpus.sets])
    learnt = np.array([row["split"] in ("train", "gallery") for s in corpus.sets for row in s.rows])
    carried = targets.targets[learnt].astype(np.float64)
    shared = carried / np.maximum(1.0, carried.sum(1, keepdims=True))
    usual = shared.sum(0) / np.maximum(1.0, carried.sum(0))
    counts = np.stack([carried[source[learnt] == i].sum(0) for i in range(len(corpus.sets))])
    return Words(usual, counts.argmax(0))


def object_scored(corpus: Corpus, predicted: Mapping[str, Predicted], head: Head) -> dict[str, Scored]:
    """The `object` head's predictions and the packaged classifier's first class, by data set of real photos."""
    result = {}
    for first, photos in zip(corpus.starts, corpus.sets, strict=True):
        if photos.spec.reader == STUDIO or photos.spec.name not in predicted:
            continue
        theirs = {row["path"]: int(corpus.frozen.logits[first + i].argmax()) for i, row in enumerate(photos.rows)}
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
