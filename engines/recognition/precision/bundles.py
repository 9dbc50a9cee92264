"""A bundle of another precision: the same network, preprocessing, labels and epoch; a graph that computes otherwise."""

from __future__ import annotations

import shutil
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt

from engines.files import making_folder
from engines.recognition.bundle import load_bundle
from engines.recognition.engine import build_engine
from engines.recognition.precision.convert import Precision, convert
from schemas.errors import ConfigError
from schemas.manifest import MODEL_FILE, Manifest, sha256_file, write_manifest


def write_bundle(
    bundle_dir: Path | str,
    out: Path | str,
    precision: Precision,
    photos: npt.NDArray[np.uint8] | None = None,
    backend: str = "onnxruntime",
) -> Manifest:
    """Write the bundle `out` from a float one. It appears whole, after its gate has passed it, or not at all.

    The parity vectors stay the float graph's, and so does the epoch: hashes of both meet in one index, which is why
    the gate bounds the bits that differ.

    Args:
        bundle_dir: a float bundle.
        out: the folder to make.
        precision: of the new graph.
        photos: see `convert`.
        backend: runs the parity photos for the gate.

    Raises:
        ConfigError: `out` is there already, `bundle_dir` is not float, or as `convert` raises.
        BundleRefused: `bundle_dir` is not what it says, or the result is beyond a limit of the gate.
    """
    import onnx

    bundle, out = load_bundle(bundle_dir), Path(out)
    if bundle.manifest.precision != "fp32":
        raise ConfigError(f"bundle: {bundle.folder} is {bundle.manifest.precision} already; give the float bundle")
    if out.exists():
        raise ConfigError(f"out: {out} is there already; name another folder, or delete it")
    with making_folder(out) as part:
        onnx.save(convert(onnx.load(bundle.model_path), precision, photos), part / MODEL_FILE)
        for name in bundle.manifest.files:
            if name != MODEL_FILE:
                shutil.copyfile(bundle.folder / name, part / name)
        manifest = msgspec.structs.replace(
            bundle.manifest,
            precision=precision,
            model_version=f"{bundle.manifest.model_version[:59]}-{precision}",
            files={name: sha256_file(part / name) for name in sorted(bundle.manifest.files)},
        )
        write_manifest(part, manifest)
        build_engine(part, backend).close()
    return manifest
