"""A bundle's graph, adapted for a GPU: photos are cast first, and long heads return only their best labels."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from engines.recognition.interface import GraphManifest
from engines.recognition.outputs.tops import INDICES, VALUES, is_cut

if TYPE_CHECKING:
    import onnx


def prepare(model: onnx.ModelProto, manifest: GraphManifest) -> onnx.ModelProto:
    """Return an adapted copy of the graph.

    The copy casts its input to float first: TensorRT cannot move bytes in their own type, and 0–255 are exact in float.
    A long head returns `.values` float32 [n, top_k] and `.indices` int32 [n, top_k] instead of all labels.
    """
    import onnx

    prepared = onnx.ModelProto()
    prepared.CopyFrom(model)
    graph = prepared.graph
    del graph.value_info[:]  # some types of inner values change here
    _cast_first(graph, manifest.input)
    for head in manifest.heads:
        if is_cut(head, manifest.top_k):
            _cut(graph, head.output, manifest.top_k)
    onnx.checker.check_model(prepared)
    return prepared


def _cast_first(graph: onnx.GraphProto, photos: str) -> None:
    from onnx import TensorProto, helper

    cast = f"{photos}.float"
    for node in graph.node:
        for i, name in enumerate(node.input):
            if name == photos:
                node.input[i] = cast
    graph.node.insert(0, helper.make_node("Cast", [photos], [cast], name=f"Cast_{cast}", to=TensorProto.FLOAT))


def _cut(graph: onnx.GraphProto, name: str, top_k: int) -> None:
    from onnx import TensorProto, helper, numpy_helper

    place = next(i for i, value in enumerate(graph.output) if value.name == name)
    del graph.output[place]
    count, wide = f"{name}.top_k", f"{name}.wide"
    graph.initializer.append(numpy_helper.from_array(np.array([top_k], np.int64), count))
    graph.node.extend(
        [
            helper.make_node("TopK", [name, count], [name + VALUES, wide], name=f"TopK_{name}", axis=1),
            helper.make_node("Cast", [wide], [name + INDICES], name=f"Cast_{name}{INDICES}", to=TensorProto.INT32),
        ]
    )
    graph.output.extend(
        [
            helper.make_tensor_value_info(name + VALUES, TensorProto.FLOAT, ["n", top_k]),
            helper.make_tensor_value_info(name + INDICES, TensorProto.INT32, ["n", top_k]),
        ]
    )
