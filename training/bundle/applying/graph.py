"""Adds applicability to a bundle's graph, and takes it away again. The trunk, embedding and hash are not touched.

Behind the feature the graph computes p of each data set (Gemm, Sigmoid), then p(applies) of each domain (MatMul with
`members`, Clip at 1), which is an output. Each head with a domain is multiplied by its p(applies); a head of words has
one p for each word.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from schemas.errors import BundleRefused
from schemas.manifest import Applicability, Head, Manifest
from training.bundle.applying.features import feature_name
from training.bundle.applying.sigmoids import Applying

MARK = "applicability/"  # begins the name of every node and weight that this module adds
_BEHIND_A_LAYER = ("Softmax", "Cast", "ReduceSum", "Mul", "Reshape", "Greater")  # of a head, and of packed bits
OWN, ONE = f"{MARK}own", f"{MARK}one"
Members = Mapping[str, NDArray[np.float32]]
"""By id of a head: which data sets its labels belong to, `float32 [d, labels]`, or `[d, 1]` for all labels alike."""


def add_applicability(
    model: onnx.ModelProto, manifest: Manifest, applying: Applying, members: Members
) -> onnx.ModelProto:
    """A copy of a graph without applicability, with it. Heads that are not in `members` apply to every photo."""
    made = onnx.ModelProto()
    made.CopyFrom(model)
    graph, output = made.graph, Applicability(domains=applying.domains).output
    _weight(graph, f"{MARK}weight", applying.weight.T.copy())
    _weight(graph, f"{MARK}bias", applying.bias)
    _weight(graph, f"{MARK}members", applying.members)
    _weight(graph, ONE, np.array(1.0, np.float32))
    _weight(graph, f"{MARK}zero", np.array(0.0, np.float32))
    _node(graph, "Gemm", [feature_name(model), f"{MARK}weight", f"{MARK}bias"], f"{MARK}odds")
    _node(graph, "Sigmoid", [f"{MARK}odds"], OWN)
    _node(graph, "MatMul", [OWN, f"{MARK}members"], f"{MARK}sum")
    _node(graph, "Clip", [f"{MARK}sum", f"{MARK}zero", ONE], output)
    graph.output.append(helper.make_tensor_value_info(output, TensorProto.FLOAT, ["n", len(applying.domains)]))
    for head in manifest.heads:
        if head.id in members:
            _multiply(graph, head, members[head.id])
    onnx.checker.check_model(made)
    return made


def _multiply(graph: onnx.GraphProto, head: Head, members: NDArray[np.float32]) -> None:
    alone, name = f"{head.output}.alone", f"{MARK}{head.id}"
    _rename(graph, head.output, alone)
    _weight(graph, f"{name}.members", members)
    _node(graph, "MatMul", [OWN, f"{name}.members"], f"{name}.sum")
    _node(graph, "Clip", [f"{name}.sum", f"{MARK}zero", ONE], f"{name}.applies")
    _node(graph, "Mul", [alone, f"{name}.applies"], head.output)


def take_applicability_away(model: onnx.ModelProto, manifest: Manifest) -> onnx.ModelProto:
    """A copy of a graph as it was before `add_applicability`. A graph without applicability does not change."""
    made = onnx.ModelProto()
    made.CopyFrom(model)
    if manifest.applicability is None:
        return made
    graph = made.graph
    for part in (graph.node, graph.initializer):
        kept = [type(one).FromString(one.SerializeToString()) for one in part if not one.name.startswith(MARK)]
        del part[:]
        part.extend(kept)
    outputs = [one for one in graph.output if one.name == manifest.applicability.output]
    for one in outputs:
        graph.output.remove(one)
    for head in manifest.heads:
        _rename(graph, f"{head.output}.alone", head.output)
    onnx.checker.check_model(made)
    return made


def replace_layer(model: onnx.ModelProto, output: str, weight: NDArray[np.float32], bias: NDArray[np.float32]) -> None:
    """Put another linear layer, `[n, f]` and `[n]`, behind the output of a softmax head or of the hash, in the
    precision that the layer has.

    Raises:
        BundleRefused: the output does not come from a linear layer of this size.
    """
    graph = model.graph
    made = {name: node for node in graph.node for name in node.output}
    node = made.get(output)
    while node is not None and node.op_type in _BEHIND_A_LAYER:
        node = made.get(node.input[0])
    if node is None or node.op_type != "Gemm":
        raise BundleRefused(f"model.onnx: {output} does not come from a linear layer; export the run again")
    weights = {tensor.name: tensor for tensor in graph.initializer}
    for name, value in zip(node.input[1:], (weight, bias), strict=True):
        stored = weights.get(name) or weights[made[name].input[0]]  # behind a Cast if it is stored in half
        before = numpy_helper.to_array(stored)
        if before.shape != value.shape:
            raise BundleRefused(f"model.onnx: {name} is {before.shape}, not {value.shape}; export the run again")
        stored.CopyFrom(numpy_helper.from_array(value.astype(before.dtype), stored.name))


def _node(graph: onnx.GraphProto, kind: str, inputs: list[str], output: str) -> None:
    graph.node.append(helper.make_node(kind, inputs, [output], name=f"{MARK}{kind}.{output}"))


def _weight(graph: onnx.GraphProto, name: str, value: NDArray[np.float32]) -> None:
    graph.initializer.append(numpy_helper.from_array(value, name))


def _rename(graph: onnx.GraphProto, old: str, new: str) -> None:
    """Give a tensor another name wherever a node makes or reads it. The graph's outputs keep their names."""
    for node in graph.node:
        node.input[:] = [new if name == old else name for name in node.input]
        node.output[:] = [new if name == old else name for name in node.output]
