"""`groknet detector`: train a detector, make a bundle of it, measure it."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from cyclopts import Parameter
from rich.table import Table

from groknet.cli.exits import CommandError, Exit
from groknet.cli.options import JsonOption
from groknet.cli.terminal import json_line, note, stdout
from groknet.commands.models.training_runs import RECIPE, Run, recall, remember
from schemas.manifest import MANIFEST_FILE

Backend = Literal["onnxruntime", "openvino", "tensorrt", "tensorrt_rtx"]
FolderArgument = Annotated[Path, Parameter(help="Folder of a detector bundle.")]
BackendOption = Annotated[Backend, Parameter(help="Back end that runs it.")]
RunArgument = Annotated[Path, Parameter(help="Folder of the training run.")]
DataOption = Annotated[Path | None, Parameter(help="Folder with the data sets. Default: that of the run.")]


def train(
    recipe: Annotated[Path, Parameter(help="Recipe of a detector, a TOML file; training/recipes has examples.")],
    /,
    *,
    data: Annotated[Path, Parameter(help="Folder that holds the folders of the data sets.")],
    out: Annotated[Path, Parameter(help="Folder for the checkpoint.")],
    resume: Annotated[bool, Parameter(negative=(), help="Continue from the checkpoint in --out.")] = False,
    cache: Annotated[Path | None, Parameter(help="Folder for decoded photos. Default: OUT/cache.")] = None,
    start: Annotated[
        Path | None, Parameter(help="Begin with this network: a small detector's bundle, or a run's checkpoint.pt.")
    ] = None,
) -> Exit:
    """Train a detector from a recipe. Then `groknet detector export` makes a bundle of it. Needs groknet[train].

    A recipe names sets of photos with a table of boxes each. A row of a table has the photo's path and the four edges
    of a box, in pixels or in shares of the photo.

    groknet detector train training/recipes/detect_small.toml --data DATA --out RUN
    """
    if not recipe.is_file():
        raise CommandError(f"{recipe}: no such recipe", Exit.NOT_FOUND)
    _there("--data", data)
    if start is not None:
        _there("--start", start)
    from training.detection.loop.train import train_detector
    from training.detection.recipe import load_detector_recipe

    loaded = load_detector_recipe(recipe)
    remember(out, Run(data=str(data.absolute()), cache=str((cache or out / "cache").absolute())), recipe)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", stream=sys.stderr)
    checkpoint = train_detector(loaded, data, out, resume=resume, cache=cache, weights_in=recipe.parent, start=start)
    note(f"checkpoint {checkpoint}; make a bundle of it with `groknet detector export {out} --out BUNDLE`")
    return Exit.OK


def export(
    run: RunArgument,
    /,
    out: Annotated[Path, Parameter(help="Folder for the bundle. An older detector bundle in it is replaced.")],
    *,
    data: DataOption = None,
    measure: Annotated[bool, Parameter(help="Measure it on the test photos, for the card.")] = True,
    json: JsonOption = False,
) -> Exit:
    """Make a detector bundle from a training run: graph, manifest, parity photos, and a card with its figures.

    Non-maximum suppression is part of the graph. Finally the command opens the bundle as an engine does.
    """
    if out.exists() and any(out.iterdir()) and not (out / MANIFEST_FILE).is_file():
        raise CommandError(f"--out {out}: holds something that is no bundle; name another folder", Exit.USAGE)
    from training.detection.bundle.export import export_detector
    from training.detection.evaluation.of_run import measured_run
    from training.detection.recipe import load_detector_recipe

    where, cache = _data_of(run, data)
    recipe = load_detector_recipe(run / RECIPE)
    figures = measured_run(recipe, run, where, cache) if measure else None
    manifest = export_detector(recipe, run, out, figures=figures)
    if json:
        json_line({"bundle": str(out), "model_version": manifest.model_version, "detector_id": manifest.detector_id})
    else:
        note(f"bundle {out}: detector {manifest.model_version}, id {manifest.detector_id}")
    return Exit.OK


def evaluate(
    bundle: FolderArgument,
    /,
    *,
    recipe: Annotated[Path, Parameter(help="Recipe that names the sets of photos with boxes.")],
    data: Annotated[Path, Parameter(help="Folder that holds the folders of the data sets.")],
    cache: Annotated[Path, Parameter(help="Folder for decoded photos; that of a run saves time.")],
    split: Annotated[Literal["val", "test"], Parameter(help="Which photos.")] = "test",
    backend: BackendOption = "onnxruntime",
    json: JsonOption = False,
) -> Exit:
    """Measure a detector on photos with known boxes.

    AP@.5 and AP@.5:.95 are COCO's average precision with all kinds as one. "Best box right" is the share of photos
    whose most confident box has an IoU of at least .5 with a known one.

    --json writes one line for each set: {"set", "photos", "boxes", "ap50", "ap", "subject", "kind"}.
    """
    _there("bundle", bundle)
    _there("--data", data)
    from training.detection.evaluation.of_run import measured_bundle
    from training.detection.recipe import load_detector_recipe

    figures = measured_bundle(load_detector_recipe(recipe), bundle, data, cache, split=split, backend=backend)
    if json:
        for name, one in figures.items():
            json_line({"set": name, **msgspec.to_builtins(one)})
        return Exit.OK
    table = Table("photos", "number", "boxes", "AP@.5", "AP@.5:.95", "best box right", "kind right", box=None)
    for name, one in figures.items():
        shares = (one.ap50, one.ap, one.subject, one.kind)
        table.add_row(name, str(one.photos), str(one.boxes), *(f"{share:.3f}" for share in shares))
    stdout().print(table)
    return Exit.OK


def int8(
    bundle: FolderArgument,
    /,
    out: Annotated[Path, Parameter(help="Folder to create.")],
    *,
    photos: Annotated[Path, Parameter(help="Folder of typical photos; 64 of them choose the scales.")],
    backend: BackendOption = "openvino",
    json: JsonOption = False,
) -> Exit:
    """Make an INT8 bundle of a float one. The command fails if its boxes for the parity photos differ too much."""
    _there("bundle", bundle)
    _there("--photos", photos)
    from engines.detection.precision import write_int8_detector
    from engines.recognition.engine_folder import calibration_photos
    from schemas.detector_manifest import load_detector_manifest

    pixels = calibration_photos(photos, load_detector_manifest(bundle).preprocess)
    manifest = write_int8_detector(bundle, out, pixels, backend)
    if json:
        json_line({"bundle": str(out), "model_version": manifest.model_version, "detector_id": manifest.detector_id})
    else:
        note(f"bundle {out}: detector {manifest.model_version}, id {manifest.detector_id}")
    return Exit.OK


def phone(
    bundle: FolderArgument,
    /,
    out: Annotated[Path, Parameter(help="Folder to create.")],
    *,
    json: JsonOption = False,
) -> Exit:
    """Convert a detector bundle for phones: an ncnn network without non-maximum suppression, which the app does.

    Needs groknet[phone,train]. phone.json describes inputs, outputs and thresholds. The command fails if ncnn proposes
    other boxes for the parity photos.
    """
    _there("bundle", bundle)
    from training.detection.bundle.phone import export_detector_phone

    made = export_detector_phone(bundle, out)
    size = sum(path.stat().st_size for path in out.iterdir())
    if json:
        json_line({"folder": str(out), "model_version": made.model_version, "bytes": size})
    else:
        note(f"{out}: {made.model_version} for ncnn, {size / 1e6:.1f} MB, parity kept")
    return Exit.OK


def bench(
    bundle: FolderArgument,
    /,
    *,
    backend: BackendOption = "onnxruntime",
    batch: Annotated[str, Parameter(help="Batch sizes to measure.")] = "1,8",
    threads: Annotated[int | None, Parameter(help="Threads of one batch. Default: all cores.")] = None,
    seconds: Annotated[float, Parameter(help="Seconds to measure each batch size.")] = 3.0,
    json: JsonOption = False,
) -> Exit:
    """Measure photos per second and latency of a detector on this machine, on its parity photos."""
    _there("bundle", bundle)
    from engines.detection import open_detector
    from engines.detection.bundle import load_detector_bundle
    from engines.detection.speed import measure_detector
    from engines.gpu.profiles import Profiles

    sizes = Profiles.parse(batch).batches
    detector = open_detector(bundle, backend, threads=threads, max_batch=max(sizes))
    photos = load_detector_bundle(bundle).photos
    table = Table("batch", "photos/s", "photos/s of processor time", "ms p50", "ms p99", box=None)
    for size in sizes:
        speed = measure_detector(detector, size, seconds=seconds, photos=photos)
        if json:
            json_line(speed)
        rates = (speed.photos_per_s, speed.photos_per_processor_s, speed.latency_ms_p50, speed.latency_ms_p99)
        table.add_row(str(size), *(f"{number:.1f}" for number in rates))
    detector.close()
    if not json:
        stdout().print(table)
    return Exit.OK


def _data_of(run: Path, data: Path | None) -> tuple[Path, Path]:
    """The folders of a run's data and of its decoded photos."""
    if not run.is_dir() or not (run / RECIPE).is_file():
        raise CommandError(f"{run}: no run of a detector; train with `groknet detector train`", Exit.NOT_FOUND)
    known = recall(run)
    where = data or (Path(known.data) if known else None)
    if where is None:
        raise CommandError(f"{run} does not say what it was trained on; give --data", Exit.USAGE)
    return where, Path(known.cache) if known else run / "cache"


def _there(what: str, path: Path) -> None:
    if not path.exists():
        raise CommandError(f"{what} {path}: not there", Exit.NOT_FOUND)
