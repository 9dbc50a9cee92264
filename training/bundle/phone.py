"""A bundle for phones, `groknet export BUNDLE --out FOLDER --phone`: an ncnn network and its labels.

ncnn computes one photo at a time in float, and has neither bytes nor bit packing, so the graph is cut. Its input is
float `[3, height, width]`, values from 0 to 255. Its outputs are the probabilities of every head, the embedding and the
256 hash logits; an app packs their signs, most significant bit first. pnnx converts the bundle's own graph, and the
result is refused unless ncnn gives the bundle's parity outputs.
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
from numpy.typing import NDArray
from onnx import TensorProto, helper

from engines.files import making_folder
from engines.recognition import Bundle, load_bundle
from engines.recognition.bundles.parity import check_parity
from engines.recognition.folding import fold
from schemas.errors import BundleRefused, ConfigError
from schemas.manifest import MANIFEST_FILE, sha256_file

PARAM_FILE, WEIGHTS_FILE, NAMES_FILE = "model.ncnn.param", "model.ncnn.bin", "phone.json"
INPUT = "in0"  # pnnx names inputs and outputs by their order


class Phone(msgspec.Struct, frozen=True, kw_only=True):
    """`phone.json`: the names of the network's inputs and outputs.

    Attributes:
        model_version, epoch: of the bundle.
        input: the blob of the photo, float32 `[3, height, width]`, RGB, values from 0 to 255.
        outputs: the bundle's output name → blob. The blob of the hash has its logits; a bit is 1 if its logit is above
            0.
        manifest_sha256: of the bundle's manifest in the same folder, which has the labels.
    """

    model_version: str
    epoch: str
    input: str
    outputs: dict[str, str]
    manifest_sha256: str


def export_phone(bundle_dir: Path, out: Path) -> Phone:
    """Make the folder `out` with `model.ncnn.param`, `model.ncnn.bin`, the manifest and `phone.json`.

    It appears whole or not at all.

    Raises:
        ConfigError: `out` exists, or pnnx or ncnn is not installed.
        BundleRefused: the bundle's files do not fit its manifest, pnnx cannot convert it, or ncnn computes something
            else.
    """
    if out.exists():
        raise ConfigError(f"--out: {out} is there already; name another folder, or delete it")
    bundle = load_bundle(bundle_dir)
    with making_folder(out) as part:
        names = list(bundle.outputs)
        _convert(cut(onnx.load(bundle.model_path), bundle), bundle, part)
        shutil.copyfile(bundle.folder / MANIFEST_FILE, part / MANIFEST_FILE)
        phone = Phone(
            model_version=bundle.manifest.model_version,
            epoch=bundle.manifest.epoch,
            input=INPUT,
            outputs={name: f"out{i}" for i, name in enumerate(names)},
            manifest_sha256=sha256_file(part / MANIFEST_FILE),
        )
        (part / NAMES_FILE).write_bytes(msgspec.json.format(msgspec.json.encode(phone), indent=1) + b"\n")
        check_parity(bundle, run_ncnn(part, phone, bundle))
    return phone


def cut(model: onnx.ModelProto, bundle: Bundle) -> onnx.ModelProto:
    """The part of the graph that phones compute, for one photo: from the photo as float planes to the hash logits.

    Raises:
        BundleRefused: the graph does not begin and end as exported graphs do.
    """
    folded, manifest = fold(model), bundle.manifest
    graph = folded.graph
    made_by = {name: node for node in graph.node for name in node.output}
    casts = [n for n in graph.node if n.op_type == "Cast" and _comes_from(n, made_by, manifest.input)]
    signs = [n for n in graph.node if n.op_type == "Greater"]
    if len(casts) != 1 or len(signs) != 1:
        raise BundleRefused("model.onnx: expected one cast of the photos and one sign of the hash; export again")
    start, logits = casts[0].output[0], signs[0].input[0]
    outputs = [name if name != manifest.hash.output else logits for name in bundle.outputs]
    wanted, nodes = set(outputs), []
    for node in reversed(graph.node):
        if start not in node.output and wanted.intersection(node.output):
            wanted.update(node.input)
            nodes.append(node)
    value = helper.make_tensor_value_info
    widths = [manifest.hash.bits if name == manifest.hash.output else w for name, (w, _) in bundle.outputs.items()]
    small = helper.make_graph(
        nodes[::-1],
        "phone",
        [value(start, TensorProto.FLOAT, [1, 3, manifest.preprocess.height, manifest.preprocess.width])],
        [value(name, TensorProto.FLOAT, [1, width]) for name, width in zip(outputs, widths, strict=True)],
        [tensor for tensor in graph.initializer if tensor.name in wanted],
    )
    made = helper.make_model(small, opset_imports=list(folded.opset_import), ir_version=folded.ir_version)
    onnx.checker.check_model(made)
    return made


def _comes_from(node: onnx.NodeProto, made_by: dict[str, onnx.NodeProto], photos: str) -> bool:
    """Whether the input of the cast is the photos, perhaps with their axes in another order."""
    source = node.input[0]
    before = made_by.get(source)
    return source == photos or (before is not None and before.op_type == "Transpose" and before.input[0] == photos)


def _convert(model: onnx.ModelProto, bundle: Bundle, folder: Path) -> None:
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


def run_ncnn(folder: Path, phone: Phone, bundle: Bundle) -> dict[str, NDArray[Any]]:
    """Run the parity photos through ncnn: the bundle's output name → `float32 [photos, …]`, one row for
    each photo, and the packed hash `uint8 [photos, 32]`.

    Raises:
        ConfigError: ncnn is not installed.
        BundleRefused: ncnn cannot load or run the network.
    """
    try:
        import ncnn
    except ModuleNotFoundError:
        raise ConfigError("ncnn is not installed; pip install 'groknet[phone,train]'") from None
    rows: dict[str, list[NDArray[Any]]] = {name: [] for name in phone.outputs}
    net = ncnn.Net()
    net.opt.num_threads = 1  # its threads spin while they wait, which makes it slower on busy cores
    net.opt.use_fp16_packed = net.opt.use_fp16_storage = net.opt.use_fp16_arithmetic = net.opt.use_bf16_storage = False
    if net.load_param(str(folder / PARAM_FILE)) or net.load_model(str(folder / WEIGHTS_FILE)):
        raise BundleRefused(f"{PARAM_FILE}: ncnn cannot load it; convert again")
    for photo in bundle.photos:
        planes = np.ascontiguousarray(photo.transpose(2, 0, 1), np.float32)
        with net.create_extractor() as extractor:
            extractor.input(phone.input, ncnn.Mat(planes).clone())
            for name, blob in phone.outputs.items():
                code, value = extractor.extract(blob)
                if code:
                    raise BundleRefused(f"{PARAM_FILE}: ncnn cannot compute {name} ({code}); convert again")
                rows[name].append(np.array(value).reshape(-1))
    found = {name: np.stack(values) for name, values in rows.items()}
    hashed = bundle.manifest.hash.output
    found[hashed] = np.packbits(found[hashed] > 0, axis=1)
    return found
