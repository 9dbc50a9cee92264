"""`groknet bundle`: inspect and verify a bundle, compare it with another, join it with a detector, fit its heads or its
hash layer again, measure its baseline."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter
from cyclopts.validators import Number
from rich.table import Table

from groknet.cli.exits import CommandError, Exit
from groknet.cli.options import JsonOption, ReaderOption
from groknet.cli.terminal import json_line, note, progress, stdout
from schemas.boxes import MOST_BOXES, PADDING, THRESHOLD
from schemas.manifest import MANIFEST_FILE

FolderArgument = Annotated[Path, Parameter(help="Folder of the bundle.")]


def inspect(folder: FolderArgument, /, *, json: JsonOption = False) -> Exit:
    """Show what a bundle holds: model, epoch, input, heads, labels, thresholds, hash, files and how it was made.

    Checksums are not verified; `groknet bundle verify` does that.

    --json writes {"name", "model_version", "epoch", "preprocess", "heads": [{"id", "kind", "column", "labels",
    "calibrated", "own_tables", "threshold", "target_precision", …}], "embedding", "hash", "bytes", "training", …}.
    """
    _there("bundle", folder)
    from engines.recognition.bundles.diff import describe

    found = describe(folder)
    if json:
        json_line(found)
        return Exit.OK
    table = Table(show_header=False, box=None)
    for name in ("name", "model_version", "epoch", "created", "precision"):
        table.add_row(name, str(found[name]))
    size = found["preprocess"]
    table.add_row("photos", f"{size['width']} × {size['height']}, {size['mode']}, {size['interpolation']}")
    table.add_row("embedding", f"{found['embedding']['dim']} floats")
    table.add_row("hash", f"{found['hash']['bits']} bits, {found['hash']['codec']}")
    made = found["training"]
    table.add_row("made by", made["command"])
    table.add_row("from", ", ".join(f"{name} {count:,}" for name, count in made["photos"].items()) or "–")
    sizes = {name: "missing" if size is None else f"{size:,}" for name, size in found["bytes"].items()}
    table.add_row("bytes", ", ".join(f"{name} {size}" for name, size in sizes.items()))
    stdout().print(table)
    heads = Table("head", "kind", "column", "labels", "tables", "offered from", "for precision", box=None)
    for head in found["heads"]:
        tables = int(head["calibrated"]) + head["own_tables"]
        offered = "never" if head["threshold"] >= 1 else f"{head['threshold']:.3f}"
        cells = (head["id"], head["kind"], head["column"], head["labels"], tables, offered, head["target_precision"])
        heads.add_row(*map(str, cells))
    stdout().print(heads)
    return Exit.OK


def verify(folder: FolderArgument, /, *, json: JsonOption = False) -> Exit:
    """Verify the manifest and every checksum, and run the parity photos. A worker does the same when it starts.

    The outputs are computed with ONNX Runtime; `groknet engine verify` has other back ends. The exit code is 2 when the
    bundle is refused, and the message gives the reason.

    --json writes {"folder", "model_version", "epoch", "files", "parity_photos"}.
    """
    _there("bundle", folder)
    from engines.recognition import build_engine, load_bundle

    bundle = load_bundle(folder)
    build_engine(folder).close()
    manifest = bundle.manifest
    told = {
        "folder": str(folder),
        "model_version": manifest.model_version,
        "epoch": manifest.epoch,
        "files": len(manifest.files),
        "parity_photos": len(bundle.photos),
    }
    if json:
        json_line(told)
    else:
        note(f"{folder}: {len(manifest.files)} files are unchanged, {len(bundle.photos)} parity photos passed")
    return Exit.OK


def diff(
    old: Annotated[Path, Parameter(help="Folder of the bundle that is in use now.")],
    new: Annotated[Path, Parameter(help="Folder of the bundle that shall replace it.")],
    /,
    *,
    json: JsonOption = False,
) -> Exit:
    """Show what changes when NEW replaces OLD.

    This covers whether hashes stay comparable, which heads and labels are added or removed, the thresholds, and the
    largest change of a calibrated probability. Only the manifests are read. The accuracy is in each bundle's card.

    --json writes {"same", "fields": {name: [old, new]}, "files", "heads": {id: {"change", …}}, "means": [sentence]}.
    """
    _there("OLD", old)
    _there("NEW", new)
    from engines.recognition.bundles.diff import compare

    found = compare(old, new)
    if json:
        json_line(found)
    elif found["same"]:
        note("the same bundle")
    else:
        _print(found)
    return Exit.OK


def _print(found: dict[str, Any]) -> None:
    table = Table("what", "old", "new", box=None)
    for name, (old, new) in found["fields"].items():
        table.add_row(name, str(old), str(new))
    for head_id, what in found["heads"].items():
        settings = {name: value for name, value in what.items() if name != "change"}
        pairs = {name: value for name, value in settings.items() if name in ("threshold", "target_precision")}
        rest = ", ".join(f"{name} {_short(value)}" for name, value in settings.items() if name not in pairs)
        table.add_row(f"head {head_id}", what["change"], rest)
        for name, (old, new) in pairs.items():
            table.add_row(f"head {head_id} {name}", f"{old:g}", f"{new:g}")
    if found["files"]:
        table.add_row("files that differ", "", ", ".join(found["files"]))
    stdout().print(table)
    for sentence in found["means"]:
        note(sentence)


def _short(value: object) -> str:
    return f"{len(value)}: {', '.join(map(str, value[:5]))}" if isinstance(value, list) else str(value)


def _check_folders(bundle: Path, recipe: Path, data: Path, out: Path) -> None:
    """Raise CommandError if something is not there, or if `out` holds something that is no bundle."""
    _there("bundle", bundle)
    _there("--data", data)
    if not recipe.is_file():
        raise CommandError(f"--recipe {recipe}: no such file", Exit.NOT_FOUND)
    if out.exists() and any(out.iterdir()) and not (out / MANIFEST_FILE).is_file():
        raise CommandError(f"--out {out}: holds something that is no bundle; name another folder", Exit.USAGE)


def _there(what: str, folder: Path) -> None:
    if not folder.is_dir():
        raise CommandError(f"{what} {folder}: no such folder", Exit.NOT_FOUND)


def with_detector(
    bundle: Annotated[Path, Parameter(help="Folder of the recogniser's bundle.")],
    detector: Annotated[Path, Parameter(help="Folder of the detector's bundle.")],
    /,
    *,
    out: Annotated[Path, Parameter(help="Folder for the new bundle.")],
    mode: Annotated[
        Literal["subject", "all"], Parameter(help="Describe the most confident product of a photo, or all of them.")
    ] = "subject",
    padding: Annotated[
        float, Parameter(help="How much wider a box is made, on each side.", validator=Number(gte=0, lte=1))
    ] = PADDING,
    threshold: Annotated[
        float, Parameter(help="Least confidence of a box, 0 to 1.", validator=Number(gte=0, lte=1))
    ] = THRESHOLD,
    most_boxes: Annotated[
        int, Parameter(help="With all: most boxes of one photo.", validator=Number(gte=1, lte=MOST_BOXES))
    ] = 16,
    json: JsonOption = False,
) -> Exit:
    """Join a bundle and a detector, so that products are found in a photo before they are described.

    The new bundle is of another epoch: its hashes are of boxes. So it takes the way of any other model: `groknet
    backfill --bundle OUT`, then `groknet epoch switch`. A new home needs only the settings [detect], which make the
    same bundle by themselves.

    --json writes {"bundle", "model_version", "epoch", "detector_id", "mode", "padding", "threshold", "most_boxes"}.
    """
    _there("bundle", bundle)
    _there("detector", detector)
    if out.exists() and any(out.iterdir()):
        raise CommandError(f"--out {out}: this folder is not empty; name another one", Exit.USAGE)
    from engines.detection.combine import combine, read_plan
    from engines.files import making_folder

    plan = read_plan(detector, mode=mode, padding=padding, threshold=threshold, most_boxes=most_boxes)
    with making_folder(out, replace=True) as part:
        made = combine(bundle, detector, plan, part)
    if json:
        import msgspec

        told = {"bundle": str(out), "model_version": made.model_version, "epoch": made.epoch}
        json_line({**told, **msgspec.to_builtins(plan)})
    else:
        note(f"bundle {out}: model {made.model_version}, epoch {made.epoch}, detector {plan.detector_id}, {mode}")
    return Exit.OK


def refit(
    bundle: Annotated[Path, Parameter(help="Folder of the float bundle.")],
    /,
    *,
    recipe: Annotated[Path, Parameter(help="Recipe file of the bundle, with [[generic]] sets.")],
    data: Annotated[Path, Parameter(help="Folder that holds the folders of the data sets and generic sets.")],
    out: Annotated[Path, Parameter(help="Folder for the new bundle. It may be the bundle itself.")],
    cache: Annotated[Path, Parameter(help="Folder for features. A command that was stopped continues from it.")],
    json: JsonOption = False,
) -> Exit:
    """Teach a finished bundle to which photos its heads apply, and calibrate it again. No training run is needed.

    The trunk does not change. So embedding, hash and epoch stay the same, and indexes and hashes remain valid. The
    command computes the trunk's features of all photos once, and learns from them to which photos each head applies.
    A head that imitates the packaged classifier gets that classifier's own last layer. Each head is calibrated on
    photos of its own data sets and of others. The test photos are measured for the card. It needs groknet[train].

    --json writes {"bundle", "model_version", "epoch", "domains": {id: threshold}, "heads": {id: threshold}}.
    """
    _check_folders(bundle, recipe, data, out)
    from training.bundle.applying.finish import refit_bundle
    from training.data.check_recipe import load_checked

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", stream=sys.stderr)
    command = f"groknet bundle refit BUNDLE --recipe {recipe.name} --data DATA --out BUNDLE --cache CACHE"
    made = refit_bundle(bundle, load_checked(recipe, data), data, out=out, cache=cache, command=command)
    domains = made.applicability.domains if made.applicability else []
    if json:
        told = {"bundle": str(out), "model_version": made.model_version, "epoch": made.epoch}
        thresholds = {"domains": {d.id: d.threshold for d in domains}, "heads": {h.id: h.threshold for h in made.heads}}
        json_line({**told, **thresholds})
    else:
        note(f"bundle {out}: model {made.model_version}, epoch {made.epoch}, {len(domains)} domains")
    return Exit.OK


def rehash(
    bundle: Annotated[Path, Parameter(help="Folder of the float bundle.")],
    /,
    *,
    hash_layer: Annotated[
        Literal["rotation", "half_whitened", "half_whitened_itq", "itq"], Parameter(help="The layer, as in a recipe.")
    ],
    recipe: Annotated[Path, Parameter(help="Recipe file of the bundle.")],
    data: Annotated[Path, Parameter(help="Folder that holds the folders of the data sets.")],
    out: Annotated[Path, Parameter(help="Folder for the new bundle. It may be the bundle itself.")],
    cache: Annotated[Path, Parameter(help="Folder for features. A command that was stopped continues from it.")],
    json: JsonOption = False,
) -> Exit:
    """Give a finished bundle another hash layer, which is fitted to its training photos. No training run is needed.

    The trunk, the embedding, the heads and their thresholds stay the same. The hashes change, and so does the epoch:
    running homes take the new bundle with `groknet backfill --bundle OUT` and `groknet epoch switch`. The test photos
    are measured for the card. It needs groknet[train].

    --json writes {"bundle", "model_version", "epoch", "hash", "notes": {name: value}}.
    """
    _check_folders(bundle, recipe, data, out)
    from training.bundle.rehash import rehash_bundle
    from training.data.check_recipe import load_checked

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", stream=sys.stderr)
    where = f"--recipe {recipe.name} --data DATA --out BUNDLE --cache CACHE"
    command = f"groknet bundle rehash BUNDLE --hash-layer {hash_layer} {where}"
    made = rehash_bundle(
        bundle, load_checked(recipe, data), data, layer=hash_layer, out=out, cache=cache, command=command
    )
    if json:
        told = {"bundle": str(out), "model_version": made.model_version, "epoch": made.epoch}
        json_line({**told, "hash": made.hash.codec, "notes": made.training.notes})
    else:
        note(f"bundle {out}: model {made.model_version}, epoch {made.epoch}, hash {made.hash.codec}")
    return Exit.OK


def baseline(
    bundle: Annotated[Path, Parameter(help="Folder of the bundle. The file baseline.json is written into it.")],
    /,
    *,
    data: Annotated[
        list[Path], Parameter(negative=(), consume_multiple=True, help="Folders of photos. Each has the same weight.")
    ],
    reader: ReaderOption = "csv",
    split: Annotated[str, Parameter(help="Split to measure, or all.")] = "val",
    most: Annotated[int, Parameter(help="Most photos of one folder.", validator=Number(gte=1))] = 1000,
    json: JsonOption = False,
) -> Exit:
    """Measure how the bundle's answers are spread, so that a running system notices when they drift.

    For each head the file has the share of photos by the first label that is offered, and by the best probability.
    It also has the share of photos to which no head's domain applies. Taggers count their answers in the same bins.
    Model version, epoch and predictions do not change; the manifest gets one more checksum.

    Use the validation photos of the bundle's data sets, or better, some hundred photos of your own shop from a time
    that you trust: `--reader folder --split all`. Restart the taggers afterwards.

    --json writes {"bundle", "model_version", "photos": {folder: count}, "heads": count, "domains": {id: share}}.
    """
    _there("bundle", bundle)
    for folder in data:
        _there("--data", folder)
    sets = {folder.resolve().name: folder for folder in data}
    if len(sets) < len(data):
        raise CommandError("--data: two folders have one name; rename one of them", Exit.USAGE)
    from schemas.baseline import write_baseline
    from training.evaluation.baseline import measure_baseline
    from training.readers import known_split

    with progress() as bar:
        task = bar.add_task("photos", total=None)
        made = measure_baseline(
            bundle,
            sets,
            split=known_split(split) or split,
            reader=reader,
            most=most,
            progress=lambda done, total: bar.update(task, completed=done, total=total),
        )
    manifest = write_baseline(bundle, made)
    if json:
        told = {"bundle": str(bundle), "model_version": manifest.model_version, "photos": made.photos}
        json_line({**told, "heads": len(made.heads), "domains": made.domains})
    else:
        photos = ", ".join(f"{count:,} of {name}" for name, count in made.photos.items())
        note(f"baseline of {manifest.model_version}: {len(made.heads)} heads on {photos}")
    return Exit.OK
