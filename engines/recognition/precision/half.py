"""FP16 with explicit Casts: the trunk in half, everything else unchanged."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from engines.recognition.folding import trunk_nodes


def to_half(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a strongly typed graph whose trunk nodes compute in FP16, with a Cast at each border.

    What follows reads FP32. GeM's powers exceed the range of FP16 (6^4 in a sum over 49 places; 1e-4^3 rounds to 0),
    and softmax and norms are sums.
    """
    half = onnx.ModelProto()
    half.CopyFrom(model)
    graph = half.graph
    trunk = {node.name for node in trunk_nodes(graph)}
    weights = {tensor.name: tensor for tensor in graph.initializer if tensor.data_type == TensorProto.FLOAT}
    made = {name for node in graph.node if node.name in trunk for name in node.output}
    nodes: list[onnx.NodeProto] = []
    down: set[str] = set()
    for node in graph.node:
        inside = node.name in trunk
        for i, name in enumerate(node.input):
            if inside and name in weights:
                node.input[i] = _half_weight(graph, weights[name], down)
            elif inside and name and name not in made and _is_data(node, i):
                node.input[i] = _cast(nodes, name, f"{name}.half", TensorProto.FLOAT16, down)
            elif not inside and name in made:
                node.input[i] = _cast(nodes, name, f"{name}.float", TensorProto.FLOAT, down)
        nodes.append(node)
    copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del graph.node[:]
    graph.node.extend(copies)
    used = {name for node in graph.node for name in node.input}
    kept = [tensor for tensor in graph.initializer if tensor.name in used]
    del graph.initializer[:]
    graph.initializer.extend(kept)
    del graph.value_info[:]  # types of inner values, which have changed
    onnx.checker.check_model(half)
    return half


def _is_data(node: onnx.NodeProto, place: int) -> bool:
    """Return whether the input at `place` has the operator's type. The pads of Pad are integers."""
    return not (node.op_type == "Pad" and place in (1, 3))


def _cast(nodes: list[onnx.NodeProto], name: str, result: str, to: int, done: set[str]) -> str:
    if result not in done:
        done.add(result)
        nodes.append(helper.make_node("Cast", [name], [result], name=f"Cast_{result}", to=to))
    return result


def _half_weight(graph: onnx.GraphProto, tensor: onnx.TensorProto, done: set[str]) -> str:
    name = f"{tensor.name}.half"
    if name not in done:
        done.add(name)
        values = numpy_helper.to_array(tensor)
        largest = float(np.finfo(np.float16).max)
        graph.initializer.append(numpy_helper.from_array(values.clip(-largest, largest).astype(np.float16), name))
    return name
