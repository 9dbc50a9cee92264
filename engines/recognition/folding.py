"""Constants computed once, and the part of a graph that is the trunk."""

from __future__ import annotations

import tempfile
from pathlib import Path

import onnx
import onnxruntime as ort

from schemas.errors import ConfigError

# What a trunk is made of. Whatever else stands between two convolutions is computed in FP32 behind Casts.
TRUNK = frozenset(
    {
        "Conv",
        "Relu",
        "Clip",
        "Add",
        "Mul",
        "Sigmoid",
        "HardSwish",
        "Pad",
        "MaxPool",
        "AveragePool",
        "Concat",
        "Identity",
    }
)
_ERRORS_ONLY = 3


def fold(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same graph with constants folded (weights behind a Cast become FP32), every node named.

    ONNX Runtime's basic optimisation does it: its result holds standard operators only.
    """
    options = ort.SessionOptions()
    options.log_severity_level = _ERRORS_ONLY
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "folded.onnx"
        options.optimized_model_filepath = str(path)
        ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        folded = onnx.load(path)
    standard = [opset for opset in folded.opset_import if opset.domain in ("", "ai.onnx")]
    del folded.opset_import[:]  # ONNX Runtime lists its own domains too, which other parsers refuse
    folded.opset_import.extend(standard)
    for i, node in enumerate(folded.graph.node):
        node.name = f"{node.op_type}_{i}"  # quantisation chooses nodes by name, and folded ones may have none
    return folded


def trunk_nodes(graph: onnx.GraphProto) -> list[onnx.NodeProto]:
    """The nodes from the first convolution to the last and the activations behind it, in graph order.

    Raises:
        ConfigError: there is no convolution, so that nothing can be made smaller.
    """
    after: set[str] = set()  # values that come from a convolution through trunk operators alone
    for node in graph.node:
        if node.op_type == "Conv" or (node.op_type in TRUNK and any(name in after for name in node.input)):
            after.update(node.output)
    if not after:
        raise ConfigError("model.onnx: no convolution, so there is no trunk whose precision could change")
    outputs = {value.name for value in graph.output}
    return [
        node
        for node in graph.node
        if all(name in after for name in node.output) and not outputs.intersection(node.output)
    ]
