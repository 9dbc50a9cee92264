"""A detector for phones, `groknet detector phone BUNDLE --out FOLDER`: an ncnn network of the proposals.

ncnn computes one photo at a time in float and has no non-maximum suppression, so the graph is cut before it. The input
is float `[3, height, width]`, values from 0 to 255. The outputs are every proposed box, its score, and the probability
of each kind but `product`. An app keeps the scores above `nms.score`, drops a box that overlaps a more confident one by
more than `nms.overlap`, and says a kind that has at least `sure_of_kind`. The result is refused unless ncnn gives the
bundle's parity boxes that way.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper

from engines.detection.bundle import DetectorBundle, load_detector_bundle
from engines.detection.parity import check_detector_parity
from engines.files import making_folder
from engines.recognition.folding import fold
from schemas.detector_manifest import BOXES, KINDS, SCORES, Nms
from schemas.errors import BundleRefused, ConfigError
from schemas.manifest import MANIFEST_FILE, sha256_file
from training.bundle.phone import INPUT, NAMES_FILE, PARAM_FILE, WEIGHTS_FILE
from training.detection.bundle.graph import SURE_OF_KIND, suppressed


class DetectorPhone(msgspec.Struct, frozen=True, kw_only=True):
    """`phone.json` of a detector.

    Attributes:
        model_version, detector_id: of the bundle.
        input: the blob of the photo, float32 `[3, height, width]`, RGB, values from 0 to 255.
        outputs: `boxes` (`[p, 4]`, left, top, right, bottom in shares), `scores` (`[p]`) and, if the detector tells
            kinds apart, `kinds` (`[p, k]`, probabilities of the manifest's kinds without the first) → blob.
        nms: what the app does with them.
        sure_of_kind: the least probability of a kind that is said.
        manifest_sha256: of the bundle's manifest in the same folder, which has the kinds.
    """

    model_version: str
    detector_id: str
    input: str
    outputs: dict[str, str]
    nms: Nms
    sure_of_kind: float
    manifest_sha256: str


def export_detector_phone(bundle_dir: Path, out: Path) -> DetectorPhone:
    """Make the folder `out` with the ncnn network, the manifest and `phone.json`. It appears whole or not at all.

    Raises:
        ConfigError: `out` exists, or pnnx or ncnn is not installed.
        BundleRefused: the bundle fails its checks, pnnx cannot convert it, or ncnn proposes other boxes.
    """
    if out.exists():
        raise ConfigError(f"--out: {out} is there already; name another folder, or delete it")
    bundle = load_detector_bundle(bundle_dir)
    with making_folder(out) as part:
        model, names = cut_proposals(onnx.load(bundle.model_path), bundle)
        _convert(model, bundle, part)
        shutil.copyfile(bundle.folder / MANIFEST_FILE, part / MANIFEST_FILE)
        phone = DetectorPhone(
            model_version=bundle.manifest.model_version,
            detector_id=bundle.manifest.detector_id,
            input=INPUT,
            outputs={name: f"out{place}" for place, name in enumerate(names)},
            nms=bundle.manifest.nms,
            sure_of_kind=SURE_OF_KIND,
            manifest_sha256=sha256_file(part / MANIFEST_FILE),
        )
        (part / NAMES_FILE).write_bytes(msgspec.json.format(msgspec.json.encode(phone), indent=1) + b"\n")
        check_detector_parity(bundle, run_phone(part, phone, bundle))
    return phone


def cut_proposals(model: onnx.ModelProto, bundle: DetectorBundle) -> tuple[onnx.ModelProto, list[str]]:
    """The part of the graph from the photo as float planes to the proposals, for one photo, and what its outputs are.

    Raises:
        BundleRefused: the graph does not begin and end as exported detectors do.
    """
    folded = fold(model)
    graph, size = folded.graph, bundle.manifest.preprocess
    casts = [n for n in graph.node if n.op_type == "Cast" and _reads(n, graph, bundle.manifest.input)]
    suppression = [n for n in graph.node if n.op_type == "NonMaxSuppression"]
    best = [n for n in graph.node if n.op_type == "ArgMax"]
    if len(casts) != 1 or len(suppression) != 1 or len(best) > 1:
        raise BundleRefused("model.onnx: expected one cast of the photos and one suppression; export again")
    made_by = {name: node for node in graph.node for name in node.output}
    tensors = [suppression[0].input[0], made_by[suppression[0].input[1]].input[0], *(n.input[0] for n in best)]
    start, wanted, nodes = casts[0].output[0], set(tensors), []
    for node in reversed(graph.node):
        if start not in node.output and wanted.intersection(node.output):
            wanted.update(node.input)
            nodes.append(node)
    value = helper.make_tensor_value_info
    small = helper.make_graph(
        nodes[::-1],
        "phone",
        [value(start, TensorProto.FLOAT, [1, 3, size.height, size.width])],
        [value(name, TensorProto.FLOAT, None) for name in tensors],
        [tensor for tensor in graph.initializer if tensor.name in wanted],
    )
    made = helper.make_model(small, opset_imports=list(folded.opset_import), ir_version=folded.ir_version)
    return onnx.shape_inference.infer_shapes(made), [BOXES, SCORES, KINDS][: len(tensors)]


def _reads(node: onnx.NodeProto, graph: onnx.GraphProto, photos: str) -> bool:
    """Whether the input of the cast is the photos, perhaps with their axes in another order."""
    before = next((one for one in graph.node if node.input[0] in one.output), None)
    return node.input[0] == photos or (before is not None and photos in before.input)


def _convert(model: onnx.ModelProto, bundle: DetectorBundle, folder: Path) -> None:
    try:
        import pnnx
    except ModuleNotFoundError:
        raise ConfigError("pnnx is not installed; pip install 'groknet[phone,train]'") from None
    size = bundle.manifest.preprocess
    with tempfile.TemporaryDirectory() as scratch:
        onnx.save(model, Path(scratch) / "model.onnx")
        command = [pnnx.EXEC_PATH, "model.onnx", f"inputshape=[1,3,{size.height},{size.width}]", "fp16=0"]
        done = subprocess.run(command, cwd=scratch, capture_output=True, text=True, check=False)
        made = [Path(scratch) / name for name in (PARAM_FILE, WEIGHTS_FILE)]
        if done.returncode or not all(path.is_file() for path in made):
            last = (done.stdout + done.stderr).strip().splitlines()[-1:]
            raise BundleRefused(f"model.onnx: pnnx cannot convert it ({''.join(last)}); export the bundle again")
        for path in made:
            shutil.copyfile(path, folder / path.name)


def run_phone(folder: Path, phone: DetectorPhone, bundle: DetectorBundle) -> dict[str, NDArray[np.generic]]:
    """Run the parity photos through ncnn, and do what an app does with its proposals: the graph's outputs by name.

    Raises:
        ConfigError: ncnn is not installed.
        BundleRefused: ncnn cannot load or run the network.
    """
    try:
        import ncnn
    except ModuleNotFoundError:
        raise ConfigError("ncnn is not installed; pip install 'groknet[phone,train]'") from None
    net = ncnn.Net()
    net.opt.num_threads = 1  # its threads spin while they wait, which makes it slower on busy cores
    net.opt.use_fp16_packed = net.opt.use_fp16_storage = net.opt.use_fp16_arithmetic = net.opt.use_bf16_storage = False
    if net.load_param(str(folder / PARAM_FILE)) or net.load_model(str(folder / WEIGHTS_FILE)):
        raise BundleRefused(f"{PARAM_FILE}: ncnn cannot load it; convert again")
    rows: list[tuple[NDArray[np.generic], ...]] = []
    for photo in bundle.photos:
        planes = np.ascontiguousarray(photo.transpose(2, 0, 1), np.float32)
        found: dict[str, NDArray[Any]] = {}
        with net.create_extractor() as extractor:
            extractor.input(phone.input, ncnn.Mat(planes).clone())
            for name, blob in phone.outputs.items():
                code, value = extractor.extract(blob)
                if code:
                    raise BundleRefused(f"{PARAM_FILE}: ncnn cannot compute {name} ({code}); convert again")
                found[name] = np.array(value)
        rows.append(_as_app(found, phone))
    return {name: np.stack([row[place] for row in rows]) for place, name in enumerate((BOXES, SCORES, KINDS))}


def _as_app(found: dict[str, NDArray[Any]], phone: DetectorPhone) -> tuple[NDArray[np.generic], ...]:
    """Choose kinds and suppress boxes as an app does."""
    boxes, scores = found[BOXES].reshape(-1, 4), found[SCORES].reshape(-1)
    kinds = np.zeros(len(scores), np.int64)
    if KINDS in found:
        shares = found[KINDS].reshape(len(scores), -1)
        kinds = np.where(shares.max(axis=1) >= phone.sure_of_kind, shares.argmax(axis=1) + 1, 0)
    return suppressed(torch.from_numpy(boxes), torch.from_numpy(scores), torch.from_numpy(kinds), nms=phone.nms)
