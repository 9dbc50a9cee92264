"""A bundle's graph as TensorRT takes it: photos cast before anything else, long heads cut to their best labels."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from engines.recognition.tops import INDICES, VALUES, is_cut
from schemas.manifest import Manifest

if TYPE_CHECKING:
    import onnx


def prepare(model: onnx.ModelProto, manifest: Manifest) -> onnx.ModelProto:
    """Return a copy whose input is cast to float first (TensorRT moves no bytes about in their own type; 0–255 are
    exact in float) and whose long heads give `.values` float32 and `.indices` int32 [n, top_k] instead of all labels.
    """
    import onnx

    prepared = onnx.ModelProto()
    prepared.CopyFrom(model)
    graph = prepared.graph
    del graph.value_info[:]  # types of inner values, some of which change here
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
