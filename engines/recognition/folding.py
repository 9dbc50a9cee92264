"""Folds a graph's constants, and finds the nodes of its trunk."""

from __future__ import annotations

import tempfile
from pathlib import Path

import onnx
import onnxruntime as ort

from schemas.errors import ConfigError

# The operators of a trunk. Anything else between two convolutions is computed in FP32, between Casts.
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
    """Return the same graph with folded constants, where every node has a name.

    Weights behind a Cast become FP32. ONNX Runtime's basic optimisation folds, and keeps to standard operators.
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
    del folded.opset_import[:]  # ONNX Runtime also lists domains of its own, which other parsers refuse
    folded.opset_import.extend(standard)
    for i, node in enumerate(folded.graph.node):
        node.name = f"{node.op_type}_{i}"  # quantisation chooses nodes by name, and a folded node may have none
    return folded


def trunk_nodes(graph: onnx.GraphProto) -> list[onnx.NodeProto]:
    """Return the nodes from the first convolution to the last one and its activations, in graph order.

    Raises:
        ConfigError: there is no convolution, so no precision can change.
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
