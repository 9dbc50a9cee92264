"""A bundle of another precision: the same network, preprocessing, labels and epoch, with another graph."""

from __future__ import annotations

import shutil
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt

from engines.files import making_folder
from engines.recognition.bundles.bundle import load_bundle
from engines.recognition.engine import build_engine
from engines.recognition.precision.convert import Precision, convert
from engines.recognition.precision.processor import adds_bytes_exactly
from schemas.errors import ConfigError
from schemas.manifest import MODEL_FILE, Manifest, sha256_file, write_manifest


def write_bundle(
    bundle_dir: Path | str,
    out: Path | str,
    precision: Precision,
    photos: npt.NDArray[np.uint8] | None = None,
    backend: str = "onnxruntime",
) -> Manifest:
    """Write the bundle `out` from a float bundle. It appears whole, after its gate has passed it, or not at all.

    Parity vectors and epoch stay those of the float graph. Hashes of both meet in one index, which is why the gate
    bounds the share of differing bits.

    INT8 for OpenVINO has weights of seven bits where this processor cuts off larger sums. With eight bits, the gate
    refuses the demo bundle there: 9.5 % of the hash bits flip, and 2.7 % with seven.

    Args:
        bundle_dir: a float bundle.
        out: the folder to make.
        precision: the new graph's precision.
        photos: uint8 [n, h, w, 3] for INT8; see `convert`.
        backend: the back end that runs the parity photos for the gate.

    Raises:
        ConfigError: `out` exists, `bundle_dir` is not float, or `convert` raises it.
        BundleRefused: `bundle_dir` fails its checks, or the result is beyond a limit of the gate.
    """
    import onnx

    bundle, out = load_bundle(bundle_dir), Path(out)
    if bundle.manifest.precision != "fp32":
        raise ConfigError(f"bundle: {bundle.folder} is {bundle.manifest.precision} already; give the float bundle")
    if out.exists():
        raise ConfigError(f"out: {out} is there already; name another folder, or delete it")
    with making_folder(out) as part:
        seven_bits = backend == "openvino" and not adds_bytes_exactly()
        onnx.save(convert(onnx.load(bundle.model_path), precision, photos, seven_bits=seven_bits), part / MODEL_FILE)
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
