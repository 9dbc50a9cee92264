"""The bundle that a home's settings `[engine]` and `[detect]` describe together, and the detector that a worker
runs."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

from groknet.home.paths import Home
from schemas.boxes import DetectPlan
from schemas.errors import ConfigError
from schemas.manifest import DETECTOR_FOLDER, load_manifest

if TYPE_CHECKING:
    from engines.detection import Detector
    from groknet.home.config import DetectSection, Loaded
    from schemas.manifest import Manifest
    from workers.stages.detect import Looking


def bundle_with_detector(home: Home, bundle: Path, section: DetectSection) -> Path:
    """The folder of the bundle together with the detector of `[detect]`: HOME/bundles/EPOCH-DIGEST, made if it is
    missing. DIGEST is of the content, because bundles of one epoch may differ in their heads. A bundle that has a
    detector already stays as it is.

    Raises:
        ConfigError: `detect.bundle` is empty or cannot be read, or the folder cannot be written.
        BundleRefused: one of the bundles is missing or damaged.
    """
    from engines.detection.combine import combine, combined_manifest, content_digest, read_plan

    if load_manifest(bundle).detection:
        return bundle
    detector = detector_folder(home, section)
    if detector is None:
        raise ConfigError(
            f"detect.bundle: mode {section.mode!r} needs a detector; give its folder, or set mode = 'off'"
        )
    assert section.mode != "off"
    with _readable("detect.bundle", detector):
        plan = read_plan(
            detector,
            mode=section.mode,
            padding=section.padding,
            threshold=section.threshold,
            most_boxes=section.most_boxes,
        )
        manifest = combined_manifest(bundle, detector, plan)
    folder = home.root / "bundles" / f"{manifest.epoch}-{content_digest(manifest)}"
    if not folder.is_dir():
        part = folder.with_name(f"{folder.name}.{uuid4().hex}.part")  # several workers may start at once
        try:
            part.mkdir(mode=0o700, parents=True)
            combine(bundle, detector, plan, part)
            part.rename(folder)
        except OSError as error:
            if not folder.is_dir():  # else another worker has just made it
                text = f"engine.bundle and detect.bundle cannot be joined into {folder}: {_why(error)}"
                raise ConfigError(f"{text}; make the named file readable, or {folder.parent} writable") from error
        finally:
            shutil.rmtree(part, ignore_errors=True)
    return folder


@contextmanager
def _readable(setting: str, folder: Path) -> Iterator[None]:
    """Turn an OSError of the block, which reads a bundle, into a ConfigError that names the setting."""
    try:
        yield
    except OSError as error:
        text = f"{setting}: {folder} cannot be read: {_why(error)}"
        raise ConfigError(f"{text}; correct the path, or the permissions of the folder and its files") from error


def _why(error: OSError) -> str:
    """The system's reason, and the file that it is about if it is known."""
    reason = error.strerror or str(error)
    return f"{reason} ({error.filename})" if error.filename else reason


def detector_folder(home: Home, section: DetectSection) -> Path | None:
    """The folder that `detect.bundle` names, relative to HOME; None if it names none."""
    return home.root / Path(section.bundle).expanduser() if section.bundle else None


def query_looking(loaded: Loaded, manifest: Manifest) -> Looking | None:
    """How a search service finds products in photos of requests: with the bundle's detector, else with that of
    `detect.bundle`; None if there is neither. The caller closes its detector. Raises as `open_detector`, and
    ConfigError if the bundle's detector is another one than its manifest says; no detector stays open then."""
    from workers.stages.detect import Looking

    detector = open_detector(loaded, searching=True)
    if detector is None or manifest.detection:
        try:
            return Looking.of(manifest, detector)
        except ConfigError:
            if detector is not None:
                detector.close()
            raise
    section = loaded.config.detect
    plan = DetectPlan(
        mode="all",  # a request may ask for all, and a canvas for all is sharp enough for the subject as well
        detector_id=detector.detector_id,
        padding=section.padding,
        threshold=section.threshold,
        most_boxes=section.most_boxes,
    )
    return Looking(detector, plan, manifest.preprocess)


def open_detector(loaded: Loaded, folder: Path | None = None, *, searching: bool = False) -> Detector | None:
    """The detector of the bundle in `folder`, or of the home's bundle; None if the bundle has none. With `searching`,
    the detector of `detect.bundle` serves where the bundle has none.

    Raises:
        BundleRefused: the detector's bundle is missing or damaged.
        ConfigError: `detect.backend` cannot run here, or the detector's bundle cannot be read.
    """
    bundle = folder or Path(loaded.config.engine.bundle)
    section = loaded.config.detect
    own = bundle / DETECTOR_FOLDER if load_manifest(bundle).detection else None
    place = own or (detector_folder(loaded.home, section) if searching else None)
    if place is None:
        return None
    from engines.detection import open_detector as opened

    with _readable("engine.bundle" if own else "detect.bundle", place):
        return opened(place, section.backend, threads=loaded.config.engine.threads, max_batch=section.batch)
