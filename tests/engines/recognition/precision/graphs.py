"""A graph that is deep enough for every rule of the conversion, and how to run and read one."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime as ort
from onnx import helper, numpy_helper, shape_inference

from tests.engines.tiny_bundle import SIZE, tiny_graph

PHOTOS = np.random.default_rng(2).integers(0, 256, (24, SIZE, SIZE, 3), dtype=np.uint8)


def deep_graph() -> onnx.ModelProto:
    """Ten convolutions with a residual sum, clips and a pad; then what `tiny_graph` has behind its only one."""
    model = tiny_graph()
    graph, rng = model.graph, np.random.default_rng(4)
    at = next(i for i, node in enumerate(graph.node) if node.op_type == "Relu")
    extra, last = [], "maps"
    for value, name in ((0.0, "low"), (6.0, "high")):
        graph.initializer.append(numpy_helper.from_array(np.float32(value), name))
    graph.initializer.append(numpy_helper.from_array(np.array([0, 0, 1, 1, 0, 0, 1, 1], np.int64), "pads"))
    for i in range(9):
        kernel = (rng.normal(size=(8, 8, 3, 3)) / 8).astype(np.float32)
        graph.initializer.append(numpy_helper.from_array(kernel, f"k{i}"))
        graph.initializer.append(numpy_helper.from_array(rng.normal(size=8).astype(np.float32), f"b{i}"))
        extra += [
            helper.make_node("Pad", [last, "pads"], [f"p{i}"]),
            helper.make_node("Conv", [f"p{i}", f"k{i}", f"b{i}"], [f"c{i}"]),
            helper.make_node("Clip", [f"c{i}", "low", "high"], [f"a{i}"]),
            helper.make_node("Add", [f"a{i}", last], [f"s{i}"]),
        ]
        last = f"s{i}"
    graph.node[at].input[0] = last
    nodes = [*graph.node[:at], *extra, *graph.node[at:]]
    copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del graph.node[:]
    graph.node.extend(copies)
    onnx.checker.check_model(model)
    return model


def run(model: onnx.ModelProto, photos: np.ndarray = PHOTOS) -> dict[str, np.ndarray]:
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    names = [value.name for value in session.get_outputs()]
    return dict(zip(names, session.run(names, {"photos": photos}), strict=True))


def types(model: onnx.ModelProto) -> dict[str, int]:
    inferred = shape_inference.infer_shapes(model, check_type=True, strict_mode=True)
    graph = inferred.graph
    found = {v.name: v.type.tensor_type.elem_type for v in [*graph.value_info, *graph.output, *graph.input]}
    return found | {t.name: t.data_type for t in graph.initializer}
