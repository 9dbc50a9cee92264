"""The last step of a bundle with applicability: heads on a frozen trunk, calibration, parity photos, card.

`finish` works on a folder that has graph, manifest and parity photos, from an export or from a finished bundle. The
graph up to the feature, the embedding and the hash do not change, so the epoch stays. The features of all photos lie in
a cache, and a call that was stopped continues there.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import numpy as np
import onnx

from engines.files import making_folder
from engines.recognition import Bundle, Calibrator, Predictions, build_engine, load_bundle
from engines.recognition.outputs.predictions import heads_apply
from schemas.errors import ConfigError
from schemas.manifest import CARD_FILE, MODEL_FILE, PARITY_FILE, Manifest, sha256_file, write_manifest
from training.bundle.applying.features import CROSS, Seen, Tail, Trunk, some_of
from training.bundle.applying.graph import add_applicability, replace_layer, take_applicability_away
from training.bundle.applying.mix import IMITATES, LEARNT, Mix, photos_of
from training.bundle.applying.sigmoids import in_manifest
from training.bundle.card import LOOKS, Facts, write_card
from training.bundle.probabilities.silence import judging_splits, silences
from training.bundle.raw_bundle import check_graph, sealed, version_of
from training.evaluation import Predicted
from training.evaluation.evaluate import Report, head_columns, measured, select
from training.evaluation.mix import MixReport, MixSet, evenly, mix_report
from training.evaluation.scoring import Figures, figures, score, together
from training.network.lite_shapes import LITE
from training.readers import read
from training.readers.label_table import Row, is_catalogue
from training.readers.related import without_related
from training.recipe import STUDIO, DataSet, Recipe
from training.studio import TEST_IDENTITIES, TRAIN_IDENTITIES, make_product, write_dataset

log = logging.getLogger(__name__)
# studio products of each split, and views of each; drawing is slower than computing. The test split is an export's
DRAWN = {"train": 200, "val": 600, "test": 600}
VIEWS = {"train": 2, "val": 2, "test": 3}
MANY = {"val": 8, "test": 4}  # at most so many products for each that a run held out
REFITTED = "heads fitted again"  # a note of the manifest


@dataclass(frozen=True)
class Sets:
    """What `finish` works on: the folder of each set, its rows that have features, and all rows of the data sets."""

    folders: dict[str, Path]
    seen: dict[str, Seen]
    rows: dict[str, list[Row]]


def refit_bundle(bundle: Path, recipe: Recipe, data: Path, *, out: Path, cache: Path, command: str = "") -> Manifest:
    """Make the bundle `out` from a finished one: applicability, object head, calibration and thresholds are new.

    Args:
        bundle: a float bundle. It may have applicability already.
        recipe: its recipe, with generic sets.
        data: has the folders of all sets.
        out: the folder to make or replace; it may be `bundle`.
        cache: for features and drawn photos.
        command: is added to the manifest's command.

    Raises:
        BundleRefused: the bundle fails its checks.
        ConfigError: the recipe has no generic sets or does not fit the bundle, or a set cannot be read.
    """
    before = load_bundle(bundle).manifest
    if before.precision != "fp32":
        raise ConfigError(f"bundle: {bundle} is {before.precision}; refit the float bundle, then build engines of it")
    with making_folder(out, replace=True) as part:
        for name in before.files:
            shutil.copyfile(bundle / name, part / name)
        looks = float(before.training.notes.get(LOOKS, 1)) + 1
        training = msgspec.structs.replace(before.training, notes={**before.training.notes, LOOKS: looks})
        if command and command not in training.command:
            training = msgspec.structs.replace(training, command=f"{training.command} && {command}")
        write_manifest(part, msgspec.structs.replace(before, training=training))
        return finish(part, recipe, data, cache)


def finish(folder: Path, recipe: Recipe, data: Path, cache: Path) -> Manifest:
    """Give the bundle in `folder` applicability, calibrate and measure it, write its card, and open it as an engine.

    Raises as `refit_bundle`.
    """
    if not recipe.generic:
        raise ConfigError("generic: the recipe names no generic set, so heads cannot learn where they do not apply")
    bundle = load_bundle(folder)
    found = onnx.load(folder / MODEL_FILE)
    model = take_applicability_away(found, bundle.manifest)
    plain = _plain(bundle.manifest)
    _put_packaged_layer(model, plain, recipe)
    trunk = Trunk(model, plain)
    sets = _sets(recipe, data, cache, trunk)
    tail = Tail(model, Bundle(folder, plain, bundle.photos, bundle.expected))
    related = {name: _related(sets.folders[name], seen.rows) for name, seen in sets.seen.items()}
    photos = {name: photos_of(tail, plain, seen, related[name]) for name, seen in sets.seen.items()}
    mix = Mix(recipe, plain, photos, sets.rows)
    refitted = str(plain.training.notes.get(REFITTED, "")).split(", ")
    made = msgspec.structs.replace(plain, heads=mix.calibrated(refitted), applicability=in_manifest(mix.applying))
    onnx.save(add_applicability(model, made, mix.applying, mix.members), folder / MODEL_FILE)
    _write_parity(folder, bundle, mix, trunk, tail)
    made = msgspec.structs.replace(
        made,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        model_version=version_of(made.name, sha256_file(folder / MODEL_FILE), made.heads, made.applicability),
    )
    check_graph(folder, made)
    (folder / CARD_FILE).unlink(missing_ok=True)
    made = sealed(folder, made)
    _write_card(folder, made, sets, mix)
    made = sealed(folder, made)
    build_engine(folder).close()
    return made


def _plain(manifest: Manifest) -> Manifest:
    """The manifest of the same network before calibration and applicability."""
    heads = [
        msgspec.structs.replace(
            head, domain="", calibration=None, class_calibration={}, threshold=1.0, label_thresholds={}
        )
        for head in manifest.heads
    ]
    return msgspec.structs.replace(manifest, heads=heads, applicability=None)


def _put_packaged_layer(model: onnx.ModelProto, manifest: Manifest, recipe: Recipe) -> None:
    """Heads that imitate the packaged classifier get its own last layer, which knows everyday objects better than a
    head that learnt from photos of a few kinds of product. It needs a trunk that began as the packaged one."""
    if not recipe.starts_from_frozen_trunk or recipe.trunk not in LITE:
        return
    from training.network.trunk import packaged

    state = packaged(recipe.trunk)
    for head in manifest.heads:
        if head.column == IMITATES and len(head.labels) == len(state["fc.bias"]):
            replace_layer(model, head.output, state["fc.weight"].numpy(), state["fc.bias"].numpy())


def _sets(recipe: Recipe, data: Path, cache: Path, trunk: Trunk) -> Sets:
    """Read all sets and compute what the cache lacks."""
    folders, seen, rows = {}, {}, {}
    for spec in recipe.datasets:
        folders[spec.name], found = rows_of(spec, data, cache)
        seen[spec.name] = trunk.folder(spec.name, folders[spec.name], some_of(found, CROSS), cache)
        rows[spec.name] = _titles(spec) if spec.reader == STUDIO else found
    for one in recipe.generic:
        folder = folders[one.name] = data / one.folder
        found = read(one.reader, folder, one.validation).rows
        seen[one.name] = trunk.folder(one.name, folder, some_of(found), cache)
    return Sets(folders, seen, rows)


def rows_of(spec: DataSet, data: Path, cache: Path) -> tuple[Path, list[Row]]:
    """The folder and all rows of a data set. Studio photos are drawn into `cache` if they are not there.

    Raises ConfigError if it cannot be read.
    """
    if spec.reader == STUDIO:
        folder = _drawn(spec, cache)
        return folder, read("csv", folder, spec.validation).rows
    return data / spec.folder, read(spec.reader, data / spec.folder, spec.validation).rows


def _drawn(spec: DataSet, cache: Path) -> Path:
    """The folder of studio photos, which are drawn if they are not there."""
    folder = cache / "drawn" / spec.name
    most = {"train": spec.identities, **{split: many * spec.held_out for split, many in MANY.items()}}
    count = {split: min(n, most[split]) for split, n in DRAWN.items()}
    write_dataset(folder, TRAIN_IDENTITIES[: count["train"]], VIEWS["train"], progress=False, split="train")
    write_dataset(folder, TRAIN_IDENTITIES[-count["val"] :], VIEWS["val"], progress=False, split="val")
    write_dataset(folder, TEST_IDENTITIES[: count["test"]], VIEWS["test"], progress=False, split="test")
    return folder


def _titles(spec: DataSet) -> list[Row]:
    """The titles of all studio photos that a run of the recipe learnt from."""
    made = [make_product(identity).title for identity in TRAIN_IDENTITIES[: spec.identities]]
    return [{"title": title, "split": "train"} for title in made for _ in range(spec.views + 1)]


def _related(folder: Path, rows: list[Row]) -> frozenset[str]:
    kept = {row["path"] for row in without_related(folder, rows)}
    return frozenset(row["path"] for row in rows if row["path"] not in kept)


def _write_parity(folder: Path, before: Bundle, mix: Mix, trunk: Trunk, tail: Tail) -> None:
    """The parity file. Embedding and hash are the old ones. Heads are computed here in numpy from the heads without
    applicability, so that the new graph is checked against something else."""
    feature = trunk.run(before.photos)
    raw = tail.run(feature)
    answers, domains = mix.answers(
        {head.id: raw[head.output].astype(np.float32) for head in mix.manifest.heads}, mix.applying.own(feature)
    )
    arrays = {"photos": before.photos, **before.expected}
    arrays |= {head.output: answers[head.id] for head in mix.manifest.heads}
    arrays[in_manifest(mix.applying).output] = domains.astype(np.float32)
    np.savez_compressed(folder / PARITY_FILE, **arrays)  # type: ignore[arg-type]


def _write_card(folder: Path, manifest: Manifest, sets: Sets, mix: Mix) -> None:
    """Measure on test photos, and write the card."""
    recipe = mix.recipe
    bundle = load_bundle(folder)
    tail = Tail(onnx.load(folder / MODEL_FILE), bundle)
    tests: dict[str, Predicted] = {}
    for name in (*(d.name for d in recipe.datasets), *(one.name for one in recipe.generic)):
        if chosen := tested_rows(sets.seen[name].rows):
            tests[name] = tail.predicted(taken(sets.seen[name], chosen))
    reports = {d.name: _report(tests[d.name]) for d in recipe.datasets if d.name in tests}
    for name, report in reports.items():
        log.info("%s: %d photos", name, report["photos"]["read"])
    looked_at = {name: seen.rows for name, seen in sets.seen.items()}
    silent = silences(manifest, sets.rows, looked_at, judging_splits(recipe))
    for text in silent:
        log.warning("%s", text)
    folded = {one.name: _folded(manifest, mix, one.name) for one in recipe.generic if one.judged}
    write_card(
        folder / CARD_FILE,
        manifest,
        reports,
        overall=_overall(tests, manifest),
        facts=Facts(
            recipe=recipe,
            photos={name: _counts(seen.rows) for name, seen in sets.seen.items()},
            silences=silent,
            mix=_mix(manifest, mix, tests, folded),
            folded={name: _nonsense(manifest, name, one, recipe) for name, one in folded.items()},
        ),
    )


def tested_rows(rows: list[Row]) -> list[Row]:
    """The rows of the test split, with catalogue photos; none if no row is of that split."""
    try:
        return select(rows, "test")
    except ConfigError:
        return []


def taken(seen: Seen, rows: list[Row]) -> Seen:
    """The features of some rows."""
    chosen = {row["path"] for row in rows}
    at = [i for i, row in enumerate(seen.rows) if row["path"] in chosen]
    return Seen([seen.rows[i] for i in at], seen.feature[at], [])


def _report(predicted: Predicted) -> Report:
    return measured(predicted, head_columns(predicted.manifest, predicted.rows, {})).report


def _counts(rows: list[Row]) -> dict[str, int]:
    """Photos that were looked at, by what they were for."""
    splits = [row.get("split", "train") for row in rows]
    return {"train": sum(s in LEARNT for s in splits), "val": splits.count("val"), "test": splits.count("test")}


def _overall(tests: Mapping[str, Predicted], manifest: Manifest) -> dict[str, Figures]:
    """By head: its figures over the test photos of all its data sets."""
    parts = {
        head.id: [score(tests[d], head.column, head) for d in head.datasets if d in tests] for head in manifest.heads
    }
    return {head: figures(together(some)) for head, some in parts.items() if some}


def _mix(
    manifest: Manifest, mix: Mix, tests: Mapping[str, Predicted], folded: Mapping[str, Predicted]
) -> MixReport | None:
    """The report on equally many test photos of each set. Of a generic set with known objects, which is small, all
    photos are measured, by sigmoids and tables that did not see the photo."""
    recipe = mix.recipe
    own = [d.name for d in recipe.datasets if d.name in tests]
    if not own:
        return None
    shows = {one.name: frozenset(one.shows) for one in recipe.generic}
    objects = {one.name: one.objects for one in recipe.generic if one.objects and one.name in folded}
    judged = {name for name in tests if name in own or any(g.name == name and g.judged for g in recipe.generic)}
    shown = {name: folded.get(name, tests[name]) if name in objects else tests[name] for name in judged}
    rows = {
        name: [r for r in p.rows if not is_catalogue(r) and r["path"] not in mix.sets[name].related]
        for name, p in shown.items()
    }
    most = min(len(rows[name]) for name in own)
    sets = {
        name: MixSet(
            _chosen(shown[name], evenly(rows[name], most)), shows.get(name, frozenset()), objects.get(name, "")
        )
        for name in sorted(judged)
    }
    report = mix_report(manifest, sets)
    for name, column in objects.items():
        whole = mix_report(manifest, {name: MixSet(folded[name], shows.get(name, frozenset()), column)})
        report["sets"][name] = whole["sets"][name]
        report["heads"] |= {
            h.id: whole["heads"][h.id] for h in manifest.heads if not h.datasets and h.id in whole["heads"]
        }
    return report


def _chosen(predicted: Predicted, rows: list[Row]) -> Predicted:
    """The predictions of some rows."""
    chosen = {row["path"] for row in rows}
    at = np.array([i for i, row in enumerate(predicted.rows) if row["path"] in chosen], np.int64)
    return Predicted(predicted.manifest, [predicted.rows[i] for i in at], predicted.predictions.taken(at), [])


def _folded(manifest: Manifest, mix: Mix, name: str) -> Predicted:
    """Predictions of all photos of a generic set by sigmoids, and of known objects by tables, that did not see the
    photo."""
    raw, domains = mix.gated(name, apart=True)
    applicability = {d.id: domains[:, i].astype(np.float32) for i, d in enumerate(mix.applying.domains)}
    heads = {
        head.id: Calibrator(head, manifest.top_k).predict(raw[head.id], heads_apply(manifest, head, applicability))
        for head in manifest.heads
    }
    if any(one.name == name and one.objects for one in mix.recipe.generic):
        heads |= {head.id: mix.object_folds(head, name) for head in manifest.heads if not head.datasets}
    rows = mix.sets[name].seen.rows
    none = np.zeros((len(rows), 0), np.float32)
    predictions = Predictions(heads, none, np.zeros((len(rows), 32), np.uint8), None, applicability)
    kept = [row for row in rows if row["path"] not in mix.sets[name].related]
    return _chosen(Predicted(manifest, rows, predictions, []), kept)


def _nonsense(manifest: Manifest, name: str, predicted: Predicted, recipe: Recipe) -> tuple[int, float]:
    """How many photos, and nonsense labels a photo."""
    shows = next(frozenset(one.shows) for one in recipe.generic if one.name == name)
    found = mix_report(manifest, {name: MixSet(predicted, shows)})["sets"][name]
    return found["photos"], found["nonsense"]
