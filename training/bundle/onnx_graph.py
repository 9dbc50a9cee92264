"""From a trained network to `model.onnx`: folded, rounded to half, exported, stored in FP16 and computed in FP32."""

from __future__ import annotations

import copy
import hashlib
import warnings
from pathlib import Path

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from schemas.manifest import Preprocess, encode_preprocess
from training.network.model import Network, Served
from training.network.trunk import ConvNorm

OPSET = 17
HASH_PATH = ("trunk.", "pool.", "embed.", "catalyzer.")
SMALL = 16  # tensors below this many values stay in FP32: GeM's p and shape constants


def deployable(network: Network) -> Network:
    """A copy in evaluation mode with folded batch norm and weights rounded to half, still float32 to compute with."""
    served = copy.deepcopy(network).eval().to(memory_format=torch.contiguous_format)
    for module in served.modules():
        if isinstance(module, ConvNorm):
            module.fold()
    with torch.no_grad():
        for parameter in served.parameters():
            if parameter.numel() >= SMALL:
                parameter.copy_(parameter.half().float())
    return served


def epoch_of(network: Network, preprocess: Preprocess) -> str:
    """First 12 hex digits of the sha256 over every weight on the path photo → hash, and the pre-processing."""
    digest = hashlib.sha256(encode_preprocess(preprocess))
    for name, value in sorted(network.state_dict().items()):
        if name.startswith(HASH_PATH):
            digest.update(name.encode())
            digest.update(np.ascontiguousarray(value.detach().float().numpy()).tobytes())
    return digest.hexdigest()[:12]


def write_graph(network: Network, path: Path, size: int, outputs: list[str], photos: str = "photos") -> None:
    """Export a `deployable` network: input `photos` uint8 NHWC with a dynamic batch, outputs under these names."""
    sample = torch.zeros(2, size, size, 3, dtype=torch.uint8)
    axes = {name: {0: "n"} for name in (photos, *outputs)}
    with warnings.catch_warnings():
        # the tracing exporter needs no further package; its warnings are about shapes that are fixed here
        warnings.simplefilter("ignore")
        torch.onnx.export(
            Served(network).eval(),
            (sample,),
            str(path),
            input_names=[photos],
            output_names=outputs,
            dynamic_axes=axes,
            opset_version=OPSET,
            dynamo=False,
        )
    store_half(path)


def store_half(path: Path) -> None:
    """Rewrite float32 weights of at least `SMALL` values as FP16 initialisers behind a Cast: half the file."""
    model = onnx.load(path)
    graph, casts = model.graph, []
    for tensor in list(graph.initializer):
        if tensor.data_type != TensorProto.FLOAT or np.prod(tensor.dims) < SMALL:
            continue
        half = numpy_helper.to_array(tensor).astype(np.float16)
        name = tensor.name
        graph.initializer.remove(tensor)
        graph.initializer.append(numpy_helper.from_array(half, f"{name}.half"))
        casts.append(helper.make_node("Cast", [f"{name}.half"], [name], name=f"cast.{name}", to=TensorProto.FLOAT))
    for node in reversed(casts):
        graph.node.insert(0, node)
    onnx.checker.check_model(model)
    onnx.save(model, path)


@torch.inference_mode()
def run_torch(network: Network, photos: NDArray[np.uint8], outputs: list[str]) -> dict[str, NDArray[np.generic]]:
    """The graph's outputs by name, computed by torch: what the parity file holds."""
    values = Served(network).eval()(torch.from_numpy(photos))
    return {name: value.numpy() for name, value in zip(outputs, values, strict=True)}
