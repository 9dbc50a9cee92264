"""Joins a recogniser's bundle and a detector into one bundle, whose epoch and model version are its own.

Everything that follows an epoch (records, back-fills, switches) then needs to know one folder only.
"""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path
from typing import Literal

import msgspec

from schemas.boxes import DetectPlan
from schemas.detector_manifest import DetectorManifest, load_detector_manifest
from schemas.errors import BundleRefused
from schemas.manifest import (
    CARD_FILE,
    DETECTOR_FOLDER,
    MANIFEST_FILE,
    Manifest,
    encode_manifest,
    load_manifest,
    sha256_file,
    verify_files,
    write_manifest,
)

_VERSION_CHARS = 51  # a model version has at most 64 characters: these, a dot and a digest


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


def combined_manifest(bundle: Path, detector: Path, plan: DetectPlan) -> Manifest:
    """The manifest of a bundle together with a detector and a plan: another epoch, and another model version, because
    its rows differ. The files are read no further than the manifests.

    The model version ends with 12 hex digits of a sha256 over the bundle's own version, the plan, and what the detector
    consists of. So two detectors that call themselves by one id do not share rows.

    Raises:
        BundleRefused: there is no bundle or no detector, the bundle has a detector already, or the plan is for another
            detector.
    """
    manifest, found = load_manifest(bundle), load_detector_manifest(detector)
    if manifest.detection:
        raise BundleRefused(f"{bundle}: has a detector already; give the bundle that it was made of")
    if found.detector_id != plan.detector_id:
        raise BundleRefused(f"{detector}: is detector {found.detector_id}, and the plan is for {plan.detector_id}")
    own = {MANIFEST_FILE: sha256_file(detector / MANIFEST_FILE), **found.files}
    version = f"{manifest.model_version[:_VERSION_CHARS]}.{_digest(manifest.model_version, found, plan)}"
    return msgspec.structs.replace(
        manifest,
        epoch=plan.epoch_of(manifest.epoch),
        model_version=version,
        detection=plan,
        files=manifest.files | {f"{DETECTOR_FOLDER}/{name}": digest for name, digest in own.items()},
    )


def _digest(version: str, detector: DetectorManifest, plan: DetectPlan) -> str:
    """12 hex digits that change with the bundle's version, with all that decides the boxes, and with nothing else."""
    files = {name: digest for name, digest in detector.files.items() if name != CARD_FILE}
    decides = (version, plan, files, detector.preprocess, detector.kinds, detector.nms)
    return hashlib.sha256(msgspec.json.encode(decides, order="sorted")).hexdigest()[:12]


def content_digest(manifest: Manifest) -> str:
    """12 hex digits that change with anything in the manifest, which has the checksums of all files."""
    return hashlib.sha256(encode_manifest(manifest)).hexdigest()[:12]


def combine(bundle: Path, detector: Path, plan: DetectPlan, folder: Path) -> Manifest:
    """Copy both bundles into an empty folder, which is then independent of them. Returns the manifest.

    Raises:
        BundleRefused: a bundle is missing or damaged, or as `combined_manifest`.
        OSError: a file cannot be read or written.
    """
    manifest = combined_manifest(bundle, detector, plan)
    verify_files(bundle, load_manifest(bundle))
    verify_files(detector, load_detector_manifest(detector))
    (folder / DETECTOR_FOLDER).mkdir()
    for name in manifest.files:
        within = Path(name)
        source = detector / within.name if within.parent == Path(DETECTOR_FOLDER) else bundle / name
        shutil.copyfile(source, folder / name)
    verify_files(folder, manifest)  # a file may have changed while it was copied
    write_manifest(folder, manifest)
    return manifest
