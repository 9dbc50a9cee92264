"""Makes, describes and checks engine folders, for the `groknet engine` commands.

An engine folder is a bundle in one precision, which any back end can open. Its subfolder `engines/` has the plans that
TensorRT compiled from it. `[engine] bundle` and `backend` of the configuration select it.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from engines.files import making_folder
from engines.gpu.open import open_driver
from engines.gpu.profiles import Profiles
from engines.pixels import PHOTO_SUFFIXES, decode_photo
from engines.recognition import build_engine, load_bundle
from engines.recognition.own_backend import own_backend, remember_backend
from engines.recognition.precision import Precision, write_bundle
from engines.recognition.tensorrt.build import build
from engines.recognition.tensorrt.cache import FOLDER, EngineCache
from engines.recognition.tensorrt.library import LIBRARIES, Library, load_library
from engines.recognition.tensorrt.manifest import EngineManifest, ParityReport, of_another_bundle
from engines.recognition.tensorrt.plan import THIS_GPU, targets
from schemas.errors import BundleRefused, ConfigError
from schemas.manifest import MANIFEST_FILE, Preprocess

CALIBRATION_PHOTOS = 64  # more photos change INT8 scales by less than a rounding step


def build_folder(
    bundle_dir: Path,
    out: Path,
    *,
    backend: str,
    precision: Precision,
    profiles: Profiles,
    photos: Path | None,
    target: str | None,
    progress: Callable[[float], None],
) -> EngineManifest | None:
    """Make the engine folder `out`. It appears whole or not at all.

    Args:
        bundle_dir: a bundle; for another precision, a float bundle.
        out: the folder to make.
        backend: one of `engines.recognition.BACKENDS`; TensorRT also compiles a plan.
        precision: of the new graph.
        profiles: batch sizes of the plan.
        photos: a folder of photos to calibrate INT8 on.
        target: one of `tensorrt.plan.targets`; None takes the first.
        progress: called with the share that is done, 0..1, while a plan is built.

    Returns:
        The manifest of the plan, or None if the back end has no plans.

    Raises:
        ConfigError: `out` exists, a package is missing, the target cannot be built here, or INT8 has no photos.
        BundleRefused: the bundle fails its checks or its gate, or the library refuses it.
    """
    bundle = load_bundle(bundle_dir)
    if out.exists():
        raise ConfigError(f"--out: {out} is there already; name another folder, or delete it")
    library = load_library(backend) if backend in LIBRARIES else None
    with making_folder(out) as part:
        if precision == bundle.manifest.precision:
            for name in (MANIFEST_FILE, *bundle.manifest.files):
                shutil.copyfile(bundle_dir / name, part / name)
        else:
            pixels = calibration_photos(photos, bundle.manifest.preprocess) if photos else None
            part.rmdir()  # `write_bundle` makes its folder itself
            write_bundle(bundle_dir, part, precision, pixels, "onnxruntime" if library else backend)
        remember_backend(part, backend)
        return _add_plan(part, library, profiles, target, progress) if library else None


def _add_plan(
    folder: Path, library: Library, profiles: Profiles, target: str | None, progress: Callable[[float], None]
) -> EngineManifest:
    target = target or targets(library)[0]
    device = None
    if target == THIS_GPU:
        driver = open_driver()
        device = driver.device()
        driver.close()
    bundle, engines = load_bundle(folder), folder / FOLDER
    return build(bundle, library, engines, profiles=profiles, target=target, device=device, progress=progress)[1]


def calibration_photos(folder: Path, preprocess: Preprocess) -> npt.NDArray[np.uint8]:
    """Return up to 64 photos of a folder and its subfolders, taken evenly over the sorted names: uint8 [n, h, w, 3].

    Raises:
        ConfigError: there is no photo.
        Invalid: a photo cannot be decoded.
    """
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in PHOTO_SUFFIXES)
    if not paths:
        raise ConfigError(f"--photos: no {', '.join(sorted(PHOTO_SUFFIXES))} in {folder}")
    chosen = np.linspace(0, len(paths) - 1, min(len(paths), CALIBRATION_PHOTOS)).astype(int)
    return np.stack([decode_photo(paths[i].read_bytes(), preprocess).pixels for i in chosen])


def describe(folder: Path) -> dict[str, Any]:
    """Return a summary of the bundle's manifest, every plan's manifest, and the sizes of the files in bytes."""
    manifest = load_bundle(folder).manifest
    plans = EngineCache(folder / FOLDER).manifests()
    return {
        "bundle": manifest.name,
        "model_version": manifest.model_version,
        "epoch": manifest.epoch,
        "precision": manifest.precision,
        "backend": own_backend(folder),
        "photos": [manifest.preprocess.height, manifest.preprocess.width, 3],
        "heads": {head.id: len(head.labels) for head in manifest.heads},
        "bytes": {name: (folder / name).stat().st_size for name in manifest.files},
        "engines": {key: msgspec.to_builtins(plan) for key, plan in plans.items()},
    }


def check_plans(folder: Path) -> dict[str, EngineManifest]:
    """Check every plan of the folder, as far as that needs no GPU, and return their manifests by key.

    Raises:
        BundleRefused: a plan is cut short or altered, or was built from another bundle than this folder's.
    """
    bundle, cache = load_bundle(folder), EngineCache(folder / FOLDER)
    plans = cache.manifests()
    for key, plan in plans.items():
        cache.read(plan)
        reason = of_another_bundle(plan, bundle.manifest)
        if reason:
            raise BundleRefused(f"engine {key}: {reason}")
    return plans


def run_parity(folder: Path, backend: str) -> None:
    """Open the engine, which runs the parity photos, and note the result in the plan's manifest, if there is one.

    Raises what `build_engine` raises.
    """
    with _reported(folder, backend):
        build_engine(folder, backend).close()


@contextmanager
def _reported(folder: Path, backend: str) -> Iterator[None]:
    """Note the outcome of the block in the manifest of the plan that this GPU would use."""
    if backend not in LIBRARIES:
        yield
        return
    library, driver = load_library(backend), open_driver()
    device = driver.device()
    driver.close()
    cache = EngineCache(folder / FOLDER)
    found = cache.choose(library, device, load_bundle(folder))
    reason = ""
    try:
        yield
    except BundleRefused as error:
        reason = str(error)
        raise
    finally:
        if found is not None:
            checked = datetime.now(UTC).isoformat(timespec="seconds")
            report = ParityReport(ok=not reason, reason=reason, device=device, checked=checked)
            cache.write_manifest(found[0], msgspec.structs.replace(found[1], parity=report))
