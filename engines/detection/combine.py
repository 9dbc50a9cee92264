"""Joins a recogniser's bundle and a detector into one bundle, whose epoch and model version are its own.

Everything that follows an epoch (records, back-fills, switches) then needs to know one folder only.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Literal

import msgspec

from schemas.boxes import DetectPlan
from schemas.detector_manifest import load_detector_manifest
from schemas.errors import BundleRefused
from schemas.manifest import (
    DETECTOR_FOLDER,
    MANIFEST_FILE,
    Manifest,
    load_manifest,
    sha256_file,
    verify_files,
    write_manifest,
)

_VERSION_CHARS = 51  # a model version has at most 64 characters: these, a dot and the epoch


def read_plan(
    detector: Path, *, mode: Literal["subject", "all"], padding: float, threshold: float, most_boxes: int
) -> DetectPlan:
    """The plan of a detector's bundle with these settings. `subject` takes one box, whatever `most_boxes` is.

    Raises:
        BundleRefused: there is no detector in the folder.
    """
    most = 1 if mode == "subject" else most_boxes
    found = load_detector_manifest(detector)
    return DetectPlan(mode=mode, detector_id=found.detector_id, padding=padding, threshold=threshold, most_boxes=most)


def combined_manifest(bundle: Path, plan: DetectPlan) -> Manifest:
    """The manifest of a bundle together with a plan: another epoch, and another model version, because its rows differ.
    It names no file of the detector yet.

    Raises:
        BundleRefused: there is no bundle, or it has a detector already.
    """
    manifest = load_manifest(bundle)
    if manifest.detection:
        raise BundleRefused(f"{bundle}: has a detector already; give the bundle that it was made of")
    epoch = plan.epoch_of(manifest.epoch)
    version = f"{manifest.model_version[:_VERSION_CHARS]}.{epoch}"
    return msgspec.structs.replace(manifest, epoch=epoch, model_version=version, detection=plan)


def combine(bundle: Path, detector: Path, plan: DetectPlan, folder: Path) -> Manifest:
    """Write both bundles into an empty folder, as hard links where the file system allows it. Returns the manifest.

    Raises:
        BundleRefused: a bundle is missing or damaged.
        OSError: a file cannot be written.
    """
    manifest = combined_manifest(bundle, plan)
    verify_files(bundle, load_manifest(bundle))
    verify_files(detector, load_detector_manifest(detector))
    (folder / DETECTOR_FOLDER).mkdir()
    files = dict(manifest.files)
    for name in manifest.files:
        _link(bundle / name, folder / name)
    for name in (MANIFEST_FILE, *load_detector_manifest(detector).files):
        _link(detector / name, folder / DETECTOR_FOLDER / name)
        files[f"{DETECTOR_FOLDER}/{name}"] = sha256_file(detector / name)
    manifest = msgspec.structs.replace(manifest, files=files)
    write_manifest(folder, manifest)
    return manifest


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source.resolve(), target)
    except OSError:  # another file system, or one without hard links
        shutil.copyfile(source, target)
