"""A detector bundle in INT8: the same network and thresholds, with convolutions in eight bits."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import numpy as np
import numpy.typing as npt

from engines.detection.bundle import load_detector_bundle
from engines.detection.engine import open_detector
from engines.files import making_folder
from engines.recognition.precision.processor import adds_bytes_exactly
from schemas.detector_manifest import DetectorManifest, DetectorParity, write_detector_manifest
from schemas.errors import ConfigError
from schemas.manifest import MODEL_FILE, encode_preprocess, sha256_file

if TYPE_CHECKING:
    import onnx

INT8_PARITY = DetectorParity(overlap=0.7, score=0.2, margin=0.15, found=0.85)
"""What eight bits may change. A wrong scale or a lost layer changes nearly every box."""


def write_int8_detector(
    folder: Path | str, out: Path | str, photos: npt.NDArray[np.uint8], backend: str = "openvino"
) -> DetectorManifest:
    """Write the bundle `out` from a float bundle. It appears whole, after its parity photos have passed, or not at all.

    The recorded boxes stay those of the float graph. The convolutions that give scores, edges and kinds stay in float,
    because a step of eight bits there moves every box.

    Args:
        folder: a float detector bundle.
        out: the folder to make.
        photos: uint8 [n, h, w, 3] as `engines.pixels` makes them, to choose scales; 64 typical ones are enough.
        backend: the back end that runs the parity photos.

    Raises:
        ConfigError: `out` exists, the bundle is not float, or there is no photo.
        BundleRefused: the bundle fails its checks, or the result differs too much.
        ModuleNotFoundError: `onnx` or `onnxruntime` is not installed.
    """
    import onnx

    from engines.recognition.folding import fold
    from engines.recognition.precision.quantise import quantise

    bundle, out = load_detector_bundle(folder), Path(out)
    if bundle.manifest.precision != "fp32":
        raise ConfigError(f"bundle: {bundle.folder} is {bundle.manifest.precision} already; give the float bundle")
    if out.exists():
        raise ConfigError(f"out: {out} is there already; name another folder, or delete it")
    if not len(photos):
        raise ConfigError("photos: INT8 is calibrated on photos; name a folder of about 64 like those to come")
    with making_folder(out) as part:
        folded = fold(onnx.load(bundle.model_path))
        seven_bits = backend == "openvino" and not adds_bytes_exactly()
        model = quantise(folded, photos, seven_bits=seven_bits, in_float=last_convolutions(folded.graph))
        onnx.save(model, part / MODEL_FILE)
        for name in bundle.manifest.files:
            if name != MODEL_FILE:
                shutil.copyfile(bundle.folder / name, part / name)
        digest = hashlib.sha256(encode_preprocess(bundle.manifest.preprocess))
        digest.update((part / MODEL_FILE).read_bytes())
        manifest = msgspec.structs.replace(
            bundle.manifest,
            precision="int8",
            model_version=f"{bundle.manifest.model_version[:59]}-int8",
            detector_id=digest.hexdigest()[:12],
            parity=INT8_PARITY,
            files={name: sha256_file(part / name) for name in sorted(bundle.manifest.files)},
        )
        write_detector_manifest(part, manifest)
        open_detector(part, backend).close()
    return manifest


def last_convolutions(graph: onnx.GraphProto) -> set[str]:
    """The names of the convolutions whose result reaches no further convolution: they give the network's answers."""
    reaches: set[str] = set()  # values from which a convolution can be reached
    last = set()
    for node in reversed(graph.node):
        if node.op_type == "Conv" and not reaches.intersection(node.output):
            last.add(node.name)
        if node.op_type == "Conv" or reaches.intersection(node.output):
            reaches.update(node.input)
    return last
